"""What earlier looks left of one subject on one level, and how greys are told. Pure; used by `inspection` and `watch`.

A grey that says "could not look" is marked, so that the next look that can judges anew, with or without new rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_hydraulic.monitor.findings import Finding, Level, Subject
from mlflow_hydraulic.monitor.looks import Seen

DEFAULT_RULE: Mapping[Level, str] = {
    "service": "seen",
    "drift": "rows",
    "accuracy": "accuracy",
    "anomaly": "odd rows",
}
MARK = "unjudged"  # among a finding's numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """newest: the newest finding of each rule. tested: when the newest window ended that could be judged; 0: none."""

    newest: tuple[Finding, ...] = ()
    tested: float = 0.0

    @property
    def until(self) -> float:
        """The end of the newest window, judged or not."""
        return max((one.until for one in self.newest), default=0.0)

    @property
    def unjudged(self) -> bool:
        """Whether the last look could not judge."""
        return any(MARK in one.numbers and one.until >= self.until for one in self.newest)

    def elapsed_s(self, until: float, longest_s: float, first_s: float) -> float:
        """What a look at a window that ends at `until` may spend of the budget: the time since the one before.

        At most `longest_s`: after a long silence people want no wild guess. A window that was judged before gets
        `first_s`, the least: its statistic is the same, so it makes no false alarm that the first look did not.
        """
        return min(until - self.tested, longest_s) if 0 < self.tested < until else first_s


def pasts(seen: Iterable[Seen], tested: Mapping[tuple[Subject, Level], float]) -> dict[tuple[Subject, Level], Past]:
    """By subject, without its model, and level."""
    newest: dict[tuple[Subject, Level], list[Finding]] = {}
    for one in seen:
        subject = replace(one.finding.subject, model="")
        newest.setdefault((subject, one.finding.level), []).append(one.finding)
    return {key: Past(newest=tuple(found), tested=tested.get(key, 0.0)) for key, found in newest.items()}


def unjudged(subject: Subject, level: Level, cause: str, past: Past, now: float) -> list[Finding]:
    """Grey on every rule that was looked at before: nobody can judge now, and why."""
    rules = [one.rule for one in past.newest] or [DEFAULT_RULE[level]]
    until = max(now, past.until)
    return [
        Finding(
            subject=subject,
            level=level,
            rule=rule,
            colour="grey",
            cause=cause,
            since=until,
            until=until,
            numbers={MARK: 1.0},
        )
        for rule in rules
    ]


def completed(found: Sequence[Finding], past: Past) -> list[Finding]:
    """With what becomes of rules that were looked at before and are not among `found`."""
    first = found[0]
    judged = [one for one in found if one.colour != "grey"]
    rules = {one.rule for one in found}
    whole = list(found)
    for rule in sorted({one.rule for one in past.newest} - rules):
        base = replace(judged[0] if judged else first, rule=rule, numbers={}, features=(), plot="")
        if judged and rule == DEFAULT_RULE[first.level]:
            whole.append(replace(base, colour="green", cause=_nothing_deviates(judged)))
        else:
            cause = f"{rule} is not looked at any more" if judged else first.cause
            whole.append(replace(base, colour="grey", cause=cause))
    return whole


def _nothing_deviates(judged: Sequence[Finding]) -> str:
    """Of the level's own line, which stands for "is there enough to judge by": what the others said, in short."""
    worse = [one.rule for one in judged if one.colour != "green"]
    rows = max((int(one.numbers.get("rows", 0)) for one in judged), default=0)
    told = f"{', '.join(worse)} of {len(judged)} checks deviate" if worse else f"none of {len(judged)} checks deviates"
    return f"{told}; {rows} rows were judged"
