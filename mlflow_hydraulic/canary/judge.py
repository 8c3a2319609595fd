"""The verdict on one step of a canary: from the service level of both champions during that step alone. Pure.

Verdicts are ordered as argo-rollouts orders them (utils/analysis/helpers.go): the worst measure decides, and what
cannot be told is neither good nor a breach. Called by `canary.decide`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.service_level import Level

SLOWEST = 0.01  # the share of answers that p99 leaves out


class Verdict(IntEnum):
    """Ordered: the worst of several is their maximum."""

    GOOD = 0
    EARLY = 1  # time or requests are missing
    UNKNOWN = 2  # no data, or what is there says nothing
    BREACH = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure. `text`: what is missing, what cannot be told, or what was breached."""

    verdict: Verdict
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on a step, the measures that made it so, and the numbers in words."""

    verdict: Verdict
    why: tuple[str, ...]
    numbers: str


def judge(rules: Rules, new: Level | None, old: Level | None, held_s: float) -> Judgement:
    """What `new` and, for the ratio, `old` (the champion before) did in `held_s`; None where nobody can tell."""
    if new is None:
        text = "nobody can tell how it serves"
        return Judgement(verdict=Verdict.UNKNOWN, why=(text,), numbers="no data")
    findings = [
        _time(rules, held_s),
        _requests(rules, new),
        _replicas(new),
        _restarts(new),
        _errors(rules, new),
        _p99(rules, new),
        _ratio(rules, new, old),
    ]
    worst = max(finding.verdict for finding in findings)
    shown = Verdict.BREACH if worst is Verdict.BREACH else Verdict.EARLY
    why = tuple(finding.text for finding in findings if finding.verdict >= shown)
    return Judgement(verdict=worst, why=why, numbers=numbers(new))


def numbers(level: Level) -> str:
    """ "412 requests, error rate 0.2 %, p99 12 ms"."""
    parts = [_many(level.requests, "request")]
    if level.requests:
        parts += [f"error rate {percent(level.error_rate)}", f"p99 {_ms(level.quantile_s(1 - SLOWEST), level)}"]
    if level.restarts:
        parts.append(_many(level.restarts, "restart"))
    if level.ready < level.wanted:
        parts.append(f"{level.ready} of {level.wanted} replicas ready")
    return ", ".join(parts)


def percent(share: float) -> str:
    """`share` of 1 as a percentage with two significant digits at most: 0.002 is "0.2 %", 1/3 is "33 %"."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.2g} %"


def _time(rules: Rules, held_s: float) -> Finding:
    left = rules.hold_s - held_s
    return Finding(Verdict.EARLY, f"{math.ceil(left)} s more") if left > 0 else Finding(Verdict.GOOD)


def _requests(rules: Rules, new: Level) -> Finding:
    left = rules.min_requests - new.requests
    return Finding(Verdict.EARLY, f"{_many(left, 'request')} more") if left > 0 else Finding(Verdict.GOOD)


def _replicas(new: Level) -> Finding:
    if new.ready >= new.wanted:
        return Finding(Verdict.GOOD)
    return Finding(Verdict.UNKNOWN, f"{new.ready} of {new.wanted} of its replicas are ready")


def _restarts(new: Level) -> Finding:
    if not new.restarts:
        return Finding(Verdict.GOOD)
    times = "once" if new.restarts == 1 else f"{new.restarts} times"
    return Finding(Verdict.BREACH, f"a replica ended and was started again {times}")


def _errors(rules: Rules, new: Level) -> Finding:
    """A breach as soon as no later request can make up for the errors: nobody waits for more callers to see them."""
    if new.errors <= rules.max_error_rate * max(new.requests, rules.min_requests):
        return Finding(Verdict.GOOD)
    rate = f"{new.errors} of {new.requests} requests failed ({percent(new.error_rate)})"
    return Finding(Verdict.BREACH, f"{rate}, more than {percent(rules.max_error_rate)}")


def _p99(rules: Rules, new: Level) -> Finding:
    if rules.max_p99_ms is None:
        return Finding(Verdict.GOOD)
    return _slower(rules, new, rules.max_p99_ms / 1000, f"more than {rules.max_p99_ms:g} ms")


def _ratio(rules: Rules, new: Level, old: Level | None) -> Finding:
    if rules.max_p99_ratio is None:
        return Finding(Verdict.GOOD)
    if old is None:
        return Finding(Verdict.UNKNOWN, "nobody can tell how long the champion before it takes")
    if old.requests < rules.min_requests:
        left = _many(rules.min_requests - old.requests, "request")
        return Finding(Verdict.EARLY, f"{left} more to the champion before it")
    before = old.quantile_s(1 - SLOWEST)
    if before is None or math.isinf(before):
        return Finding(Verdict.UNKNOWN, "the champion before it is too slow to be measured by")
    limit = f"more than {rules.max_p99_ratio:g} times the {_ms(before, old)} of the champion before it"
    return _slower(rules, new, before * rules.max_p99_ratio, limit)


def _slower(rules: Rules, new: Level, limit_s: float, words: str) -> Finding:
    """Whether p99 is above a limit: told early where enough answers surely were slower, else of `min_requests`."""
    p99 = new.quantile_s(1 - SLOWEST)
    if new.slower_than(limit_s) > SLOWEST * max(new.requests, rules.min_requests):
        return Finding(Verdict.BREACH, f"p99 is {_ms(p99, new)}, {words}")
    if new.requests < rules.min_requests:
        return Finding(Verdict.GOOD)  # `_requests` waits for them
    if p99 is None:
        return Finding(Verdict.UNKNOWN, "nobody can tell how long it takes")
    return Finding(Verdict.BREACH, f"p99 is {_ms(p99, new)}, {words}") if p99 > limit_s else Finding(Verdict.GOOD)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _ms(seconds: float | None, level: Level) -> str:
    if seconds is None:
        return "not known"
    if math.isinf(seconds):
        return f"over {level.bounds_s[-1]:g} s" if level.bounds_s else "not known"
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{1000 * seconds:.0f} ms"
