"""How every deployment is on each level as the last looks had it: the worst colour, why. For CLI and report. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.findings import COLOURS, LEVELS, Colour, Finding, Level
from mlflow_hydraulic.monitor.looks import Seen

NEVER = "not looked at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One deployment on one level. finding: the worst of the newest, None where nobody looked. looked: ISO, UTC."""

    environment: str
    deployment: str
    model: str
    level: Level
    colour: Colour
    why: str
    finding: Finding | None = None
    looked: str = ""


def standings(
    seen: Iterable[Seen], now: datetime, stale_s: float, behind: Container[str] = frozenset()
) -> list[Standing]:
    """Each deployment on each level, in the order of names; what is older than `stale_s` says nothing: grey.

    behind: predictors whose words give way to those of others that are as bad: challengers, whom nobody hears.
    """
    oldest = stamp(now - timedelta(seconds=stale_s))
    places: dict[tuple[str, str], list[Seen]] = {}
    for one in seen:
        subject = one.finding.subject
        places.setdefault((subject.environment, subject.deployment), []).append(one)
    return [
        _standing(environment, deployment, level, [one for one in worst_first if one.finding.level == level], oldest)
        for (environment, deployment), there in sorted(places.items())
        for worst_first in [sorted(there, key=lambda one: _badness(one.finding, behind), reverse=True)]
        for level in LEVELS
    ]


def _standing(environment: str, deployment: str, level: Level, seen: list[Seen], oldest: str) -> Standing:
    """seen: the worst first."""
    base = Standing(environment=environment, deployment=deployment, model="", level=level, colour="grey", why=NEVER)
    if not seen:
        return base
    fresh = [one for one in seen if one.looked >= oldest]
    worst = (fresh or seen)[0]
    finding = worst.finding
    who = f"{finding.subject.predictor}: " if finding.subject.predictor else ""
    why = f"{who}{finding.cause}" if fresh else f"not looked at since {worst.looked[:19].replace('T', ' ')} UTC"
    return Standing(
        environment=environment,
        deployment=deployment,
        model=finding.subject.model,
        level=level,
        colour=finding.colour if fresh else "grey",
        why=why,
        finding=finding,
        looked=worst.looked,
    )


def _badness(finding: Finding, behind: Container[str]) -> tuple[int, bool, float]:
    return COLOURS.index(finding.colour), finding.subject.predictor not in behind, finding.until
