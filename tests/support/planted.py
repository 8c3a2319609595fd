"""What the pages show, put into a server's database at once: projects, deployments in several states, alerts, words.

Of the project `rig`, ds1 is owner and ds2 reader; `hidden` is the admin's alone, and each of its words holds SECRET.
The models themselves come from `tests.browser.plant.make_registry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import msgspec
from sqlalchemy import Connection, Engine, insert

from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.evidence import comments
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.sight import Note, Part, Said
from mlflow_hydraulic.evidence.tables import sight, sight_looks
from mlflow_hydraulic.monitor.alert import Alert, Key, event
from mlflow_hydraulic.monitor.findings import Colour, Subject
from mlflow_hydraulic.people.members import MODEL_TAGS, PROJECT_TAG
from mlflow_hydraulic.people.projects import Office
from mlflow_hydraulic.people.rights import Role

PROJECT, MODEL = "rig", "cooler"
HIDDEN_PROJECT, HIDDEN_MODEL = "hidden", "valve"
SECRET = "zebra"
PLACE = ("dev", deployment_name(MODEL))
HIDDEN_PLACE = ("dev", deployment_name(HIDDEN_MODEL))


def plant(engine: Engine) -> list[str]:
    """Put it all there; gives the ids of its alerts, that of the hidden project last."""
    now = datetime.now(timezone.utc)
    office = Office(engine=engine, workspace="default", by="ds1", now=now - timedelta(days=2), reason="a new rig")
    office.create(PROJECT, "The cooling condition of the hydraulic test rig", owner="ds1")
    office.share(PROJECT, "ds2", Role.READER)
    hidden = Office(engine=engine, workspace="default", by="admin", now=now, reason=SECRET)
    hidden.create(HIDDEN_PROJECT, SECRET, owner="admin")
    with engine.begin() as connection:
        for model, project in ((MODEL, PROJECT), (HIDDEN_MODEL, HIDDEN_PROJECT)):
            tag = {"workspace": "default", "name": model, "key": PROJECT_TAG, "value": project}
            connection.execute(insert(MODEL_TAGS).values(**tag))
        _deployments(connection, now)
        append(connection, _events(), now)
        for model, text in ((MODEL, "Looks right on the unseen runs.\n<b>Ready for DEV?</b>"), (HIDDEN_MODEL, SECRET)):
            comments.comment(connection, "default", model, 1, actor="ds1", text=text, now=now)
        alerts = list(_alerts(now))
        append(connection, [event(alert, None) for alert in alerts], now)
    return [alert.id for alert in alerts]


def _deployments(connection: Connection, now: datetime) -> None:
    log = ("INFO scorer starts", "ValueError: the bundle's digest is not the pinned one", "INFO scorer ended")
    two = Said(predictors=(_part("1", "champion"), _part("2", "challenger")), target="seldon-local", namespace="dev")
    note = Note(kind="failed", text="it failed twice", wanted="v2", due=stamp(now + timedelta(minutes=3)))
    failed = Said(predictors=(_part("2", "champion", ready=0),), target="seldon-local", log=log, note=note)
    other = Said(predictors=(_part("1", "champion"),), target="seldon-local", log=(SECRET,))
    rows = [
        ("dev", MODEL, "healthy", two, ""),
        ("prod", MODEL, "failed", failed, "the scorer ended with exit code 1"),
        ("dev", HIDDEN_MODEL, "launching", other, SECRET),
    ]
    for environment, model, state, said, cause in rows:
        seen = {
            "workspace": "default",
            "environment": environment,
            "deployment": deployment_name(model),
            "model": model,
            "managed": 1,
            "state": state,
            "since": stamp(now - timedelta(minutes=7)),
            "endpoint": f"http://127.0.0.1:9000/seldon/{environment}/{deployment_name(model)}/",
            "cause": cause,
            "said": msgspec.json.encode(said).decode(),
        }
        connection.execute(insert(sight).values(**seen))
    for environment, blind in (("dev", ""), ("prod", "")):
        look = {"workspace": "default", "environment": environment, "at": stamp(now), "blind": blind}
        connection.execute(insert(sight_looks).values(**look))


def _part(version: str, role: str, ready: int = 1) -> Part:
    return Part(role=role, name=f"v{version}", model=MODEL, version=version, digest="0" * 64, replicas=1, ready=ready)


def _events() -> Iterator[Event]:
    for model, reason in ((MODEL, "beats the threshold on unseen runs"), (HIDDEN_MODEL, SECRET)):
        subject = f"models:/{model}/1"
        yield Event(
            verb="stage", subject=subject, actor="ds1", model=model, before="None", after="Staging", reason=reason
        )
        ran = {"version": "1", "digest": "0" * 64, "uri": subject, "name": "v1", "traffic": 100, "replicas": 1}
        yield Event(
            verb="runs",
            subject=f"dev/{deployment_name(model)}",
            actor="hydraulic-controller",
            model=model,
            environment="dev",
            after={"model": model, "predictors": [ran], "shadow": None},
            reason=reason,
        )


def _alerts(now: datetime) -> Iterator[Alert]:
    said: list[tuple[str, str, Colour, str]] = [
        (MODEL, "inputs", "red", "ps1 moved up by half of its spread"),
        (MODEL, "outputs", "orange", "condition 20 is predicted twice as often"),
        (HIDDEN_MODEL, "inputs", "red", SECRET),
    ]
    for model, rule, colour, cause in said:
        subject = Subject(environment="prod", deployment=deployment_name(model), model=model)
        at = stamp(now - timedelta(hours=3))
        key = Key(subject=subject, level="drift", rule=rule)
        yield Alert(
            key=key, state="open", what="opened", colour=colour, worst=colour, opened=at, incident=at, cause=cause
        )
