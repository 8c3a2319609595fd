"""An alert as a value: one subject, level and rule, with its state, as the newest ledger row about it says. Pure.

Made and changed by `decide`, stored and read by `alerts`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.evidence.ledger import Event, Row
from mlflow_hydraulic.monitor.findings import COLOURS, LEVELS, Colour, Finding, Level, Subject

VERB = "alert"
MONITOR_ACTOR = "hydraulic-monitor"
State = Literal["open", "acknowledged", "closed"]
What = Literal["opened", "worsened", "eased", "reminded", "acknowledged", "closed"]
STATES: tuple[State, ...] = ("open", "acknowledged", "closed")
LONGEST_CAUSE = 2000  # characters, in the ledger
MOST_FEATURES = 20
MOST_NUMBERS = 40


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """What there is at most one open alert of."""

    subject: Subject
    level: Level
    rule: str

    def __str__(self) -> str:
        """As the ledger's rows name it: "prod/cooler drift inputs", "prod/cooler/v3 service latency p99"."""
        predictor = f"/{self.subject.predictor}" if self.subject.predictor else ""
        return f"{self.subject.environment}/{self.subject.deployment}{predictor} {self.level} {self.rule}"

    @property
    def digest(self) -> str:
        """64 hexadecimal digits: of workspace and name; the model does not count, it is what the deployment runs."""
        return hashlib.sha256(f"{self.subject.workspace}\n{self}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert as it stands.

    episode: how many times it has opened, this one included. incident: when the first of the alerts opened that were
    open together for this deployment: notifications of one incident belong together. ISO, as `opened` and `told_at`.
    colour: as it is now; worst: of the episode. cause ... plot_at: of the finding that best explains the colour.
    told: the worst colour of this episode that people were told of, "" where nobody was; told_at, told_colour: the last
    time that anybody was told of this key, in whatever episode.
    mark: findings up to here, in microseconds since 1970, were dealt with before it was closed.
    what: what this row changed; by, reason, at, seq: the row's actor, reason, time and number.
    """

    key: Key
    state: State
    what: What
    colour: Colour
    worst: Colour
    episode: int = 1
    opened: str = ""
    incident: str = ""
    cause: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    since: float = 0.0
    until: float = 0.0
    told: str = ""
    told_at: str = ""
    told_colour: str = ""
    acknowledged_by: str = ""
    acknowledged_because: str = ""
    mark: int = 0
    by: str = MONITOR_ACTOR
    reason: str = ""
    at: str = ""
    seq: int = 0

    @property
    def id(self) -> str:
        """Ten hexadecimal digits; the same in every episode."""
        return self.key.digest[:10]

    @property
    def is_open(self) -> bool:
        """Whether it stands, acknowledged or not."""
        return self.state != "closed"

    def explained_by(self, finding: Finding) -> Alert:
        """The same with what `finding` says, as short as the ledger wants it."""
        return replace(
            self,
            key=replace(self.key, subject=finding.subject),
            cause=finding.cause[:LONGEST_CAUSE],
            numbers=dict(list(finding.numbers.items())[:MOST_NUMBERS]),
            features=finding.features[:MOST_FEATURES],
            since=finding.since,
            until=finding.until,
        )


IN_COLUMNS = ("key", "by", "reason", "at", "seq")


def to_json(alert: Alert) -> dict[str, object]:
    """Everything about it, for `--json` and for notifications."""
    return {"id": alert.id, **asdict(alert.key.subject), **stored(alert)} | {
        name: getattr(alert, name) for name in ("by", "reason", "at", "seq")
    }


def stored(alert: Alert) -> dict[str, object]:
    """The `after` of its ledger row: what the row's own columns do not say; no number that JSON cannot hold."""
    said = {one.name: getattr(alert, one.name) for one in fields(alert) if one.name not in IN_COLUMNS}
    subject = alert.key.subject
    return {
        **said,
        "level": alert.key.level,
        "rule": alert.key.rule,
        "deployment": subject.deployment,
        "predictor": subject.predictor,
        "features": list(alert.features),
        "numbers": plain_numbers(alert.numbers),
    }


def plain_numbers(numbers: Mapping[str, float]) -> dict[str, object]:
    """Numbers as JSON holds them; infinite and undefined ones as the texts "inf", "-inf" and "nan"."""
    return {str(name): float(n) if math.isfinite(n) else str(float(n)) for name, n in numbers.items()}


def event(alert: Alert, before: Alert | None) -> Event:
    """The ledger event that makes `alert` of `before`."""
    subject = alert.key.subject
    return Event(
        verb=VERB,
        subject=str(alert.key),
        actor=alert.by,
        model=subject.model,
        environment=subject.environment,
        before={"state": before.state, "colour": before.colour} if before else None,
        after=stored(alert),
        reason=alert.reason,
        workspace=subject.workspace,
    )


def read_alert(row: Row) -> Alert:
    """The alert that a ledger row of verb "alert" tells of; `Untrusted` where somebody wrote something else there."""
    try:
        said: dict[str, Any] = json.loads(row.after)
        subject = Subject(
            environment=row.environment,
            deployment=said.pop("deployment"),
            predictor=said.pop("predictor"),
            workspace=row.workspace,
            model=row.model,
        )
        key = Key(subject=subject, level=said.pop("level"), rule=said.pop("rule"))
        if str(key) != row.subject or key.level not in LEVELS or said["state"] not in STATES:
            raise ValueError(f"it speaks of {key}, {said['state']}")
        if said["colour"] not in COLOURS or said["worst"] not in COLOURS:
            raise ValueError(f"its colour is {said['colour']!r}")
        said["features"] = tuple(said["features"])
        said["numbers"] = {name: float(n) for name, n in said["numbers"].items()}
        return Alert(**said, key=key, by=row.actor, reason=row.reason, at=row.at, seq=row.seq)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Untrusted(f'ledger row {row.seq} is no alert ({error!r}): run "hydraulic ledger verify"') from error
