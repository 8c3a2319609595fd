"""What one channel is told at one time of one deployment: a value that waits in the outbox, and its words. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.alert import Alert, Key, to_json
from mlflow_hydraulic.monitor.findings import COLOURS, Colour, Subject
from mlflow_hydraulic.monitor.standing import Change

MOST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One alert in a notification. news: opened, worsened, reminded or closed. was: the colour last told, or ""."""

    news: str
    was: str
    alert: dict[str, Any]

    @property
    def colour(self) -> Colour:
        """Green once it is closed."""
        if self.news == "closed":
            return "green"
        return next((colour for colour in COLOURS if colour == self.alert["colour"]), "grey")

    @property
    def line(self) -> str:
        """ "RED  drift inputs: ..." or "OVER drift inputs: ..."."""
        alert = self.alert
        predictor = f" (predictor {alert['predictor']})" if alert["predictor"] else ""
        mark = "OVER" if self.news == "closed" else str(alert["colour"]).upper()
        why = alert["reason"] if self.news == "closed" else alert["cause"]
        again = {"reminded": ", still", "worsened": f", was {self.was}"}.get(self.news, "")
        return one_line(f"{mark}{again}: {alert['level']} {alert['rule']}{predictor}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """id: the same at every attempt, so that a receiver can drop a repetition. incident: ISO time of its beginning."""

    id: str
    channel: str
    workspace: str
    environment: str
    deployment: str
    model: str
    incident: str
    at: str
    items: tuple[Item, ...] = field(default=())
    test: bool = False

    @property
    def colour(self) -> Colour:
        """The worst in it."""
        return max((item.colour for item in self.items), key=COLOURS.index, default="green")

    @property
    def title(self) -> str:
        """ "PROD cooler: red", or "PROD cooler: over"."""
        state = "over" if all(item.news == "closed" for item in self.items) else self.colour
        test = "TEST " if self.test else ""
        return one_line(f"{test}{self.environment.upper()} {self.deployment}: {state}")

    @property
    def lines(self) -> list[str]:
        """One for each alert, the worst first; of very many the first."""
        ranked = sorted(self.items, key=lambda item: -COLOURS.index(item.colour))
        shown = [item.line for item in ranked[:MOST_LINES]]
        more = len(ranked) - len(shown)
        return [*shown, f"and {more} more"] if more else shown

    @property
    def incident_id(self) -> str:
        """The same for all notifications of one incident, on every channel."""
        place = "\n".join((self.workspace, self.environment, self.deployment, self.incident))
        return hashlib.sha256(place.encode()).hexdigest()[:24]


def notification(channel: str, changes: Sequence[Change], now: datetime) -> Notification:
    """Tell `channel` of these changes, which are all of one deployment."""
    first = changes[0].alert
    subject = first.key.subject
    said = json.dumps([channel, subject.workspace, [(change.alert.id, change.alert.seq) for change in changes]])
    return Notification(
        id=hashlib.sha256(said.encode()).hexdigest()[:32],
        channel=channel,
        workspace=subject.workspace,
        environment=subject.environment,
        deployment=subject.deployment,
        model=subject.model,
        incident=first.incident,
        at=stamp(now),
        items=tuple(Item(news=one.news, was=_was(one), alert=to_json(one.alert)) for one in changes),
    )


def trial(channel: str, workspace: str, by: str, now: datetime) -> Notification:
    """A test for `channel`, which says that it is one; each has an id of its own."""
    subject = Subject(environment="test", deployment="test", workspace=workspace)
    alert = Alert(
        key=Key(subject=subject, level="service", rule="test"),
        state="open",
        what="opened",
        colour="orange",
        worst="orange",
        opened=stamp(now),
        incident=stamp(now),
        cause=f"{by} tests the channel {channel}: nothing is wrong, nothing needs to be done",
        by=by,
        at=stamp(now),
    )
    made = notification(channel, [Change(alert=alert, before=None)], now)
    return replace(made, test=True, id=hashlib.sha256(f"{made.id}{stamp(now)}".encode()).hexdigest()[:32])


def write_notification(made: Notification) -> str:
    return json.dumps(asdict(made))


def read_notification(text: str) -> Notification:
    """`ValueError`, `TypeError` or `KeyError` where the text is none."""
    said = json.loads(text)
    said["items"] = tuple(Item(**item) for item in said["items"])
    return Notification(**said)


def one_line(text: str) -> str:
    """The text without anything that a header, a terminal or a chat would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def shown_time(at: str) -> str:
    """An ISO time to the second, in UTC, which it says."""
    return f"{datetime.fromisoformat(at).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _was(change: Change) -> str:
    same = change.before is not None and change.before.episode == change.alert.episode
    return change.before.told_colour if change.before is not None and same and change.before.told else ""
