"""Alerts for whoever may see them: filtered, worst first; one with its story, its plot, and who was told.

Called by `api.alerts` and the pages. An alert belongs to its deployment's model, and so to that model's project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from msgspec import Meta, Struct
from sqlalchemy import Connection, select

from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.evidence.tables import outbox
from mlflow_hydraulic.monitor import looks, mutes, rollup, standing
from mlflow_hydraulic.monitor.acts import Desk
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.alert_counts import Counts, open_alerts, total
from mlflow_hydraulic.monitor.mutes import Mute
from mlflow_hydraulic.people.members import MODEL_TAGS, MODELS, PROJECT_TAG
from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.people.visible import visible
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.ask import Ask

Word = Annotated[str, Meta(max_length=256)]
Level = Literal["", "service", "drift", "accuracy", "anomaly"]
Wanted = Literal["current", "open", "acknowledged", "muted", "closed", "all"]
MOST_TOLD = 50


class AlertFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """state: current is open or acknowledged; open is what nobody acknowledged or muted. "" is any of the others."""

    state: Wanted = "current"
    project: Word = ""
    environment: Word = ""
    deployment: Word = ""
    model: Word = ""
    level: Level = ""
    colour: Literal["", "red", "orange", "grey"] = ""
    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    size: Annotated[int, Meta(ge=1, le=200)] = 50


class MuteSaid(Struct, frozen=True, kw_only=True):
    """A mute that holds. fits: what it is about, in words. until, at: ISO."""

    id: str
    fits: str
    until: str
    by: str
    reason: str
    at: str


class AlertLine(Struct, frozen=True, kw_only=True):
    """One alert as it stands. episode: how often it has opened. changed, by, reason: its last step; times are ISO."""

    id: str
    environment: str
    deployment: str
    predictor: str
    model: str
    level: str
    rule: str
    state: str
    colour: str
    worst: str
    episode: int
    opened: str
    changed: str
    by: str
    reason: str
    cause: str
    features: list[str]
    acknowledged_by: str
    acknowledged_because: str
    mutes: list[MuteSaid]


class AlertPage(Struct, frozen=True, kw_only=True):
    """total: alerts that fit, on all pages."""

    items: list[AlertLine]
    total: int
    page: int
    size: int


class Step(Struct, frozen=True, kw_only=True):
    """One ledger row about an alert. what: opened, worsened, eased, reminded, acknowledged or closed."""

    seq: int
    at: str
    what: str
    colour: str
    by: str
    reason: str
    cause: str


class ToldTo(Struct, frozen=True, kw_only=True):
    """One notification with this alert in it. state: sent, pending (it is tried again) or dead (given up)."""

    channel: str
    state: str
    made: str
    done: str
    attempts: int


class AlertDetail(Struct, frozen=True, kw_only=True):
    """may_act: whether the caller may acknowledge, mute and close it. numbers: what was measured, as text."""

    alert: AlertLine
    may_act: bool
    numbers: dict[str, str]
    since: float
    until: float
    plot: bool
    story: list[Step]
    told: list[ToldTo]


def listed(ask: Ask, asked: AlertFilter) -> AlertPage:
    """What fits and may be seen: the open ones first, the worst first."""
    house = ask.house
    with house.engine.connect() as connection:
        models = _models(connection, ask, asked.project)
        known = standing.current(connection, house.workspace, closed=asked.state in ("closed", "all")).values()
        muting = mutes.active(connection, house.workspace, ask.now)
    pairs = [(one, mutes.that_fit(muting, one)) for one in known if models is None or one.key.subject.model in models]
    found = [pair for pair in pairs if _fits(pair, asked)]
    found.sort(key=lambda pair: (not pair[0].is_open, bool(pair[1]), *_order(pair[0])))
    start = (asked.page - 1) * asked.size
    items = [line(*pair) for pair in found[start : start + asked.size]]
    return AlertPage(items=items, total=len(found), page=asked.page, size=asked.size)


def _order(alert: Alert) -> tuple[int, str, str]:
    """The worst first; of those that are over, the one that ended last."""
    if alert.is_open:
        return rollup.badness(alert)
    return -alert.seq, "", ""


def badge(ask: Ask) -> Counts:
    """What the navigation tells: the alerts that are open, of what the caller may see."""
    with ask.house.engine.connect() as connection:
        found = open_alerts(connection, ask.house.workspace, ask.now)
        return total(found, _models(connection, ask, "") if found else None)


def find(ask: Ask, text: str) -> Alert:
    """The alert of this id, if the caller may see it; of all others there is nothing to be known."""
    house = ask.house
    with house.engine.connect() as connection:
        models = _models(connection, ask, "")
        known = standing.current(connection, house.workspace).values()
    mine = [one for one in known if models is None or one.key.subject.model in models]
    found = [one for one in mine if one.id == text.lower()]
    if not found:
        raise NotFound(f"there is no alert {text[:40]!r}, or it is not shared with {ask.who.actor!r}")
    return found[0]


def detail(ask: Ask, text: str) -> AlertDetail:
    """Everything about one alert."""
    alert, house = find(ask, text), ask.house
    role = role_of(ask, alert)
    with house.engine.connect() as connection:
        silent = mutes.that_fit(mutes.active(connection, house.workspace, ask.now), alert)
        same = alert.key.subject.model  # another one may have had the deployment's name before, in another project
        story = [one for one in standing.story(connection, alert) if one.key.subject.model == same]
        told = _told(connection, alert)
        plot = bool(looks.plot(connection, alert.key, alert.until))
    return AlertDetail(
        alert=line(alert, silent),
        may_act=role is not None and Right.ALERTS in role.rights,
        numbers={name: f"{number:.6g}" for name, number in alert.numbers.items()},
        since=alert.since,
        until=alert.until,
        plot=plot,
        story=[_step(one) for one in reversed(story)],
        told=told,
    )


def plot(ask: Ask, text: str) -> bytes:
    """The SVG of the finding that an alert rests on."""
    alert = find(ask, text)
    with ask.house.engine.connect() as connection:
        drawn = looks.plot(connection, alert.key, alert.until)
    if not drawn:
        raise NotFound(f"no plot came with the finding that {alert.key} rests on")
    return drawn.encode()


def act(ask: Ask, text: str, how: Callable[[Desk, str], object]) -> AlertDetail:
    """Do something about an alert as its desk does it, if the caller may; then the alert as it stands."""
    alert = find(ask, text)
    access.require(Right.ALERTS, role_of(ask, alert), f"alert {alert.key}", ask)
    how(Desk(ask.house.engine, ask.house.workspace, ask.who.actor), alert.id)
    return detail(ask, alert.id)


def role_of(ask: Ask, alert: Alert) -> Role | None:
    return access.role_for_deployment(ask, alert.key.subject.model)


def _models(connection: Connection, ask: Ask, project: str) -> Collection[str] | None:
    """The models whose alerts may be seen, of one project where it is named; None: no matter which."""
    house, who = ask.house, ask.who
    if who.everywhere and not project:
        return None
    seen = visible(who, house.accounts.readable(who), house.workspace, MODELS.c.name)
    query = select(MODELS.c.name).where(MODELS.c.workspace == house.workspace, seen)
    if project:
        tagged = (MODEL_TAGS.c.workspace == house.workspace, MODEL_TAGS.c.key == PROJECT_TAG)
        query = query.where(MODELS.c.name.in_(select(MODEL_TAGS.c.name).where(*tagged, MODEL_TAGS.c.value == project)))
    return set(connection.execute(query).scalars())


def _fits(pair: tuple[Alert, list[Mute]], asked: AlertFilter) -> bool:
    alert, silent = pair
    subject = alert.key.subject
    states: dict[Wanted, bool] = {
        "current": alert.is_open,
        "open": alert.state == "open" and not silent,
        "acknowledged": alert.state == "acknowledged",
        "muted": alert.is_open and bool(silent),
        "closed": not alert.is_open,
        "all": True,
    }
    told = (
        (asked.environment, subject.environment),
        (asked.deployment, subject.deployment),
        (asked.model, subject.model),
        (asked.level, alert.key.level),
        (asked.colour, alert.colour),
    )
    return states[asked.state] and all(wanted in ("", given) for wanted, given in told)


def line(alert: Alert, silent: Sequence[Mute]) -> AlertLine:
    subject = alert.key.subject
    return AlertLine(
        id=alert.id,
        environment=subject.environment,
        deployment=subject.deployment,
        predictor=subject.predictor,
        model=subject.model,
        level=alert.key.level,
        rule=alert.key.rule,
        state=alert.state,
        colour=alert.colour,
        worst=alert.worst,
        episode=alert.episode,
        opened=alert.opened,
        changed=alert.at,
        by=alert.by,
        reason=alert.reason,
        cause=alert.cause,
        features=list(alert.features),
        acknowledged_by=alert.acknowledged_by,
        acknowledged_because=alert.acknowledged_because,
        mutes=[
            MuteSaid(id=one.id, fits=str(one.pattern), until=one.until, by=one.by, reason=one.reason, at=one.at)
            for one in silent
        ],
    )


def _step(alert: Alert) -> Step:
    names = ("seq", "at", "what", "colour", "by", "reason", "cause")
    said = asdict(alert)
    return Step(**{name: said[name] for name in names})


def _told(connection: Connection, alert: Alert) -> list[ToldTo]:
    """The notifications with this alert in them, newest first. What channels answered is for whoever runs them."""
    columns = (outbox.c.channel, outbox.c.state, outbox.c.made, outbox.c.done, outbox.c.attempts)
    named = outbox.c.body.contains(json.dumps(alert.id), autoescape=True)
    query = select(*columns).where(outbox.c.workspace == alert.key.subject.workspace, named)
    rows = connection.execute(query.order_by(outbox.c.seq.desc()).limit(MOST_TOLD))
    return [ToldTo(channel=c, state=s, made=made, done=done, attempts=n) for c, s, made, done, n in rows]
