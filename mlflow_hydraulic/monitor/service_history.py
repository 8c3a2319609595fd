"""How deployments served, in the evidence database: counts by minute for two days, by hour for 35.

The monitor's pass calls `record_counters` for each deployment; `read_history` is for whoever judges or shows. A
predictor takes at most 3 700 rows, 2 MB. Several monitors may run: of one stretch of time one of them counts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence.tables import service, service_marks
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.served import Class, History, Slice, added, classes
from mlflow_hydraulic.service_level import Counters, Level, since

FINE_S = 60
COARSE_S = 3600
FINE_KEPT_S = 2 * 86_400
KEPT_S = 35 * 86_400
GAP_S = 300.0  # between two looks; after a longer one nobody knows whether it was up meanwhile
DAY_S = 86_400.0
FORGET_S = DAY_S  # a predictor that nobody tells of for so long begins anew


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """What the last look saw: when, whether it was up, and of each predictor when and what it had counted."""

    at_us: int
    rolled: int = 0
    up: bool | None = None
    seen: Mapping[str, tuple[float, Counters]] = field(default_factory=dict)
    replicas: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def at(self) -> float:
        return self.at_us / 1e6


def record_counters(
    connection: Connection,
    subject: Subject,
    counters: Mapping[str, Counters] | None,
    at: float,
    *,
    up: bool | None = None,
    shadows: Collection[str] = (),
    gap_s: float = GAP_S,
) -> bool:
    """Count what happened since the last look at `subject`, a whole deployment. Called in a transaction.

    counters: of each predictor, as a target's `service` gave them at `at` (s since 1970); None where it did not.
    up: whether it answers, where the caller knows better than by ready replicas. shadows: predictors whose answers
    nobody gets. A predictor's first look counts nothing. False where another monitor had looked by then: not counted.
    """
    if not counters and up is None:
        return False
    told, key = counters or {}, _key(subject)
    mark = _mark(connection, key)
    if mark is not None and (mark.at >= at or _stale(mark, told)):
        return False
    if up is None:
        up = all(one.ready > 0 for name, one in told.items() if name not in shadows)
    rolled = math.floor((at - FINE_KEPT_S) / COARSE_S) * COARSE_S
    if not _claim(connection, key, subject, mark, _next(mark, told, at, rolled, up=up)):
        return False
    if mark is not None:
        levels = {name: (mark.seen[name][0], since(mark.seen[name][1], told[name])) for name in told.keys() & mark.seen}
        for name, (begin, level) in levels.items():
            _add(connection, key, name, _slice([level], begin, at, gap_s, up=level.ready > 0))
        answering = [level for name, (_, level) in levels.items() if name not in shadows]
        _add(connection, key, "", _slice(answering, mark.at, at, gap_s, up=up))
        if rolled > mark.rolled:
            _roll(connection, key, rolled, at)
    return True


def read_history(connection: Connection, subject: Subject, since_s: float) -> History:
    """What is known of a deployment from `since_s` on, s since 1970; of its predictors, of the last day only."""
    key = _key(subject)
    mark = _mark(connection, key)
    if mark is None:
        return History(subject=subject)
    end = service.c.start + service.c.length
    lately = or_(service.c.predictor == "", end > max(since_s, mark.at - DAY_S))
    mine = (service.c.key == key, end > since_s, lately)
    rows = connection.execute(select(service).where(*mine).order_by(service.c.start))
    slices: dict[str, list[Slice]] = {}
    for row in rows.mappings():
        slices.setdefault(row["predictor"], []).append(_read(row))
    return History(subject=subject, at=mark.at, up=mark.up, replicas=mark.replicas, slices=slices)


def recorded_subjects(connection: Connection, workspace: str) -> list[Subject]:
    """Every deployment of which something is known, in order."""
    names = (service_marks.c.environment, service_marks.c.deployment, service_marks.c.model)
    found = connection.execute(select(*names).where(service_marks.c.workspace == workspace))
    return sorted(Subject(environment=e, deployment=d, workspace=workspace, model=m) for e, d, m in found)


def _key(subject: Subject) -> str:
    names = json.dumps([subject.workspace, subject.environment, subject.deployment])
    return hashlib.sha256(names.encode()).hexdigest()


def _mark(connection: Connection, key: str) -> _Mark | None:
    row = connection.execute(select(service_marks).where(service_marks.c.key == key)).mappings().first()
    if row is None:
        return None
    try:
        said = json.loads(row["said"])
        seen = {name: (float(at), Counters.from_json(value)) for name, (at, value) in said["seen"].items()}
        replicas = {name: (int(ready), int(wanted)) for name, (ready, wanted) in said["replicas"].items()}
        up = said["up"]
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        BadInput,
    ):  # another release wrote it: what is counted begins anew
        return _Mark(at_us=row["at_us"], rolled=row["rolled"])
    return _Mark(at_us=row["at_us"], rolled=row["rolled"], up=up, seen=seen, replicas=replicas)


def _next(mark: _Mark | None, told: Mapping[str, Counters], at: float, rolled: int, *, up: bool) -> _Mark:
    """The mark that this look leaves. A predictor that nobody told of now keeps its own for a while."""
    kept = {name: one for name, one in mark.seen.items() if at - one[0] < FORGET_S} if mark else {}
    return _Mark(
        at_us=round(at * 1e6),
        rolled=rolled,
        up=up,
        seen={**kept, **{name: (at, one) for name, one in told.items()}},
        replicas={name: (one.ready, one.wanted) for name, one in told.items()},
    )


def _stale(mark: _Mark, told: Mapping[str, Counters]) -> bool:
    """Whether these counters are older than the mark's, whatever the clocks say: some process counted more by then."""
    for name, now in told.items():
        before = mark.seen[name][1].processes if name in mark.seen else {}
        for process, one in now.processes.items():
            then = before.get(process)
            if then is not None and then.started == one.started and then.requests > one.requests:
                return True
    return False


