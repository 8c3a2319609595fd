"""Model versions and runs written straight into MLflow's tables, and a house whose catalogue reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, insert, update

from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.plugin.catalogue import MlflowCatalogue
from mlflow_hydraulic.plugin.catalogue_rows import ALIASES, LATEST, MODEL_TAGS, RUNS, VERSION_TAGS, VERSIONS
from mlflow_hydraulic.plugin.catalogue_run import DATASETS, INPUT_TAGS, INPUTS, METRICS, PARAMS
from mlflow_hydraulic.plugin.catalogue_run import TAGS as RUN_TAGS
from mlflow_hydraulic.plugin.registrar import ServersRegistrar
from tests.support.house import TestHouse, add_model, make_house

DAY_MS = 86_400_000


def make_registry(folder: Path, *, who: Who | None = None, like: TestHouse | None = None) -> TestHouse:
    """A house with catalogue and registrar over its database, and no server: what MLflow's stores change, it cannot.

    like: a house with whose content this one begins.
    """
    house = make_house(folder, who=who, like=like.engine if like else None)
    catalogue = MlflowCatalogue(engine=house.engine, tracking=lambda: house.engine, store=lambda: None)
    reads: Any = SimpleNamespace(store=SimpleNamespace(engine=house.engine))
    registrar = ServersRegistrar(configuration=house.configuration, client=lambda: reads)
    return replace(house, catalogue=catalogue, registrar=registrar)


def add_version(
    engine: Engine,
    model: str,
    number: int = 1,
    *,
    project: str = "",
    stage: str = "None",
    tags: Mapping[str, str] | None = None,
    aliases: Sequence[str] = (),
    run: str = "",
    source: str = "s3://models/m",
    day: int = 20_000,
) -> None:
    """A version; its model is made with its first. day: when it was made, since 1970."""
    if number == 1:
        add_model(engine, model, project)
    place = {"workspace": "default", "name": model}
    values = {"current_stage": stage, "creation_time": day * DAY_MS, "source": source, "status": "READY"}
    with engine.begin() as connection:
        connection.execute(insert(VERSIONS).values(**place, version=number, run_id=run or None, **values))
        for key, value in (tags or {}).items():
            connection.execute(insert(VERSION_TAGS).values(**place, version=number, key=key, value=value))
        for alias in aliases:
            connection.execute(insert(ALIASES).values(**place, version=number, alias=alias))


def add_run(
    engine: Engine,
    run: str,
    metrics: Mapping[str, float] | None = None,
    *,
    user: str = "ds1",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    place: str = "",
    deleted: bool = False,
) -> None:
    """A run of 90 seconds. metrics: NaN and infinities as MLflow stores them. place: where its artifacts lie."""
    times = {"start_time": DAY_MS, "end_time": DAY_MS + 90_000, "status": "FINISHED", "artifact_uri": place}
    stage = "deleted" if deleted else "active"
    with engine.begin() as connection:
        connection.execute(
            insert(RUNS).values(run_uuid=run, name=run, user_id=user, lifecycle_stage=stage, experiment_id=0, **times)
        )
        for key, value in (metrics or {}).items():
            connection.execute(insert(LATEST).values(run_uuid=run, key=key, timestamp=DAY_MS, step=0, **stored(value)))
        for table, pairs in ((PARAMS, params), (RUN_TAGS, tags)):
            for key, text in (pairs or {}).items():
                connection.execute(insert(table).values(run_uuid=run, key=key, value=text))


def add_history(engine: Engine, run: str, key: str, values: Sequence[float]) -> None:
    """Values of a metric, one a step."""
    rows: list[dict[str, Any]] = [
        {"run_uuid": run, "key": key, "timestamp": DAY_MS + step, "step": step, **stored(value)}
        for step, value in enumerate(values)
    ]
    with engine.begin() as connection:
        connection.execute(insert(METRICS), rows)


def add_dataset(engine: Engine, runs: Sequence[str], name: str, digest: str) -> None:
    """Data that all of `runs` were given, as training data."""
    made = uuid4().hex
    said = {"experiment_id": 0, "dataset_source_type": "code", "dataset_source": '{"url": "https://example.com"}'}
    with engine.begin() as connection:
        connection.execute(insert(DATASETS).values(dataset_uuid=made, name=name, digest=digest, **said))
        for run in runs:
            place = {"source_type": "DATASET", "source_id": made, "destination_type": "RUN", "destination_id": run}
            given = uuid4().hex
            connection.execute(insert(INPUTS).values(input_uuid=given, **place))
            tag = {"input_uuid": given, "name": "mlflow.data.context", "value": "training"}
            connection.execute(insert(INPUT_TAGS).values(**tag))


def stored(value: float) -> dict[str, object]:
    """A metric's value in MLflow's columns."""
    if math.isnan(value):
        return {"value": 0.0, "is_nan": True}
    return {"value": math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value, "is_nan": False}


def set_score(engine: Engine, model: str, metric: str) -> None:
    """Say which metric a model is judged by."""
    with engine.begin() as connection:
        tag = {"workspace": "default", "name": model, "key": "hydraulic.score", "value": metric}
        connection.execute(insert(MODEL_TAGS).values(**tag))


def set_stage(engine: Engine, model: str, number: int, stage: str) -> None:
    """Move a version past the gate."""
    with engine.begin() as connection:
        here = (VERSIONS.c.name == model) & (VERSIONS.c.version == number)
        connection.execute(update(VERSIONS).where(here).values(current_stage=stage))
