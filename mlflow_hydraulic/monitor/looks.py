"""The last findings of every subject, level and rule: what hysteresis counts, and what lists and pages show.

Written by `alerts.judge` in its transaction. No copy of an alert: only what was seen, and only the last of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.tables import findings as table
from mlflow_hydraulic.monitor.alert import LONGEST_CAUSE, MOST_FEATURES, MOST_NUMBERS, Key, plain_numbers
from mlflow_hydraulic.monitor.decide import Look
from mlflow_hydraulic.monitor.findings import COLOURS, LEVELS, Finding, Level, Subject
from mlflow_hydraulic.monitor.rules import Rule, Rules

KEEP = 8  # looks of one key, at least; at most some more than twice as many
MOST_KEYS = 400  # in one query: databases limit the number of bound values
LONGEST_NAME = 64
LONGEST_RULE = 200
LONGEST_MODEL = 256
NAME = re.compile(r"[\w.-]*", re.ASCII)
LONGEST_PLOT = 1_000_000  # characters
AHEAD = timedelta(minutes=5)  # clocks differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A finding and when it was judged, ISO in UTC."""

    finding: Finding
    looked: str

    @property
    def key(self) -> Key:
        return key_of(self.finding)


def key_of(finding: Finding) -> Key:
    return Key(subject=finding.subject, level=finding.level, rule=finding.rule)


def flaw(finding: Finding, now: datetime) -> str:
    """Why a finding cannot be used, or "": it is from the future, or has a name that cannot be told from another."""
    return _flaw_of_names(finding.subject) or _flaw_of_itself(finding, now)


def _flaw_of_names(subject: Subject) -> str:
    names = {"environment": subject.environment, "deployment": subject.deployment, "predictor": subject.predictor}
    for what, name in names.items():
        if len(name) > LONGEST_NAME or not NAME.fullmatch(name) or (not name and what != "predictor"):
            return f"{what} {name[:80]!r}: a name is 1 to {LONGEST_NAME} of letters, digits, dot, hyphen and underscore"
    if (
        len(subject.workspace) > LONGEST_NAME - 1
        or len(subject.model) > LONGEST_MODEL
        or not subject.model.isprintable()
    ):
        return f"workspace {subject.workspace[:80]!r}, model {subject.model[:80]!r}: too long, or not printable"
    return ""


def _flaw_of_itself(finding: Finding, now: datetime) -> str:
    if not finding.rule.strip() or len(finding.rule) > LONGEST_RULE or not finding.rule.isprintable():
        return f"rule {finding.rule[:80]!r}: must be 1 to {LONGEST_RULE} printable characters"
    if finding.level not in LEVELS or finding.colour not in COLOURS:
        return f"level {finding.level!r}, colour {finding.colour!r}: there are {LEVELS} and {COLOURS}"
    if not (math.isfinite(finding.since) and math.isfinite(finding.until) and 0 <= finding.since <= finding.until):
        return f"window {finding.since} to {finding.until}: must be seconds since 1970, the earlier one first"
    if finding.until > (now + AHEAD).timestamp():
        return (
            f"its window ends in the future, at {finding.until:.0f}, and now is {now.timestamp():.0f}: check the clocks"
        )
    return ""


def until_us(finding: Finding) -> int:
    return round(finding.until * 1e6)


def add(connection: Connection, found: Sequence[Finding], now: datetime) -> dict[Key, list[Look]]:
    """Store findings and give all looks that are known of their keys, oldest first. A repeated window replaces itself.

    Of two findings in `found` of one key and window the later one counts.
    """
    fresh = {(key_of(one).digest, until_us(one)): one for one in found}
    keys = {key_of(one).digest: key_of(one) for one in fresh.values()}
    looks: dict[str, dict[int, Look]] = {digest: {} for digest in keys}
    kept = set()
    for row in _rows_of(connection, list(keys)):
        looks[row["key"]][row["until_us"]] = Look(row["until_us"], row["colour"])
        if row["kept"]:
            kept.add((row["key"], row["until_us"]))
    repeated = [{"k": digest, "u": until} for digest, until in fresh if until in looks[digest]]
    if repeated:
        this = (table.c.key == bindparam("k"), table.c.until_us == bindparam("u"))
        connection.execute(delete(table).where(*this), repeated)
    if fresh:
        connection.execute(insert(table), [_columns(one, now, kept=key in kept) for key, one in fresh.items()])
    for (digest, until), one in fresh.items():
        looks[digest][until] = Look(until, one.colour)
    return {key: sorted(looks[digest].values(), key=lambda look: look.until_us) for digest, key in keys.items()}