def _claim(connection: Connection, key: str, subject: Subject, mark: _Mark | None, fresh: _Mark) -> bool:
    """Set the mark, unless somebody else did since it was read; others wait from here to this transaction's end."""
    said = {
        "up": fresh.up,
        "replicas": fresh.replicas,
        "seen": {name: [at, one.to_json()] for name, (at, one) in fresh.seen.items()},
    }
    values = {"at_us": fresh.at_us, "rolled": fresh.rolled, "model": subject.model, "said": json.dumps(said)}
    if mark is not None:
        where = (service_marks.c.key == key, service_marks.c.at_us == mark.at_us)
        return connection.execute(update(service_marks).where(*where).values(**values)).rowcount == 1
    names = {"workspace": subject.workspace, "environment": subject.environment, "deployment": subject.deployment}
    try:
        with connection.begin_nested():
            connection.execute(insert(service_marks).values(key=key, **names, **values))
    except IntegrityError:
        return False
    return True


def _slice(levels: Sequence[Level], begin: float, at: float, gap_s: float, *, up: bool) -> Slice:
    """What these did together from `begin` to `at`. What was counted over a gap counts; whether it was up does not."""
    length = at - begin
    seen_s = length if length <= gap_s else 0.0
    together = added(((_counted(level), 1.0) for level in levels), begin, length)
    return replace(
        together,
        counted_s=length if levels else 0.0,
        seen_s=seen_s,
        up_s=seen_s if up else 0.0,
        memory_bytes=sum(level.resident_bytes for level in levels),
    )


def _counted(level: Level) -> Slice:
    return Slice(
        start=0.0,
        length=0.0,
        requests=level.requests,
        errors=level.errors,
        durations=classes(level),
        restarts=level.restarts,
        cpu_s=level.cpu_s,
    )


def _add(connection: Connection, key: str, predictor: str, fresh: Slice) -> None:
    """Into the minute in which it ends, or, where it is much longer than that, into a row of its own."""
    end = fresh.start + fresh.length
    start = math.floor(end / FINE_S) * FINE_S if fresh.length < 2 * FINE_S else math.floor(fresh.start)
    length = FINE_S if fresh.length < 2 * FINE_S else math.ceil(fresh.length)
    _merge(connection, key, predictor, replace(fresh, start=start, length=length))


def _merge(connection: Connection, key: str, predictor: str, fresh: Slice) -> None:
    """Into the row that begins where `fresh` does, which makes that one as long as the longer of both."""
    this = (service.c.key == key, service.c.predictor == predictor, service.c.start == round(fresh.start))
    row = connection.execute(select(service).where(*this)).mappings().first()
    if row is None:
        connection.execute(insert(service).values(key=key, predictor=predictor, **_columns(fresh)))
        return
    there = _read(row)
    whole = added([(there, 1.0), (fresh, 1.0)], fresh.start, max(there.length, fresh.length))
    connection.execute(update(service).where(*this).values(**_columns(whole)))


def _roll(connection: Connection, key: str, before: int, at: float) -> None:
    """Make hours of the minutes up to `before`, drop what is too old, also of deployments that are gone for long."""
    old = (service.c.key == key, service.c.start < before, service.c.length < COARSE_S)
    groups: dict[tuple[str, int], list[Slice]] = {}
    for row in connection.execute(select(service).where(*old)).mappings():
        groups.setdefault((row["predictor"], row["start"] // COARSE_S * COARSE_S), []).append(_read(row))
    connection.execute(delete(service).where(*old))
    for (predictor, hour), slices in groups.items():
        _merge(connection, key, predictor, added(((one, 1.0) for one in slices), hour, COARSE_S))
    gone = select(service_marks.c.key).where(service_marks.c.at_us < round((at - KEPT_S) * 1e6))
    connection.execute(delete(service).where(service.c.key.in_(gone)))
    connection.execute(delete(service_marks).where(service_marks.c.at_us < round((at - KEPT_S) * 1e6)))
    connection.execute(delete(service).where(service.c.key == key, service.c.start + service.c.length < at - KEPT_S))


def _columns(one: Slice) -> dict[str, Any]:  # Any: values of several types
    durations = [[low, None if up == math.inf else up, round(n)] for (low, up), n in sorted(one.durations.items())]
    return {
        "start": round(one.start),
        "length": round(one.length),
        "counted_s": one.counted_s,
        "seen_s": one.seen_s,
        "up_s": one.up_s,
        "requests": round(one.requests),
        "errors": round(one.errors),
        "durations": json.dumps(durations, separators=(",", ":")),
        "restarts": round(one.restarts),
        "cpu_s": one.cpu_s,
        "memory_bytes": one.memory_bytes,
    }


def _read(row: RowMapping) -> Slice:
    durations: dict[Class, float] = {
        (low, math.inf if up is None else up): n for low, up, n in json.loads(row["durations"])
    }
    names = ("start", "length", "counted_s", "seen_s", "up_s", "requests", "errors", "restarts", "cpu_s")
    numbers = {name: float(row[name]) for name in names}
    return Slice(durations=durations, memory_bytes=int(row["memory_bytes"]), **numbers)
