"""What the monitor said last of a deployment, as tables: each level, each check with its words."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime

from sqlalchemy import Connection

from mlflow_hydraulic.monitor import looks
from mlflow_hydraulic.monitor.findings import COLOURS, LEVELS, Level, Subject
from mlflow_hydraulic.monitor.looks import Seen
from mlflow_hydraulic.monitor.series.chart import Table
from mlflow_hydraulic.monitor.status import NEVER, Standing, standings

NOT_LOOKED = 'The monitor has not looked at this yet: see that "hydraulic monitor" runs.'


def last_said(connection: Connection, subject: Subject) -> list[Seen]:
    """The newest finding of every check of one deployment."""
    return list(looks.newest(connection, subject.workspace, (subject.environment, subject.deployment)))


def levels(
    seen: Sequence[Seen], subject: Subject, now: datetime, stale_s: float, behind: Container[str] = frozenset()
) -> list[Standing]:
    """How it is on each level; all grey where nobody looked. behind: see `standings`."""
    found = standings(seen, now, stale_s, behind)
    return found or [
        Standing(
            environment=subject.environment,
            deployment=subject.deployment,
            model=subject.model,
            level=level,
            colour="grey",
            why=NEVER,
        )
        for level in LEVELS
    ]


def findings_table(seen: Sequence[Seen], level: Level, predictor: str = "") -> Table:
    """The newest finding of each check on one level, the worst first; of one predictor, or of all where it is ""."""
    title = f"What the monitor says of {level}"
    mine = [
        one
        for one in seen
        if one.finding.level == level and (not predictor or one.finding.subject.predictor in ("", predictor))
    ]
    if not mine:
        return Table(name="findings", title=title, missing=NOT_LOOKED)
    ordered = sorted(mine, key=_badness)
    rows = [
        [
            one.finding.colour,
            one.finding.rule,
            one.finding.subject.predictor,
            one.finding.cause,
            one.looked[:19].replace("T", " "),
        ]
        for one in ordered
    ]
    headings = ["level", "check", "predictor", "what it found", "looked (UTC)"]
    return Table(name="findings", title=title, headings=headings, rows=rows)


def _badness(one: Seen) -> tuple[int, bool, str]:
    """The worst first; of those the ones that name inputs."""
    finding = one.finding
    return -COLOURS.index(finding.colour), not finding.features, finding.rule


def bar_of(seen: Sequence[Seen], measure: str, predictor: str) -> float | None:
    """What the monitor held a measure against, as its newest finding tells."""
    for one in seen:
        if (one.finding.level, one.finding.rule, one.finding.subject.predictor) == ("accuracy", measure, predictor):
            return one.finding.numbers.get("threshold")
    return None
