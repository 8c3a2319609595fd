"""Decisions of the local target, as pure functions: which scorers to start, keep and stop, when, and how it all is.

Called by the supervisor and its scorers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor, State

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 30.0
CRASH_LOOP = 4  # crashes in a row that make a deployment "failed" rather than "unhealthy"
STEADY_S = 60.0  # a scorer that lived so long has left its crashes behind


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two scorers interchangeable; traffic, replicas and the predictor's name do not count."""

    name: str
    version: str
    digest: str
    engine: str = "auto"

    @classmethod
    def of(cls, model: ModelVersion, engine: str = "auto") -> Identity:
        return cls(model.name, model.version, model.digest, engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a change needs: `assigned` is the predictor of each scorer that stays, `start` that of each new one."""

    assigned: Mapping[str, str]
    start: tuple[Predictor, ...]
    stop: tuple[str, ...]

    def __str__(self) -> str:
        kept = ", ".join(f"{scorer} for {predictor}" for scorer, predictor in self.assigned.items())
        new = ", ".join(f"{p.name} (version {p.model.version})" for p in self.start)
        return f"keep [{kept}], start [{new}], stop [{', '.join(self.stop)}]"


def plan_scorers(desired: Deployment, running: Mapping[str, tuple[str, Identity]], engine: str = "auto") -> Plan:
    """The least change from `running` (scorer id: predictor and identity) to `desired`, scored by `engine`.

    A scorer of the right model is kept, preferably for the predictor that it serves already.
    """
    free = dict(running)
    assigned: dict[str, str] = {}
    short: list[Predictor] = []
    for predictor in desired.all:
        fits = [
            s
            for s, (name, identity) in free.items()
            if (name, identity) == (predictor.name, Identity.of(predictor.model, engine))
        ]
        for scorer in fits[: predictor.replicas]:
            assigned[scorer] = predictor.name
            del free[scorer]
        short += [predictor] * (predictor.replicas - len(fits[: predictor.replicas]))
    start: list[Predictor] = []
    for predictor in short:
        same = next((s for s, (_, identity) in free.items() if identity == Identity.of(predictor.model, engine)), None)
        if same is None:
            start.append(predictor)
        else:
            assigned[same] = predictor.name
            del free[same]
    return Plan(assigned=assigned, start=tuple(start), stop=tuple(free))


def restart_delay_s(crashes: int, jitter: float) -> float:
    """How long to wait before a scorer that crashed `crashes` times in a row is started again.

    Doubles from 0.2 s to 30 s, then up to a quarter more by `jitter` (0 to 1), so that replicas do not start in step.

    >>> [restart_delay_s(n, 0.0) for n in (1, 2, 3, 9, 99)]
    [0.2, 0.4, 0.8, 30.0, 30.0]
    """
    delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(crashes - 1, 10))
    return float(delay * (1 + jitter / 4))


def crashes_in_a_row(before: int, lived_s: float) -> int:
    """The count after one more crash of a scorer that lived for `lived_s`."""
    return 1 if lived_s >= STEADY_S else before + 1


def judge(wanted: Mapping[str, int], ready: Mapping[str, int], crashes: Iterable[int]) -> tuple[State, str]:
    """State and cause of a deployment with `wanted` and `ready` replicas by predictor, `crashes` in a row by scorer.

    >>> judge({"default": 2}, {"default": 1}, [0, 1])
    ('unhealthy', 'default: 1 of 2 replicas answer')
    """
    short = [
        f"{name}: {ready.get(name, 0)} of {n} replicas answer" for name, n in wanted.items() if ready.get(name, 0) < n
    ]
    if not short:
        return "healthy", ""
    worst = max(crashes, default=0)
    if worst >= CRASH_LOOP:
        return "failed", f"{'; '.join(short)}; a scorer crashed {worst} times in a row and is started again every 30 s"
    return "unhealthy", "; ".join(short)
