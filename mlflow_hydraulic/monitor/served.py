"""How a deployment served, as values: slices of time and what a window of them comes to. Pure.

Stored and read by `service_history`; judged by `sla` and `levels.service`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.service_level import Level

Class = tuple[float, float]  # durations above the one and up to the other, in s


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What was counted from `start` on for `length` s; predictor "" is the whole deployment, without its shadow.

    counted_s: time over which requests were counted; where that is 0 nobody knows how many there were.
    seen_s, up_s: time for which somebody looked, and of it that in which every predictor that answers had a replica.
    durations: answers by class of duration. cpu_s: CPU time used. memory_bytes: the most that was seen.
    """

    start: float
    length: float
    counted_s: float = 0.0
    seen_s: float = 0.0
    up_s: float = 0.0
    requests: float = 0.0
    errors: float = 0.0
    durations: Mapping[Class, float] = field(default_factory=dict)
    restarts: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0

    def share(self, since: float, until: float) -> float:
        """How much of it lies in that window, 0 to 1."""
        return max(0.0, min(until, self.start + self.length) - max(since, self.start)) / self.length


def added(slices: Iterable[tuple[Slice, float]], start: float, length: float) -> Slice:
    """One slice of what each of these adds to it by its share."""
    sums = dict.fromkeys(("counted_s", "seen_s", "up_s", "requests", "errors", "restarts", "cpu_s"), 0.0)
    durations: dict[Class, float] = {}
    memory = 0
    for one, share in slices:
        for name in sums:
            sums[name] += share * getattr(one, name)
        for place, count in one.durations.items():
            durations[place] = durations.get(place, 0.0) + share * count
        memory = max(memory, one.memory_bytes)
    return Slice(start=start, length=length, durations=durations, memory_bytes=memory, **sums)


def classes(level: Level) -> dict[Class, float]:
    """A level's buckets by their classes, without the empty ones."""
    lowers, uppers = (0.0, *level.bounds_s), (*level.bounds_s, math.inf)
    return {(low, up): float(n) for low, up, n in zip(lowers, uppers, level.buckets, strict=False) if n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a window comes to. A slice that lies in it by half counts half: the numbers are estimates at its ends."""

    slice: Slice
    level: Level

    @classmethod
    def of(cls, total: Slice) -> Served:
        edges = sorted({edge for place in total.durations for edge in place} - {0.0, math.inf})
        buckets = [0] * (len(edges) + 1)
        for (_, upper), count in total.durations.items():
            buckets[edges.index(upper) if upper in edges else -1] += round(count)
        level = Level(
            requests=round(total.requests),
            errors=round(total.errors),
            buckets=tuple(buckets),
            bounds_s=tuple(edges),
            restarts=round(total.restarts),
            cpu_s=total.cpu_s,
            resident_bytes=total.memory_bytes,
        )
        return cls(slice=total, level=level)

    @property
    def requests_per_s(self) -> float | None:
        """None where nobody counted."""
        return self.slice.requests / self.slice.counted_s if self.slice.counted_s else None

    @property
    def cores(self) -> float | None:
        return self.slice.cpu_s / self.slice.counted_s if self.slice.counted_s else None

    @property
    def up(self) -> float | None:
        """The share of the time for which somebody looked; None where nobody did."""
        return self.slice.up_s / self.slice.seen_s if self.slice.seen_s else None

    def to_json(self) -> dict[str, float | None]:
        """For `--json`, reports and pages; None is "nobody knows". Latencies in s."""
        quantiles = {f"p{round(q * 100)}_s": self.level.quantile_s(q) for q in (0.5, 0.95, 0.99)}
        return {
            "up": self.up,
            "requests": self.level.requests if self.slice.counted_s else None,
            "requests_per_s": self.requests_per_s,
            **{name: None if value in (None, math.inf) else value for name, value in quantiles.items()},
            "error_rate": self.level.error_rate if self.level.requests else None,
            "cpu_cores": self.cores,
            "memory_bytes": self.level.resident_bytes or None,
            "restarts": self.level.restarts if self.slice.counted_s else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known of one deployment. at: when it was last looked at, s since 1970; 0: never.

    up: whether it was up then; None where nobody could tell. replicas: (ready, wanted) then, by predictor.
    slices: by predictor, "" for the whole.
    """

    subject: Subject
    at: float = 0.0
    up: bool | None = None
    replicas: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    slices: Mapping[str, Sequence[Slice]] = field(default_factory=dict)

    def served(self, since: float, until: float, predictor: str = "") -> Served:
        pairs = ((one, one.share(since, until)) for one in self.slices.get(predictor, ()))
        return Served.of(added(((one, share) for one, share in pairs if share), since, until - since))


def length(seconds: float) -> str:
    """A length of time for people, in its largest unit.

    >>> length(300), length(5400), length(30 * 86400)
    ('5 min', '1.5 h', '30 d')
    """
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds:.3g} s"