def prune(connection: Connection, known: Mapping[Key, Sequence[Look]], rules: Rules) -> None:
    """Drop looks that no rule will ask for again, many at a time; those that alerts rest on stay."""
    gone = [
        {"k": key.digest, "first": first, "last": last}
        for key, looks in known.items()
        if len(looks) > 2 * KEEP
        for first, last in _gaps(looks, set(needed(looks, rules.of(key))))
    ]
    if gone:
        between = table.c.until_us.between(bindparam("first"), bindparam("last"))
        connection.execute(delete(table).where(table.c.key == bindparam("k"), between, table.c.kept == 0), gone)


def _gaps(looks: Sequence[Look], wanted: Collection[Look]) -> Iterator[tuple[int, int]]:
    """The first and the last end of each run of looks that are not wanted."""
    for is_wanted, run in groupby(looks, key=wanted.__contains__):
        if not is_wanted:
            ends = [look.until_us for look in run]
            yield ends[0], ends[-1]


def needed(looks: Sequence[Look], rule: Rule) -> list[Look]:
    """The last looks, the last that were not grey, and the one since which all are grey."""
    last = list(looks[-max(rule.of, KEEP) :])
    coloured = [look for look in looks if look.colour != "grey"]
    since = [look for look in looks if not coloured or look.until_us > coloured[-1].until_us][:1]
    return [*last, *coloured[-max(rule.clear_after, KEEP) :], *since]


def fetch(connection: Connection, key: Key, look: Look) -> Finding:
    """The finding behind `look`, without its plot."""
    found = connection.execute(
        select(*_LIGHT).where(table.c.key == key.digest, table.c.until_us == look.until_us)
    ).mappings()
    return _finding(found.one())


def keep(connection: Connection, key: Key, until: float) -> None:
    """Never drop this finding: an alert rests on it."""
    us = round(until * 1e6)
    connection.execute(update(table).where(table.c.key == key.digest, table.c.until_us == us).values(kept=1))


def plot(connection: Connection, key: Key, until: float) -> str:
    """The SVG that came with a finding; "" where there was none, or it was dropped."""
    us = round(until * 1e6)
    found = connection.execute(select(table.c.plot).where(table.c.key == key.digest, table.c.until_us == us))
    return str(found.scalar() or "")


def newest_until(connection: Connection, key: Key) -> int:
    """The end of the newest window of `key`, in microseconds since 1970; 0 where nothing was seen."""
    return int(connection.execute(select(func.max(table.c.until_us)).where(table.c.key == key.digest)).scalar() or 0)


def newest(
    connection: Connection, workspace: str | None = None, place: tuple[str, str] | None = None
) -> Iterator[Seen]:
    """The newest finding of every key, without plots; of one workspace or of all, of one (environment, deployment)."""
    last = select(table.c.key, func.max(table.c.until_us).label("until_us")).group_by(table.c.key)
    if workspace is not None:
        last = last.where(table.c.workspace == workspace)
    if place is not None:
        last = last.where(table.c.environment == place[0], table.c.deployment == place[1])
    newest_rows = last.subquery()
    query = select(*_LIGHT, table.c.looked).join(
        newest_rows, (table.c.key == newest_rows.c.key) & (table.c.until_us == newest_rows.c.until_us)
    )
    for row in connection.execute(query.execution_options(yield_per=1000)).mappings():
        yield Seen(finding=_finding(row), looked=row["looked"])


