"""The service level as findings: whether it is up, errors, latency, restarts, memory. Pure; called by the monitor.

Without a promise in [[monitor.sla]] errors are held against fixed rates, and latency against nothing.
"""

from __future__ import annotations

from scipy.special import bdtrc

from mlflow_hydraulic.monitor.findings import Colour, Finding, Subject
from mlflow_hydraulic.monitor.served import History, length
from mlflow_hydraulic.monitor.sla import HOUR_S, SURE, Budget, Sla, budgets

BLIND_S = 900.0  # a look older than this says nothing of now
RED_ERRORS, ORANGE_ERRORS = 0.05, 0.01  # of an hour's requests, where nothing was promised
FEWEST = 20  # requests in an hour, without an error, that make it green there
RED_RESTARTS = 5  # within an hour
NEAR = 0.9  # of the promised memory


def service_findings(history: History, sla: Sla, now: float) -> list[Finding]:
    """Of the deployment whether it is up, its errors and latency; of each predictor replicas, restarts and memory.

    now: s since 1970. Grey where nobody looked lately, or too little was asked to tell.
    """
    whole = history.subject
    if not now - history.at <= BLIND_S:
        ago = f"for {length(now - history.at)}" if history.at else "yet"
        return [_finding(whole, "up", "grey", f"nobody could look at it {ago}", (now - BLIND_S, now))]
    found = [_up(history, now)]
    promised = budgets(history, sla, now)
    if not any(budget.promise == "errors" for budget in promised):
        found.append(_errors(history, now))
    found += [_budget(history, sla, budget, now) for budget in promised]
    for name in sorted(history.replicas):
        found += _predictor(history, sla, name, now)
    return found


def _up(history: History, now: float) -> Finding:
    day = history.served(now - 24 * HOUR_S, now)
    up = day.up
    told = "" if up is None else f"; up {up:.3%} of the {length(day.slice.seen_s)} that were looked at in the last day"
    numbers: dict[str, float] = {} if up is None else {"effect": 1 - up, "up": up, "seen_s": day.slice.seen_s}
    since = history.at
    if not history.up:
        down = [name for name, (ready, _) in sorted(history.replicas.items()) if not ready]
        whose = f"no replica of predictor {', '.join(down)} answers" if down else "it does not answer"
        return _finding(history.subject, "up", "red", f"{whose}{told}", (since, now), **numbers)
    return _finding(history.subject, "up", "green", f"it answers{told}", (since, now), **numbers)


def _errors(history: History, now: float) -> Finding:
    level = history.served(now - HOUR_S, now).level
    bad, asked = level.errors, level.requests
    told = f"{bad:,} of {asked:,} requests of the last hour failed"
    numbers = {"effect": level.error_rate, "rows": float(asked), "count": float(bad), "threshold": ORANGE_ERRORS}
    levels: tuple[tuple[Colour, float], ...] = (("red", RED_ERRORS), ("orange", ORANGE_ERRORS))
    for colour, limit in levels:
        chance = float(bdtrc(bad - 1, asked, limit)) if asked else 1.0
        if asked and bad / asked > limit and chance <= SURE:
            cause = f"{told}: {level.error_rate:.2%}, more than {limit:.0%} (p = {chance:.2g})"
            numbers |= {"threshold": limit, "p_value": chance}
            return _finding(history.subject, "errors", colour, cause, (now - HOUR_S, now), **numbers)
    if asked < FEWEST:
        cause = f"{told}: {FEWEST} requests are needed to judge"
        return _finding(history.subject, "errors", "grey", cause, (now - HOUR_S, now), **numbers)
    cause = f"{told}: {level.error_rate:.2%}"
    return _finding(history.subject, "errors", "green", cause, (now - HOUR_S, now), **numbers)


def _budget(history: History, sla: Sla, budget: Budget, now: float) -> Finding:
    rule, worst = budget.promise, budget.worst
    bad = "failed" if rule == "errors" else f"took longer than {sla.p99_ms:g} ms"
    told = f"{budget.bad:,} of {budget.requests:,} requests of the last {length(budget.window_s)} {bad}"
    numbers = {
        "rows": float(budget.requests),
        "count": float(budget.bad),
        "threshold": worst.alarm.limit,
        "p_value": worst.p_value,
    }
    if budget.left is None:
        return _finding(history.subject, rule, "grey", "nothing was asked", (now - budget.window_s, now), **numbers)
    numbers |= {"budget_left": budget.left, "effect": worst.long or 0.0}
    if rule == "latency p99":
        p99 = history.served(now - worst.alarm.long_s, now).level.quantile_s(0.99)
        numbers |= {} if p99 is None else {"p99_ms": p99 * 1e3}
    left = f"{budget.left:.0%} of the error budget of {budget.allowed:.4%} is left"
    burns = f"over {length(worst.alarm.long_s)} it burns {worst.long or 0.0:.3g} times as fast as it may"
    if worst.fires:
        cause = f"{burns} ({worst.alarm.limit:.3g} alarm): {told}; {left}"
    elif budget.colour == "grey":
        cause = f"{told}; {budget.recent:,} requests in 3 days are too few to judge, {budget.needed:,} are needed"
    else:
        cause = f"{told}; {left}; {burns}"
    return _finding(history.subject, rule, budget.colour, cause, (now - worst.alarm.long_s, now), **numbers)


def _predictor(history: History, sla: Sla, name: str, now: float) -> list[Finding]:
    whole = history.subject
    subject = Subject(
        environment=whole.environment,
        deployment=whole.deployment,
        predictor=name,
        workspace=whole.workspace,
        model=whole.model,
    )
    ready, wanted = history.replicas[name]
    colour: Colour = "red" if not ready else "orange" if ready < wanted else "green"
    numbers = {"ready": float(ready), "wanted": float(wanted)}
    found = [_finding(subject, "up", colour, f"{ready} of {wanted} replicas answer", (history.at, now), **numbers)]
    hour = history.served(now - HOUR_S, now, name)
    restarts = hour.level.restarts
    colour = (
        "red" if restarts >= RED_RESTARTS else "orange" if restarts else "green" if hour.slice.counted_s else "grey"
    )
    cause = f"{restarts} restarts in the last hour" if hour.slice.counted_s else "it was not looked at for long enough"
    seen = {"count": float(restarts), "threshold": float(RED_RESTARTS)}
    found.append(_finding(subject, "restarts", colour, cause, (now - HOUR_S, now), **seen))
    if sla.memory_mb is not None:
        found.append(_memory(history, subject, sla.memory_mb, now))
    return found


def _memory(history: History, subject: Subject, limit_mb: float, now: float) -> Finding:
    held = history.served(now - BLIND_S, now, subject.predictor).level.resident_bytes / 1e6
    if not held:
        cause = "its processes do not tell how much memory they hold"
        return _finding(subject, "memory", "grey", cause, (now - BLIND_S, now), threshold=limit_mb)
    colour: Colour = "red" if held > limit_mb else "orange" if held > NEAR * limit_mb else "green"
    cause = f"{held:,.0f} MB of {limit_mb:,.0f} MB"
    return _finding(subject, "memory", colour, cause, (now - BLIND_S, now), effect=held, threshold=limit_mb)


def _finding(
    subject: Subject, rule: str, colour: Colour, cause: str, window: tuple[float, float], **numbers: float
) -> Finding:
    return Finding(
        subject=subject,
        level="service",
        rule=rule,
        colour=colour,
        cause=cause,
        since=min(window),
        until=max(window),
        numbers=numbers,
    )
