"""One run from MLflow's tracking tables: what was logged, histories of metrics, datasets. Called by `catalogue`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlExperiment,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlLoggedModel,
    SqlLoggedModelParam,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from sqlalchemy import Connection, and_, func, select

from mlflow_hydraulic.plugin.catalogue_rows import iso, number
from mlflow_hydraulic.web.catalogue import Dataset, History, Metric, Point, Run, Tag

RUNS: Any = SqlRun.__table__  # Any: MLflow's tables are untyped
EXPERIMENTS: Any = SqlExperiment.__table__
PARAMS: Any = SqlParam.__table__
TAGS: Any = SqlTag.__table__
LATEST: Any = SqlLatestMetric.__table__
METRICS: Any = SqlMetric.__table__
DATASETS: Any = SqlDataset.__table__
INPUTS: Any = SqlInput.__table__
INPUT_TAGS: Any = SqlInputTag.__table__
LOGGED: Any = SqlLoggedModel.__table__
LOGGED_PARAMS: Any = SqlLoggedModelParam.__table__
CONTEXT = "mlflow.data.context"
MOST_HISTORIES, MOST_POINTS, MOST_RUNS = 12, 1000, 500


def read_run(connection: Connection, run_id: str) -> Run | None:
    """The run with all that was logged; None where there is none of that id."""
    query = select(RUNS, EXPERIMENTS.c.name.label("experiment")).select_from(
        RUNS.outerjoin(EXPERIMENTS, EXPERIMENTS.c.experiment_id == RUNS.c.experiment_id)
    )
    row = connection.execute(query.where(RUNS.c.run_uuid == run_id)).first()
    if row is None:
        return None
    ended, started = row.end_time, row.start_time
    return Run(
        id=run_id,
        name=row.name or "",
        experiment_id=str(row.experiment_id),
        experiment=row.experiment or "",
        status=row.status or "",
        deleted=row.lifecycle_stage != "active",
        user=row.user_id or "",
        started=iso(started),
        ended=iso(ended),
        duration_s=max(0.0, (ended - started) / 1000) if ended and started else None,
        params=_pairs(connection, PARAMS, run_id),
        tags=_pairs(connection, TAGS, run_id),
        metrics=_metrics(connection, run_id),
        datasets=_datasets(connection, run_id),
    )


def _pairs(connection: Connection, table: Any, run_id: str) -> list[Tag]:
    query = select(table.c.key, table.c.value).where(table.c.run_uuid == run_id).order_by(table.c.key)
    return [Tag(key=key, value=value or "") for key, value in connection.execute(query)]


def _metrics(connection: Connection, run_id: str) -> list[Metric]:
    query = select(LATEST).where(LATEST.c.run_uuid == run_id).order_by(LATEST.c.key)
    return [
        Metric(key=row.key, value=number(row.value, row.is_nan), step=row.step, at=iso(row.timestamp))
        for row in connection.execute(query)
    ]


def _datasets(connection: Connection, run_id: str) -> list[Dataset]:
    context = and_(INPUT_TAGS.c.input_uuid == INPUTS.c.input_uuid, INPUT_TAGS.c.name == CONTEXT)
    given = and_(
        INPUTS.c.source_type == "DATASET",
        INPUTS.c.destination_type == "RUN",
        INPUTS.c.source_id == DATASETS.c.dataset_uuid,
    )
    query = (
        select(DATASETS, INPUT_TAGS.c.value.label("context"))
        .select_from(DATASETS.join(INPUTS, given).outerjoin(INPUT_TAGS, context))
        .where(INPUTS.c.destination_id == run_id)
        .order_by(DATASETS.c.name, DATASETS.c.digest)
    )
    return [
        Dataset(
            name=row.name,
            digest=row.digest,
            context=row.context or "",
            source=row.dataset_source or "",
            schema=row.dataset_schema or "",
            profile=row.dataset_profile or "",
        )
        for row in connection.execute(query)
    ]


def same_data(connection: Connection, run_id: str) -> dict[str, str]:
    """Other runs that were given data of the same name and digest as this one, each with that name; some hundreds."""
    mine, theirs, their_data = INPUTS.alias("mine"), INPUTS.alias("theirs"), DATASETS.alias("their_data")
    data = (DATASETS.c.name == their_data.c.name) & (DATASETS.c.digest == their_data.c.digest)
    query = (
        select(theirs.c.destination_id, DATASETS.c.name)
        .select_from(
            mine.join(DATASETS, DATASETS.c.dataset_uuid == mine.c.source_id)
            .join(their_data, data)
            .join(theirs, theirs.c.source_id == their_data.c.dataset_uuid)
        )
        .where(
            mine.c.source_type == "DATASET",
            mine.c.destination_type == "RUN",
            mine.c.destination_id == run_id,
            theirs.c.source_type == "DATASET",
            theirs.c.destination_type == "RUN",
            theirs.c.destination_id != run_id,
        )
        .limit(MOST_RUNS)
    )
    return {row.destination_id: row.name for row in connection.execute(query)}


def read_histories(connection: Connection, run_id: str, key: str = "") -> list[History]:
    """Of the metric `key`, or of the first dozen that have more than one value."""
    mine = METRICS.c.run_uuid == run_id
    counts = select(METRICS.c.key, func.count().label("values")).where(mine).group_by(METRICS.c.key)
    counts = counts.where(METRICS.c.key == key) if key else counts.having(func.count() > 1).limit(MOST_HISTORIES)
    return [
        _history(connection, run_id, name, count) for name, count in connection.execute(counts.order_by(METRICS.c.key))
    ]


def _history(connection: Connection, run_id: str, key: str, count: int) -> History:
    query = (
        select(METRICS.c.step, METRICS.c.timestamp, METRICS.c.value, METRICS.c.is_nan)
        .where(METRICS.c.run_uuid == run_id, METRICS.c.key == key)
        .order_by(METRICS.c.step, METRICS.c.timestamp)
        .limit(MOST_POINTS)
    )
    points = [
        Point(step=row.step, at=iso(row.timestamp), value=number(row.value, row.is_nan))
        for row in connection.execute(query)
    ]
    return History(key=key, points=points, left_out=max(0, count - len(points)))


def logged_params(connection: Connection, model_id: str) -> Sequence[Tag]:
    """The parameters of a logged model."""
    query = select(LOGGED_PARAMS.c.param_key, LOGGED_PARAMS.c.param_value).where(LOGGED_PARAMS.c.model_id == model_id)
    return [Tag(key=key, value=value) for key, value in connection.execute(query.order_by(LOGGED_PARAMS.c.param_key))]


def logged_place(connection: Connection, model_id: str) -> str:
    """Where a logged model's files lie; "" where there is no such model."""
    query = select(LOGGED.c.artifact_location).where(LOGGED.c.model_id == model_id)
    return str(connection.execute(query).scalar() or "")


def run_place(connection: Connection, run_id: str) -> str:
    """Where a run's artifacts lie; "" where there is no such run."""
    return str(connection.execute(select(RUNS.c.artifact_uri).where(RUNS.c.run_uuid == run_id)).scalar() or "")
