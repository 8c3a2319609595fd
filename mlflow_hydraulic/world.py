"""The world as a pass of the controller has it: registry, targets, database; and what a pass leaves behind, as values.

Made by `cli.world`; used by `reconcile`, `job` and `controller`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.plan import Action, Plan, Running
from mlflow_hydraulic.registry import Registry, Version


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

    def apply(self, deployment: Deployment) -> None:
        """Create or update in place, and come back when it is healthy; raise with the cause when it is not."""
        ...

    def delete(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one action: "done", "failed", or "later" (it failed before and its time has not come).

    due: when it is tried again; None when it waits for a change.
    """

    action: Action
    result: str
    cause: str = ""
    due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """All that a plan is made from. `targets` by environment name."""

    registry: RegistryReader
    environments: tuple[Environment, ...]
    targets: Mapping[str, Target]


@dataclass(frozen=True, kw_only=True)
class World(Sources):
    """All that a pass reads and writes.

    fence: called before each action and before each record; raises where this process may not act any more.
    stopping: whether to begin no further action. workspace: the one of MLflow's that `registry` reads.
    """

    database: Engine
    clock: Callable[[], datetime] = utc_now
    fence: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
    workspace: str = "default"
    crew: Crew[list[Outcome]] = field(default_factory=Crew)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen to run; `blind` gives the error of each environment whose target does not answer."""

    running: tuple[Running, ...]
    blind: Mapping[str, HydraulicError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass planned, did and saw."""

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    sight: Sight = field(default_factory=lambda: Sight(running=()))

    @property
    def progressed(self) -> bool:
        """Whether something was done, so that another pass may find more to do."""
        return any(outcome.result == "done" for outcome in self.outcomes)

    @property
    def due(self) -> datetime | None:
        """When the first of the actions that failed may be tried again."""
        return min((outcome.due for outcome in self.outcomes if outcome.due), default=None)

    @property
    def moving(self) -> bool:
        """Whether something is on its way to another state, so that it is worth another look soon."""
        on_its_way = ("preparing", "launching", "terminating")
        return any(one.managed and one.state in on_its_way for one in self.sight.running)
