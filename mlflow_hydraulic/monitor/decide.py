"""The decision: an alert as it stands and the last looks at it make the alert as it should stand. Pure.

Hysteresis: a colour is believed after `raise_after` of the last `of` looks, and left after `clear_after` better looks
in a row. Grey says nothing: it neither raises nor clears, but fills its place among the last looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.alert import MONITOR_ACTOR, Alert, Key
from mlflow_hydraulic.monitor.findings import COLOURS, Colour, Finding
from mlflow_hydraulic.monitor.rules import Rule

RAISING: tuple[Colour, ...] = ("red", "orange")  # the worst first


@dataclass(frozen=True, slots=True)
class Look:
    """That a finding had this colour; until_us: the end of its window, microseconds since 1970, which orders looks."""

    until_us: int
    colour: Colour


def worse(one: Colour, other: Colour) -> bool:
    return COLOURS.index(one) > COLOURS.index(other)


def believed(looks: Sequence[Look], rule: Rule) -> Colour | None:
    """The worst colour that enough of the last looks, oldest first, reached; None where none did.

    >>> looks = [Look(1, "red"), Look(2, "green"), Look(3, "orange")]
    >>> believed(looks, Rule(raise_after=2, of=3)), believed(looks, Rule(raise_after=1, of=3)), believed(looks, Rule())
    ('orange', 'red', 'orange')
    """
    last = looks[-rule.of :]
    reached = (c for c in RAISING if sum(not worse(c, look.colour) for look in last) >= rule.raise_after)
    return next(reached, None)


def cleared(looks: Sequence[Look], rule: Rule) -> Colour | None:
    """The worst colour of the last `clear_after` looks that were not grey; None where there are not so many."""
    last = [look.colour for look in looks if look.colour != "grey"][-rule.clear_after :]
    return max(last, key=COLOURS.index) if len(last) == rule.clear_after else None


def credible(looks: Sequence[Look], rule: Rule) -> Colour | None:
    """What is believed, unless enough better looks came after it: then it is what those say; None where all is good."""
    colour, clear = believed(looks, rule), cleared(looks, rule)
    if colour and clear and worse(colour, clear):
        return clear if clear in RAISING else None
    return colour


def grey_for(looks: Sequence[Look], now: datetime) -> float:
    """For how many seconds there was no data, as far as `looks` know; 0 where there is data, or nobody looked."""
    if not looks or looks[-1].colour != "grey":
        return 0.0
    first = looks[0]
    for look in reversed(looks):
        if look.colour != "grey":
            break
        first = look
    return max(0.0, now.timestamp() - first.until_us / 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is decided: on which key, by which rule, when. fetch: the finding behind a look, asked for when needed."""

    key: Key
    rule: Rule
    now: datetime
    fetch: Callable[[Look], Finding]


def steps(alert: Alert | None, looks: Sequence[Look], new: Collection[int], case: Case) -> list[Alert]:
    """What becomes of `alert` (None: there never was one) as the new looks come in; the last one is how it stands then.

    looks: all that are known, oldest first. new: the `until_us` of those that nobody judged yet: each is judged in its
    turn, with what was known up to then, so that it does not matter how many come at once. A late one is judged with
    the newest of those that were.
    """
    newest_judged = max((look.until_us for look in looks if look.until_us not in new), default=0)
    made: list[Alert] = []
    for turn in sorted({max(until, newest_judged) for until in new}):
        mark = alert.mark if alert else 0
        known = [look for look in looks if mark < look.until_us <= turn]
        move = _moved if alert and alert.is_open else _opened
        step = move(alert or never(case.key), known, case)
        if step:
            alert = step
            made.append(step)
    return made


def never(key: Key) -> Alert:
    """An alert that has never been open."""
    return Alert(key=key, state="closed", what="closed", colour="green", worst="green", episode=0)


def _opened(alert: Alert, looks: Sequence[Look], case: Case) -> Alert | None:
    colour, rule = credible(looks, case.rule), case.rule
    if colour is None:
        if not rule.grey_after_s or grey_for(looks, case.now) < rule.grey_after_s:
            return None
        colour = "grey"
    fresh = replace(
        alert,
        state="open",
        what="opened",
        colour=colour,
        worst=colour,
        episode=alert.episode + 1,
        opened=stamp(case.now),
        incident="",
        told="",
        acknowledged_by="",
        acknowledged_because="",
        by=MONITOR_ACTOR,
        reason="",
    )
    return _explained(fresh, looks, case)


def _moved(alert: Alert, looks: Sequence[Look], case: Case) -> Alert | None:
    rule = case.rule
    colour, clear = credible(looks, rule), cleared(looks, rule)
    ours = replace(alert, by=MONITOR_ACTOR, reason="")
    if colour and worse(colour, alert.colour):
        worst = max(alert.worst, colour, key=COLOURS.index)
        moved = replace(ours, what="worsened", state="open", colour=colour, worst=worst)
        return _explained(replace(moved, acknowledged_by="", acknowledged_because=""), looks, case)
    if alert.colour == "grey":
        last = looks[-rule.clear_after :]
        back = len(last) == rule.clear_after and all(look.colour != "grey" for look in last)
        return (
            closed(alert, looks[-1].until_us, f"there is data again: {case.fetch(looks[-1]).cause}") if back else None
        )
    if clear == "green":
        good = next(look for look in reversed(looks) if look.colour != "grey")
        times = f"good {rule.clear_after} times in a row" if rule.clear_after > 1 else "good again"
        return closed(alert, looks[-1].until_us, f"{times}: {case.fetch(good).cause}")
    if clear and worse(alert.colour, clear):
        return _explained(replace(ours, what="eased", colour=clear), looks, case)
    return None


def closed(alert: Alert, mark: int, reason: str, by: str = MONITOR_ACTOR) -> Alert:
    """The same, closed; findings up to `mark` do not open it again."""
    return replace(alert, state="closed", what="closed", mark=max(mark, alert.mark), by=by, reason=reason)


def _explained(alert: Alert, looks: Sequence[Look], case: Case) -> Alert:
    """With the newest finding of its colour, or of a worse one: a colour is believed because looks were as bad."""
    same = [look for look in looks if look.colour == alert.colour]
    return alert.explained_by(case.fetch((same or [look for look in looks if worse(look.colour, alert.colour)])[-1]))


def tell(alert: Alert, rule: Rule, now: datetime, *, muted: bool) -> bool:
    """Whether people are told now of an alert that stands.

    Of each episode once, and again when it is worse than what they were told, or when nobody acknowledged it for
    `again_s`. An alert that comes back within `quiet_s` waits for the rest of it, unless it is worse.
    """
    if muted or alert.state != "open" or alert.colour not in rule.notify or not rule.channels:
        return False
    last = datetime.fromisoformat(alert.told_at) if alert.told_at else None
    if alert.told:
        again = bool(rule.again_s) and last is not None and now - last >= timedelta(seconds=rule.again_s)
        return again or worse(alert.colour, _colour(alert.told))
    if last is None or worse(alert.colour, _colour(alert.told_colour)):
        return True
    return now - last >= timedelta(seconds=rule.quiet_s)


def told(alert: Alert, now: datetime) -> Alert:
    """The same after people were told."""
    worst = max(alert.colour, _colour(alert.told), key=COLOURS.index)
    return replace(alert, told=worst, told_at=stamp(now), told_colour=alert.colour)


def _colour(text: str) -> Colour:
    return next((colour for colour in COLOURS if colour == text), "grey")