def tested(connection: Connection, workspace: str) -> dict[tuple[Subject, Level], float]:
    """When the newest window ended that could be judged, by subject (without its model) and level; s since 1970."""
    columns = (table.c.environment, table.c.deployment, table.c.predictor, table.c.level)
    query = select(*columns, func.max(table.c.until_us)).where(table.c.workspace == workspace, table.c.colour != "grey")
    return {
        (Subject(environment=e, deployment=d, predictor=p, workspace=workspace), level): until / 1e6
        for e, d, p, level, until in connection.execute(query.group_by(*columns))
    }


def touch(connection: Connection, found: Sequence[Finding], now: datetime) -> None:
    """These findings were looked at again, and there was nothing new: they hold on."""
    if found:
        this = (table.c.key == bindparam("k"), table.c.until_us == bindparam("u"))
        same = [{"k": key_of(one).digest, "u": until_us(one)} for one in found]
        connection.execute(update(table).where(*this).values(looked=stamp(now)), same)


def subjects(connection: Connection, workspace: str) -> list[Subject]:
    """Everything in `workspace` of which something was seen, without its model."""
    columns = (table.c.environment, table.c.deployment, table.c.predictor)
    found = connection.execute(select(*columns).where(table.c.workspace == workspace).distinct())
    return [Subject(environment=e, deployment=d, predictor=p, workspace=workspace) for e, d, p in found]


def forget(connection: Connection, subjects: Iterable[Subject]) -> None:
    """Drop what was seen of subjects that are gone; what alerts rest on stays."""
    gone = [
        {"w": one.workspace, "e": one.environment, "d": one.deployment, "p": one.predictor} for one in set(subjects)
    ]
    if gone:
        connection.execute(
            delete(table).where(
                table.c.workspace == bindparam("w"),
                table.c.environment == bindparam("e"),
                table.c.deployment == bindparam("d"),
                table.c.predictor == bindparam("p"),
                table.c.kept == 0,
            ),
            gone,
        )


_LIGHT = [column for column in table.columns if column.name not in ("plot", "looked", "kept")]


def _rows_of(connection: Connection, digests: Sequence[str]) -> Iterator[RowMapping]:
    for start in range(0, len(digests), MOST_KEYS):
        query = select(table.c.key, table.c.until_us, table.c.colour, table.c.kept)
        chosen = query.where(table.c.key.in_(digests[start : start + MOST_KEYS]))
        yield from connection.execute(chosen).mappings()


def _columns(finding: Finding, now: datetime, *, kept: bool) -> dict[str, object]:
    said = {
        "cause": finding.cause[:LONGEST_CAUSE],
        "numbers": plain_numbers(dict(list(finding.numbers.items())[:MOST_NUMBERS])),
        "features": list(finding.features[:MOST_FEATURES]),
    }
    subject = finding.subject
    return {
        "key": key_of(finding).digest,
        "until_us": until_us(finding),
        "since_us": round(finding.since * 1e6),
        "looked": stamp(now),
        "workspace": subject.workspace,
        "environment": subject.environment,
        "deployment": subject.deployment,
        "predictor": subject.predictor,
        "model": subject.model,
        "level": finding.level,
        "rule": finding.rule,
        "colour": finding.colour,
        "said": json.dumps(said),
        "plot": finding.plot.replace("\0", "") if len(finding.plot) <= LONGEST_PLOT else "",
        "kept": int(kept),
    }


def _finding(row: RowMapping) -> Finding:
    said = json.loads(row["said"])
    return Finding(
        subject=Subject(
            environment=row["environment"],
            deployment=row["deployment"],
            predictor=row["predictor"],
            workspace=row["workspace"],
            model=row["model"],
        ),
        level=row["level"],
        rule=row["rule"],
        colour=row["colour"],
        cause=said["cause"],
        since=row["since_us"] / 1e6,
        until=row["until_us"] / 1e6,
        numbers={name: float(number) for name, number in said["numbers"].items()},
        features=tuple(said["features"]),
    )
