"""What the pages stand on: the evidence database, the configuration, and MLflow as `plugin.site` gives it.

One `House` a process; each part is asked for inside a request only. Parts raise the errors of `errors`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.monitor.configured import Monitoring
from mlflow_hydraulic.moves import Move
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.people.visible import Readable
from mlflow_hydraulic.policy import Verdict
from mlflow_hydraulic.registry import RegisteredModel, Registry
from mlflow_hydraulic.settings import Settings
from mlflow_hydraulic.web.catalogue import Catalogue


class Accounts(Protocol):
    """MLflow's users."""

    def who(self) -> Who:
        """Who asks, in the request under way; `Who()` where the server has no log-in."""
        ...

    def names(self) -> Sequence[str]:
        """All users, sorted; none where the server has no log-in."""
        ...

    def permission(self, who: Who, model: str) -> str:
        """MLflow's own permission on a registered model: "none", "read", "edit" or "manage"."""
        ...

    def readable(self, who: Who) -> Readable:
        """Which models MLflow's own permissions let them read, in one query; for `people.visible`."""
        ...


class Files(Hashable, Protocol):
    """The files of model versions."""

    def folder(self, model: ModelVersion) -> Path:
        """Where the files of a pinned version lie, fetched where they are not here; `NotFound`, `Untrusted`."""
        ...


class Registrar(Protocol):
    """The registry of models, and moves in it, which pass gate and ledger."""

    def registry(self, names: Sequence[str] | None = None) -> Registry:
        """All registered models, or those of `names` that there are; a handful of queries."""
        ...

    def model(self, name: str) -> RegisteredModel:
        """One registered model with its versions; `NotFound` where there is none of that name."""
        ...

    def judge(self, model: RegisteredModel, moves: Sequence[Move], who: Who, reason: str) -> Verdict:
        """What the gate would say of `moves` of `model`, made now and together by `who`."""
        ...

    def carry_out(self, name: str, moves: Sequence[Move], reason: str, digest: str = "") -> None:
        """Make all of `moves` of a model, or none, as the user who asks.

        digest: of the model's intent that they were thought of for; `Conflict` where it moved meanwhile, `Refused`
        where the gate says no.
        """
        ...

    def place(self, model: str, project: str, reason: str) -> None:
        """Bring a model into `project`, or out of the one it is in for "", as the user who asks."""
        ...


@dataclass(frozen=True, kw_only=True)
class House:
    """engine: the database of registry and evidence. prefix: MLflow's static prefix, "" or "/mlflow".

    monitoring: the table [monitor]. files: None where only what lies in settings.home can be read.
    registrar, catalogue: None where there is no registry of MLflow's, as in tests.
    """

    engine: Engine
    settings: Settings
    configuration: Configuration
    accounts: Accounts
    prefix: str = ""
    workspace: str = "default"
    monitoring: Monitoring = field(default_factory=Monitoring)
    files: Files | None = None
    registrar: Registrar | None = None
    catalogue: Catalogue | None = None
