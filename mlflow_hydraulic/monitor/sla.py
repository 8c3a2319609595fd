"""What was promised of a deployment's service, how much of the error budget is left, and how fast it burns. Pure.

[[monitor.sla]]                    # the first that fits decides
environment = "prod"               # shell patterns; "*" where nothing is said
deployment = "cooler*"
availability = 0.999               # share of requests that are answered without an error of ours (5xx)
p99_ms = 250                       # within which 99 % of the answers come
window = "30d"                     # over which both hold; 1d to 35d
requests = 100                     # within 3 days, that it takes to call it green
memory_mb = 2000                   # of each predictor, over all its processes

Burn rates and windows: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs", 6: Multiwindow,
Multi-Burn-Rate Alerts (https://sre.google/workbook/alerting-on-slos/). Both windows must burn: the long one makes sure
that it matters, the short one that it still goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from mlflow_hydraulic import typed
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.findings import Colour, Subject
from mlflow_hydraulic.monitor.served import History, Served
from mlflow_hydraulic.monitor.service_history import KEPT_S

KEYS = ("environment", "deployment", "availability", "p99_ms", "window", "requests", "memory_mb")
HOUR_S, DAY_S = 3600.0, 86_400.0
DEFAULT_WINDOW_S = 30 * DAY_S
QUICK = 0.99  # of the answers, within p99_ms
SURE = 0.01  # so rarely would as many fail by chance, were the rate just the one that is allowed
FEWEST_BAD = 3  # one or two of a handful of requests are no alarm, however strict the promise
# (long window, short window, share of the budget that is burnt over the long one, colour): the workbook's table 5-8
ALARMS: tuple[tuple[float, float, float, Colour], ...] = (
    (HOUR_S, HOUR_S / 12, 0.02, "red"),
    (6 * HOUR_S, HOUR_S / 2, 0.05, "red"),
    (DAY_S, 2 * HOUR_S, 0.10, "orange"),
    (3 * DAY_S, 6 * HOUR_S, 0.10, "orange"),
)
ENOUGH_S = 3 * DAY_S
Promise = Literal["errors", "latency p99"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """What was promised; None: nothing was. limits of the window in s, of latency in ms, of memory in MB (10**6)."""

    environment: str = "*"
    deployment: str = "*"
    availability: float | None = None
    p99_ms: float | None = None
    window_s: float = DEFAULT_WINDOW_S
    requests: int = 100
    memory_mb: float | None = None

    def fits(self, subject: Subject) -> bool:
        return fnmatchcase(subject.environment, self.environment) and fnmatchcase(subject.deployment, self.deployment)

    @property
    def promises(self) -> tuple[tuple[Promise, float], ...]:
        """What is counted, and the share of requests that may not be good."""
        found: list[tuple[Promise, float]] = []
        if self.availability is not None:
            found.append(("errors", 1 - self.availability))
        if self.p99_ms is not None:
            found.append(("latency p99", 1 - QUICK))
        return tuple(found)

    def bad(self, promise: Promise, served: Served) -> tuple[int, int]:
        """How many were bad, of how many. Latency is known by class: an answer counts as slow if it surely was."""
        if promise == "errors" or self.p99_ms is None:
            return served.level.errors, served.level.requests
        return served.level.slower_than(self.p99_ms / 1e3), sum(served.level.buckets)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Of two windows that burn `limit` times as fast as they may, or faster."""

    long_s: float
    short_s: float
    limit: float
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """How fast the budget went over two windows: 1 spends it exactly by the end of the promise's window.

    p_value: of so many bad ones in the long window by chance at the alarm's limit. None where nothing was asked.
    """

    alarm: Alarm
    long: float | None
    short: float | None
    p_value: float

    @property
    def fires(self) -> bool:
        both = self.long is not None and self.short is not None
        return both and min(self.long or 0.0, self.short or 0.0) >= self.alarm.limit and self.p_value <= SURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One promise over its window. allowed: the share that may be bad. left: of the budget, from 1 to below 0.

    left is None where nothing was asked. recent: requests of the last three days, by which green is told from grey.
    """

    promise: Promise
    allowed: float
    window_s: float
    bad: int
    requests: int
    recent: int
    needed: int
    burns: tuple[Burn, ...]

    @property
    def left(self) -> float | None:
        return 1 - self.bad / (self.allowed * self.requests) if self.requests else None

    @property
    def spent(self) -> bool:
        """Whether it is surely gone: of few requests a single bad one would already seem to spend it."""
        return self.left is not None and self.left <= 0 and _chance(self.bad, self.requests, self.allowed) <= SURE

    @property
    def colour(self) -> Colour:
        if any(burn.fires and burn.alarm.colour == "red" for burn in self.burns):
            return "red"
        if self.spent or any(burn.fires for burn in self.burns):
            return "orange"
        return "green" if self.recent >= self.needed else "grey"

    @property
    def worst(self) -> Burn:
        """The alarm that is nearest to firing, or furthest beyond."""
        firing = [burn for burn in self.burns if burn.fires]
        return max(firing or self.burns, key=lambda burn: min(burn.long or 0.0, burn.short or 0.0) / burn.alarm.limit)


def budgets(history: History, sla: Sla, now: float) -> tuple[Budget, ...]:
    """The budget of each promise at `now`, s since 1970."""
    whole = history.served(now - sla.window_s, now)
    recent = history.served(now - min(ENOUGH_S, sla.window_s), now)
    found = []
    for promise, allowed in sla.promises:
        bad, requests = sla.bad(promise, whole)
        found.append(
            Budget(
                promise=promise,
                allowed=allowed,
                window_s=sla.window_s,
                bad=bad,
                requests=requests,
                recent=sla.bad(promise, recent)[1],
                needed=sla.requests,
                burns=tuple(_burn(history, sla, promise, one, now) for one in alarms(sla.window_s, allowed)),
            )
        )
    return tuple(found)


def alarms(window_s: float, allowed: float) -> tuple[Alarm, ...]:
    """Those that fit into the window. Of a loose promise even everything bad would not burn so fast as the workbook
    has it: halfway to that is the limit then.

    >>> [round(alarm.limit, 1) for alarm in alarms(30 * DAY_S, 0.001)]
    [14.4, 6.0, 3.0, 1.0]
    """
    most = (1 + allowed) / 2 / allowed
    return tuple(
        Alarm(long_s, short_s, min(max(share * window_s / long_s, 1.0), most), colour)
        for long_s, short_s, share, colour in ALARMS
        if long_s <= window_s
    )


def _burn(history: History, sla: Sla, promise: Promise, alarm: Alarm, now: float) -> Burn:
    allowed = dict(sla.promises)[promise]
    long = sla.bad(promise, history.served(now - alarm.long_s, now))
    short = sla.bad(promise, history.served(now - alarm.short_s, now))
    return Burn(
        alarm=alarm,
        long=long[0] / long[1] / allowed if long[1] else None,
        short=short[0] / short[1] / allowed if short[1] else None,
        p_value=_chance(*long, alarm.limit * allowed),
    )


def _chance(bad: int, requests: int, rate: float) -> float:
    """Of `bad` or more of so many, were each bad with the chance `rate`; 1 for so few that nobody should be told."""
    if bad < FEWEST_BAD:
        return 1.0
    from scipy.special import bdtrc  # takes most of a second to load, and nearly every look has nothing bad to judge

    return float(bdtrc(bad - 1, requests, min(rate, 1.0)))


def sla_of(slas: Sequence[Sla], subject: Subject) -> Sla:
    """The first that fits; where none does, nothing was promised."""
    return next((sla for sla in slas if sla.fits(subject)), Sla())


def read_slas(table: Mapping[str, Any]) -> tuple[Sla, ...]:
    """From `sla` of the table [monitor]; `BadInput` names the key that is wrong."""
    given = typed.items("monitor.sla", table.get("sla", []))
    return tuple(_read(f"monitor.sla[{number}]", one) for number, one in enumerate(given, start=1))


def _read(where: str, value: Any) -> Sla:
    given = typed.known(where, typed.table(where, value), KEYS)
    base = Sla()
    window_s = typed.seconds(f"{where}.window", given.get("window", base.window_s))
    if not DAY_S <= window_s <= KEPT_S:
        raise BadInput(f"{where}.window={given['window']!r}: must be from 1d to 35d, which is how long counts are kept")
    sla = Sla(
        environment=typed.text(f"{where}.environment", given.get("environment", "*")),
        deployment=typed.text(f"{where}.deployment", given.get("deployment", "*")),
        availability=_number(where, given, "availability", 1.0),
        p99_ms=_number(where, given, "p99_ms", 3.6e6),
        window_s=window_s,
        requests=typed.whole(f"{where}.requests", given.get("requests", base.requests), 1, 1_000_000_000),
        memory_mb=_number(where, given, "memory_mb", 1e9),
    )
    if sla.availability is None and sla.p99_ms is None and sla.memory_mb is None:
        raise BadInput(f"{where}: promises nothing: give availability, p99_ms or memory_mb")
    return sla


def _number(where: str, given: Mapping[str, Any], key: str, below: float) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < below:
        raise BadInput(f"{where}.{key}={value!r}: must be a number above 0 and below {below:g}")
    return float(value)
