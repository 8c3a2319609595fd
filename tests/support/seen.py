"""Deployments as the controller would have seen them, written into a house; a saved model among its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.evidence import sight
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.sight import Part, Said, Seen
from mlflow_hydraulic.web.house import House
from tests.scorers import forest

LOCAL = "seldon-local"


def part(
    version: int = 1, *, role: str = "champion", traffic: int = 100, model: str = "cooler", **more: object
) -> Part:
    named = {"role": role, "name": f"v{version}", "model": model, "version": str(version), "traffic": traffic}
    return Part(**{"digest": f"{version}" * 64, "ready": 1, **named, **more})  # type: ignore[arg-type]


def deployment(
    name: str = "cooler",
    *parts: Part,
    environment: str = "dev",
    model: str = "",
    state: str = "healthy",
    managed: bool = True,
    endpoint: str = "http://127.0.0.1:9/seldon/dev/cooler",
    cause: str = "",
    **said: object,
) -> Seen:
    model = model or name
    shown = Said(
        **{"predictors": parts or (part(model=model),), "target": LOCAL, "namespace": environment, **said}  # type: ignore[arg-type]
    )
    return Seen(
        environment=environment,
        deployment=name,
        model=model,
        managed=managed,
        state=state,
        endpoint=endpoint,
        cause=cause,
        said=shown,
    )


def show(house: House, *seen: Seen, at: datetime | None = None, blind: dict[str, str] | None = None) -> None:
    """What a controller's look writes: all of `seen`, and nothing else."""
    names = [one.name for one in house.configuration.environments]
    looked = {name: (blind or {}).get(name, "") for name in names}
    now = at or utc_now()
    with house.engine.begin() as connection:
        found = sight.changes(connection, "default", seen, looked=looked, configured=names, now=now)
        sight.write(connection, "default", found, now)


def say(house: House, *events: Event) -> None:
    """Rows of the ledger."""
    with house.engine.begin() as connection:
        append(connection, events)


def ran(name: str, *versions: int, environment: str = "dev", reason: str = "stage:Staging") -> Event:
    """The controller's row that `versions` run, in equal shares; nothing where there are none."""
    parts = [
        {"version": str(n), "digest": "d" * 64, "uri": "", "traffic": 100 // len(versions), "replicas": 1}
        for n in versions
    ]
    return Event(
        verb="runs",
        subject=f"{environment}/{name}",
        actor="hydraulic-controller",
        model=name,
        environment=environment,
        after={"model": name, "predictors": parts, "shadow": None} if versions else None,
        reason=reason,
    )


def moved(
    model: str, version: int, stage: str, actor: str, reason: str = "", environments: Sequence[str] = ()
) -> Event:
    """A person's word."""
    return Event(
        verb="stage",
        subject=f"models:/{model}/{version}",
        actor=actor,
        model=model,
        environment=",".join(environments or ("dev",)),
        before="None",
        after=stage,
        reason=reason,
    )


def saved_model(house: House) -> str:
    """A forest's bundle as a fetched model; gives its digest."""
    scratch = house.settings.home / "scratch"
    _write_model(scratch)
    digest = digest_folder(scratch)
    (house.settings.home / "models").mkdir(parents=True, exist_ok=True)
    scratch.rename(house.settings.home / "models" / digest)
    return digest


def _write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    model = forest()
    known = make_reference(model.background.to_numpy(dtype=np.float64), model.schema.names)
    build_bundle(replace(model, reference=known), folder / "bundle")
