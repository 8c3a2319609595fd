"""How a predictor serves: counters of its processes, and what they come to since an earlier look. Pure.

Targets read the counters (`service` of a target), `canary` judges them. Counters only grow while a process lives; a
process that was started anew begins at 0, and its start tells so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlflow_hydraulic.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The counters of one process that answers.

    started: when it began to count, in s since 1970; 0 where it counts nothing yet. errors: answers of 500 and above.
    buckets: answers by duration, one number for each bound and one for what took longer.
    restarts: how often what stands behind it ended and was started again. cpu_s: CPU time used, in s.
    resident_bytes: memory that it holds now.
    """

    started: float
    requests: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = ()
    restarts: int = 0
    cpu_s: float = 0.0
    resident_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One predictor at one moment: its processes by name, the upper bounds of their buckets in s, its replicas."""

    processes: Mapping[str, Process] = field(default_factory=dict)
    bounds_s: tuple[float, ...] = ()
    ready: int = 0
    wanted: int = 0

    def to_json(self) -> dict[str, object]:
        processes = {
            name: [one.started, one.requests, one.errors, list(one.buckets), one.restarts, one.cpu_s]
            for name, one in self.processes.items()
        }
        return {"bounds_s": list(self.bounds_s), "processes": processes}

    @classmethod
    def from_json(cls, value: object) -> Counters:
        """What `to_json` gave, without replicas and memory; `BadInput` where it is nothing of the kind.

        An earlier release wrote no CPU time.
        """
        try:
            if not isinstance(value, Mapping):
                raise TypeError(f"it is {type(value).__name__}")
            processes = {
                str(name): Process(
                    started=float(started),
                    requests=int(requests),
                    errors=int(errors),
                    buckets=tuple(map(int, buckets)),
                    restarts=int(restarts),
                    cpu_s=float(cpu_s[0]) if cpu_s else 0.0,
                )
                for name, (started, requests, errors, buckets, restarts, *cpu_s) in value["processes"].items()
            }
            return cls(processes=processes, bounds_s=tuple(map(float, value["bounds_s"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"these are no counters of a predictor: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a predictor did between two looks; its replicas and memory at the second; `buckets` as in `Process`."""

    requests: int = 0
    errors: int = 0
    buckets: tuple[int, ...] = ()
    bounds_s: tuple[float, ...] = ()
    restarts: int = 0
    ready: int = 0
    wanted: int = 0
    cpu_s: float = 0.0
    resident_bytes: int = 0

    @property
    def error_rate(self) -> float:
        """0 to 1; 0 where nothing was asked."""
        return self.errors / self.requests if self.requests else 0.0

    def quantile_s(self, share: float) -> float | None:
        """The duration within which `share` of the answers came, in s: linear within a bucket, as Prometheus does it.

        Infinite where that lies above the last bound; None where nothing was counted.

        >>> level = Level(requests=100, buckets=(50, 50, 0), bounds_s=(0.1, 0.2))
        >>> level.quantile_s(0.99)
        0.198
        """
        total = sum(self.buckets)
        if not total:
            return None
        rank, below, lower = share * total, 0, 0.0
        for count, bound in zip(self.buckets, self.bounds_s, strict=False):
            if count and below + count >= rank:
                return round(lower + (bound - lower) * (rank - below) / count, 9)
            below, lower = below + count, bound
        return math.inf

    def slower_than(self, limit_s: float) -> int:
        """How many answers surely took longer than `limit_s`."""
        lowers = (0.0, *self.bounds_s)
        return sum(count for count, lower in zip(self.buckets, lowers, strict=False) if lower >= limit_s)


def since(mark: Counters, now: Counters) -> Level:
    """What was counted between `mark` and `now`.

    Of a process that began anew, all that it counted; of one that is gone, nothing: nobody knows how it ended.
    """
    parts = [_grown(mark.processes.get(name), one) for name, one in now.processes.items()]
    return Level(
        requests=sum(part.requests for part in parts),
        errors=sum(part.errors for part in parts),
        buckets=_summed(part.buckets for part in parts),
        bounds_s=now.bounds_s,
        restarts=sum(part.restarts for part in parts),
        ready=now.ready,
        wanted=now.wanted,
        cpu_s=sum(part.cpu_s for part in parts),
        resident_bytes=sum(one.resident_bytes for one in now.processes.values()),
    )


def _grown(before: Process | None, now: Process) -> Process:
    if before is None:
        return now if now.started else Process(started=0.0, restarts=now.restarts)
    restarts = max(0, now.restarts - before.restarts)
    if before.started != now.started or before.requests > now.requests or len(before.buckets) > len(now.buckets):
        return Process(
            started=now.started,
            requests=now.requests,
            errors=now.errors,
            buckets=now.buckets,
            restarts=restarts,
            cpu_s=now.cpu_s,
        )
    padded = (*before.buckets, *(0,) * (len(now.buckets) - len(before.buckets)))
    return Process(
        started=now.started,
        requests=now.requests - before.requests,
        errors=max(0, now.errors - before.errors),
        buckets=tuple(max(0, after - then) for after, then in zip(now.buckets, padded, strict=True)),
        restarts=restarts,
        cpu_s=max(0.0, now.cpu_s - before.cpu_s),
    )


def _summed(many: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    total: list[int] = []
    for one in many:
        total += [0] * (len(one) - len(total))
        for place, count in enumerate(one):
            total[place] += count
    return tuple(total)
