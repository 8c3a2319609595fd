"""What is told of a deployment beside its row: how old the look is, what kind it is, since when and by whose word.

Called by `deployment_list` and `deployment_detail`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, literal, select

from mlflow_hydraulic.evidence.recorded import INITIAL_VERBS, RUNS
from mlflow_hydraulic.evidence.sight import Look, Part
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.web.ask import Ask

PATIENCE = 3  # intervals of the controller without a look
LEAST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What the ledger tells of what runs: since when, by whose word, and why."""

    at: str = ""
    actor: str = ""
    reason: str = ""


def late_looks(ask: Ask, looks: Mapping[str, Look]) -> dict[str, tuple[str, str]]:
    """By environment: why what is shown may not hold any more ("" where it does), and when it was seen last."""
    names = {env.name for env in ask.house.configuration.environments} | looks.keys()
    return {name: _late(ask, looks.get(name)) for name in names}


def _late(ask: Ask, look: Look | None) -> tuple[str, str]:
    if look is None:
        return "no controller has looked here yet: does `hydraulic controller` run?", ""
    at = look.at.isoformat(timespec="microseconds") if look.at else ""
    age_s = (ask.now - look.at).total_seconds() if look.at else 0.0
    if look.blind:
        seen = f"seen last {_ago(age_s)} ago" if look.at else "it was never seen"
        return f"its target does not answer: {look.blind}; {seen}", at
    if age_s > max(LEAST_S, PATIENCE * ask.house.settings.interval_s):
        return f"the controller has not looked for {_ago(age_s)}: does it run?", at
    return "", at


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 and unit != 'min' else ''}"
    return f"{max(0, int(seconds))} s"


def type_of(parts: Iterable[Part]) -> str:
    """The seed's word for what is deployed: "single", "champion/challenger" or "A/B"."""
    roles = [part.role for part in parts]
    return "A/B" if "arm" in roles else "champion/challenger" if "challenger" in roles else "single"


def top(parts: Iterable[Part]) -> str:
    """The version that most callers get."""
    best = max((part for part in parts if part.role != "challenger"), key=lambda part: part.traffic, default=None)
    return best.version if best else ""


def in_words(parts: Iterable[Part]) -> str:
    """As the plan says it: "v1 30%/v2 70% + challenger v3"."""
    listed = list(parts)
    arms = [one for one in listed if one.role != "challenger"]
    text = "/".join(f"v{one.version}" + (f" {one.traffic}%" if len(arms) > 1 else "") for one in arms)
    shadows = [f" + challenger v{one.version}" for one in listed if one.role == "challenger"]
    return text + "".join(shadows)


def deployed_since(connection: Connection, workspace: str, subject: str = "") -> dict[str, Deployed]:
    """The newest row about what runs, by "environment/deployment"; nothing of what ended."""
    newest = select(func.max(ledger.c.seq).label("seq")).where(ledger.c.verb == RUNS, ledger.c.workspace == workspace)
    if subject:
        newest = newest.where(ledger.c.subject == subject)
    last = newest.group_by(ledger.c.subject).subquery()
    columns = (ledger.c.subject, ledger.c.at, ledger.c.actor, ledger.c.reason)
    query = select(*columns).join(last, ledger.c.seq == last.c.seq).where(ledger.c.after != "null")
    return {row.subject: Deployed(at=row.at, actor=row.actor, reason=row.reason) for row in connection.execute(query)}


def words(connection: Connection, workspace: str, subjects: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Whose word is the last before the newest row that each of `subjects` ("environment/deployment") runs, and why.

    What was said since then, of what comes next or is to end, is not what runs.
    """
    runs, said = ledger.alias("runs"), ledger.alias("said")
    carried = (
        select(func.max(runs.c.seq).label("seq"))
        .where(runs.c.verb == RUNS, runs.c.workspace == workspace, runs.c.subject.in_(sorted(set(subjects))))
        .group_by(runs.c.subject)
        .subquery()
    )
    about = (
        literal(",")
        .concat(said.c.environment)
        .concat(",")
        .contains(literal(",").concat(runs.c.environment).concat(","))
    )
    newest = (
        select(runs.c.subject, func.max(said.c.seq).label("seq"))
        .join(carried, runs.c.seq == carried.c.seq)
        .join(said, and_(said.c.model == runs.c.model, said.c.seq < runs.c.seq, about))
        .where(said.c.verb.in_(INITIAL_VERBS), said.c.workspace == workspace)
        .group_by(runs.c.subject)
        .subquery()
    )
    query = select(newest.c.subject, ledger.c.actor, ledger.c.reason).join(newest, ledger.c.seq == newest.c.seq)
    return {row.subject: (row.actor, row.reason) for row in connection.execute(query)}
