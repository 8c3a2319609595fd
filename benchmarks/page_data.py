"""Invented models, runs, projects, deployments and ledger rows, put into a server's tables at once for `pages`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from random import Random
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert

from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.recorded import stage_subject
from mlflow_hydraulic.evidence.sight import Part, Said
from mlflow_hydraulic.evidence.tables import members, projects, sight, sight_looks
from mlflow_hydraulic.monitor.alert import Alert, Key, event
from mlflow_hydraulic.monitor.findings import Colour, Subject

MODELS, DEPLOYMENTS, PROJECTS = 1000, 200, 40
PEOPLE = ("ds1", "ds2", "ana", "bo")
STAGES = ("None", "Staging", "Production", "Archived")
METRICS = 12
HOUR_MS = 3_600_000
Json = dict[str, Any]  # Any: columns of MLflow's tables


def fill(engine: Engine, seed: int = 0) -> int:
    """The number of versions planted: one to three a model."""
    random = Random(seed)  # noqa: S311 - no secret
    versions = [(f"model-{number:04}", n) for number in range(MODELS) for n in range(1, random.randint(1, 3) + 1)]
    with engine.begin() as connection:
        _models(connection, versions, random)
        _runs(connection, versions, random)
        _projects(connection)
        _deployments(connection, versions)
        append(connection, list(_events(versions, random)))
    return len(versions)


def _models(connection: Connection, versions: list[tuple[str, int]], random: Random) -> None:
    from mlflow.store.model_registry.dbmodels.models import (
        SqlModelVersion,
        SqlModelVersionTag,
        SqlRegisteredModel,
        SqlRegisteredModelAlias,
        SqlRegisteredModelTag,
    )

    now = int(time.time() * 1000)
    place = {"workspace": "default"}
    names = sorted({name for name, _ in versions})
    times = {"creation_time": now, "last_updated_time": now, "description": "as a person writes"}
    connection.execute(insert(SqlRegisteredModel), [{**place, "name": name, **times} for name in names])
    said = [
        (name, {"hydraulic.project": f"project-{i % PROJECTS:02}", "team": f"team-{i % 7}"})
        for i, name in enumerate(names)
    ]
    connection.execute(
        insert(SqlRegisteredModelTag),
        [{**place, "name": name, "key": key, "value": value} for name, tags in said for key, value in tags.items()],
    )
    rows = [
        {
            **place,
            "name": name,
            "version": n,
            "current_stage": random.choice(STAGES),
            "source": f"models:/m-{place_of(name, n)}",
            "run_id": run_id(name, n),
            "status": "READY",
            **times,
            "creation_time": now - random.randrange(10_000) * HOUR_MS,
        }
        for name, n in versions
    ]
    connection.execute(insert(SqlModelVersion), rows)
    of_version = [("hydraulic.origin", "simulated"), ("reviewed", "yes"), ("ticket", "RIG-123")]
    connection.execute(
        insert(SqlModelVersionTag),
        [
            {**place, "name": name, "version": n, "key": key, "value": value}
            for name, n in versions
            for key, value in of_version
        ],
    )
    connection.execute(
        insert(SqlRegisteredModelAlias),
        [{**place, "name": name, "alias": "champion", "version": 1} for name in names[::2]],
    )


def _runs(connection: Connection, versions: list[tuple[str, int]], random: Random) -> None:
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun

    now = int(time.time() * 1000)
    runs = [
        {
            "run_uuid": run_id(name, n),
            "name": f"{name} {n}",
            "user_id": random.choice(PEOPLE),
            "status": "FINISHED",
            "start_time": now - HOUR_MS,
            "end_time": now,
            "lifecycle_stage": "active",
            "artifact_uri": "mlflow-artifacts:/0/none",
            "experiment_id": 0,
        }
        for name, n in versions
    ]
    connection.execute(insert(SqlRun), runs)
    keys = ["unseen_runs/accuracy", *(f"metric-{number}" for number in range(METRICS - 1))]
    metrics = [
        {
            "run_uuid": run["run_uuid"],
            "key": key,
            "value": random.random(),
            "timestamp": now,
            "step": 0,
            "is_nan": False,
        }
        for run in runs
        for key in keys
    ]
    connection.execute(insert(SqlLatestMetric), metrics)
    params = [{"run_uuid": run["run_uuid"], "key": f"param-{n}", "value": str(n)} for run in runs for n in range(8)]
    connection.execute(insert(SqlParam), params)


def _projects(connection: Connection) -> None:
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    rows: list[Json] = [
        {
            "id": f"{number:032x}",
            "workspace": "default",
            "name": f"project-{number:02}",
            "description": "invented",
            "created": at,
            "created_by": "ds1",
        }
        for number in range(PROJECTS)
    ]
    connection.execute(insert(projects), rows)
    share = [
        {"project": row["id"], "user": user, "role": role, "since": at, "by": "ds1"}
        for row in rows
        for user, role in zip(PEOPLE, ("owner", "reader", "operator", "validator"), strict=True)
    ]
    connection.execute(insert(members), share)


def _deployments(connection: Connection, versions: list[tuple[str, int]]) -> None:
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    first = [(name, n) for name, n in versions if n == 1]
    rows = []
    for number in range(DEPLOYMENTS):
        name, n = first[number // 2]
        environment = ("dev", "prod")[number % 2]
        part = Part(role="champion", name="p1", model=name, version=str(n), digest="0" * 64, ready=1)
        said = Said(predictors=(part,), target="seldon-local", namespace=environment, generation=1)
        rows.append(
            {
                "workspace": "default",
                "environment": environment,
                "deployment": name,
                "model": name,
                "managed": 1,
                "state": "healthy" if number % 9 else "launching",
                "since": at,
                "endpoint": f"http://127.0.0.1:9000/seldon/{environment}/{name}/",
                "cause": "",
                "said": msgspec.json.encode(said).decode(),
            }
        )
    connection.execute(insert(sight), rows)
    looks = [{"workspace": "default", "environment": env, "at": at, "blind": ""} for env in ("dev", "prod")]
    connection.execute(insert(sight_looks), looks)


def _events(versions: list[tuple[str, int]], random: Random) -> Iterator[Event]:
    """What made it so: stages, what then ran, comments, and some alerts that are open."""
    for name, n in versions:
        actor = random.choice(PEOPLE)
        subject = stage_subject(name, n)
        yield Event(verb="stage", subject=subject, actor=actor, model=name, before="None", after="Staging")
        yield Event(verb="comment", subject=subject, actor=actor, model=name, after="looks right to me")
    for number in range(DEPLOYMENTS):
        name, environment = f"model-{number // 2:04}", ("dev", "prod")[number % 2]
        ran = {
            "version": "1",
            "digest": "0" * 64,
            "uri": f"models:/{name}/1",
            "name": name,
            "traffic": 100,
            "replicas": 1,
        }
        after = {"model": name, "predictors": [ran], "shadow": None}
        yield Event(
            verb="runs",
            subject=f"{environment}/{name}",
            actor="hydraulic-controller",
            model=name,
            environment=environment,
            after=after,
            reason="stage of version 1 moved",
        )
        if number % 2:
            yield _alert(name, environment, number)


def _alert(name: str, environment: str, number: int) -> Event:
    """One that is open: every deployment in prod has one."""
    subject = Subject(environment=environment, deployment=name, model=name)
    at = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    colour: Colour = "red" if number % 4 == 1 else "orange"
    alert = Alert(
        key=Key(subject=subject, level="drift", rule="inputs"),
        state="open",
        what="opened",
        colour=colour,
        worst=colour,
        opened=at,
        incident=at,
        cause="psa_bar moved up by half of its spread",
    )
    return event(alert, None)


def run_id(name: str, number: int) -> str:
    return f"{name.rpartition('-')[2]}{number}".rjust(32, "0")


def place_of(name: str, number: int) -> str:
    return f"{name.rpartition('-')[2]}{number}".rjust(32, "a")
