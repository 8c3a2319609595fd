"""The world as a pass of the controller has it: registry, targets, database; and what a pass leaves behind, as values.

Made by `cli.world`; used by `reconcile`, `job` and `controller`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import HydraulicError, Unavailable
from mlflow_hydraulic.evidence import recorded
from mlflow_hydraulic.plan import Action, Plan, Running
from mlflow_hydraulic.registry import Registry, Version
from mlflow_hydraulic.service_level import Counters


class Fenced(Unavailable):
    """This controller may not act any more: its lease is over. No failure of any model."""


class RegistryReader(Protocol):
    """The registry, as a pass needs it."""

    def read(self) -> Registry: ...

    def pin(self, version: Version) -> ModelVersion:
        """Fetch the version's artefact and name it by digest; `NotFound` where it is missing."""
        ...

    def write_facts(self, model: str, version: int, facts: Mapping[str, str | None]) -> None:
        """Set tags on a version (None removes one)."""
        ...


class Target(Protocol):
    """Where one environment's deployments run."""

    def observe(self) -> Sequence[Running]:
        """All that runs there; raises where that cannot be told, and never takes "cannot see" for "is not there"."""
        ...

    def apply(self, deployment: Deployment, seen: Running | None) -> None:
        """Create or update in place, and come back when it is healthy; raise with the cause when it is not.

        seen: what the change was planned for; raises where something else is there now.
        """
        ...

    def delete(self, name: str, seen: Running | None) -> None:
        """End what was seen; raises where something else is there now."""
        ...

    def service(self, name: str) -> Mapping[str, Counters]:
        """The counters of each predictor of a deployment, shadow included; one of which nobody can tell is left out.

        `Unavailable` where nothing can be told.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one action: "done", "failed", or "later" (it failed before and its time has not come).

    due: when it is tried again; None when it waits for a change.
    """

    action: Action
    result: str
    cause: str = ""
    due: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An action that is planned and not done. cause: why it failed or is left for later; due: as of its `Outcome`."""

    action: Action
    cause: str = ""
    due: datetime | None = None


@dataclass(slots=True)
class Outlook:
    """What passes are about and when they looked, for whoever looks between them; `witness` keeps it.

    expected by environment and deployment. looked: `time.monotonic()` before the last look at an environment that was
    written down. moving: environments where something was on its way to another state. lock: held while one writes.
    """

    expected: Mapping[tuple[str, str], Expected] = field(default_factory=dict)
    looked: Mapping[str, float] = field(default_factory=dict)
    moving: Set[str] = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """All that a plan is made from. `targets` by environment name."""

    registry: RegistryReader
    environments: tuple[Environment, ...]
    targets: Mapping[str, Target]


@dataclass(frozen=True, kw_only=True)
class World(Sources):
    """All that a pass reads and writes.

    fence: called before each action and in each record's transaction; raises `Fenced` where this process may not act.
    stopping: whether to begin no further action. workspace: the one of MLflow's that `registry` reads.
    """

    database: Engine
    clock: Callable[[], datetime] = utc_now
    fence: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    workspace: str = "default"
    crew: Crew[list[Outcome]] = field(default_factory=Crew)
    outlook: Outlook = field(default_factory=Outlook)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer of the ledger comes between; `Fenced` where this process may not write."""
        with self.database.begin() as connection:
            recorded.hold_head(connection)
            self.fence()
            yield connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen to run; `blind` gives the error of each environment whose target does not answer.

    began: `time.monotonic()` before the targets were asked.
    """

    running: tuple[Running, ...]
    blind: Mapping[str, HydraulicError] = field(default_factory=dict)
    began: float = field(default=0.0, compare=False)

    def of(self, action: Action) -> Running | None:
        """What was seen under the name that `action` is about."""
        named = (one for one in self.running if one.deployment.name == action.name)
        return next((one for one in named if one.environment == action.environment), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass planned, did and saw.

    left: models whose changes another pass can begin at once, planned anew: this one had no place for them, or
    their intent moved meanwhile.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    sight: Sight = field(default_factory=lambda: Sight(running=()))
    left: frozenset[str] = frozenset()

    @property
    def progressed(self) -> bool:
        """Whether something was done or left, so that another pass may find more to do."""
        return bool(self.left) or any(outcome.result == "done" for outcome in self.outcomes)

    @property
    def due(self) -> datetime | None:
        """When the first of the actions that failed may be tried again."""
        return min((outcome.due for outcome in self.outcomes if outcome.due), default=None)

    @property
    def stepping(self) -> bool:
        """Whether a canary is counted, so that a breach is seen soon."""
        return any(action.kind == "wait" and action.concerns for action in self.plan.actions)

    @property
    def moving(self) -> bool:
        """Whether something is on its way to another state, so that it is worth another look soon."""
        on_its_way = ("preparing", "launching", "terminating")
        return any(one.managed and one.state in on_its_way for one in self.sight.running)
