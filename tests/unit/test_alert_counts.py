"""How many alerts are open, for navigation and summaries: worst colour, acknowledged, muted, closed; few queries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.monitor.acts import Desk
from mlflow_hydraulic.monitor.alert_counts import Counts, Open, counted, model, open_alerts, place, total
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.rules import Rules
from tests.support.alerting import COOLER, finding
from tests.support.watching import World

PUMP = Subject(environment="prod", deployment="pump", model="hydraulic-pump")
NOW = utc_now()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return World(tmp_path).engine


def alerting(engine: Engine) -> list[Open]:
    with engine.connect() as connection:
        return open_alerts(connection, "default", NOW)


def test_open_alerts_are_counted_by_deployment_and_model(engine: Engine) -> None:
    assert alerting(engine) == [] and total([]) == Counts()
    found = [finding("r", 0, NOW), finding("o", 0, NOW, rule="shape"), finding("r", 0, NOW, subject=PUMP)]
    judge(engine, found, Rules(), NOW)
    desk = Desk(engine, "default", "ds1")
    desk.acknowledge("prod/cooler drift inputs", "seen", NOW)
    desk.mute_alert("prod/cooler drift shape", NOW + timedelta(hours=1), "filter change", NOW)
    alerts = alerting(engine)
    cooler = Counts(worst="red", open=2, red=1, orange=1)
    assert counted(alerts, place)["prod", "cooler"] == cooler, "acknowledged and muted: open, and not new"
    assert counted(alerts, model)["hydraulic-pump"] == Counts(worst="red", open=1, red=1, new=1)
    assert total(alerts).open == 3 and total(alerts, {"hydraulic-cooler"}) == cooler and total(alerts, ()) == Counts()
    desk.close("prod/pump drift inputs", "mended", Rules(), NOW)
    assert set(counted(alerting(engine), place)) == {("prod", "cooler")}
    judge(
        engine,
        [replace(finding("r", 1, NOW, rule="told"), cause='it says "state":"closed", {"state": "closed"}')],
        Rules(),
        NOW,
    )
    assert counted(alerting(engine), place)["prod", "cooler"].open == 3, "what a cause says closes nothing"


def test_few_queries_are_enough_however_many_there_are(engine: Engine) -> None:
    many = [Subject(environment="prod", deployment=f"d{number}", model="m") for number in range(50)]
    judge(engine, [finding("r", 0, NOW, subject=subject) for subject in (*many, COOLER)], Rules(), NOW)
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert total(alerting(engine)).red == 51 and len(said) == 3
    assert total(alerting(engine)).red == 51 and len(said) == 5, (
        "nothing was written meanwhile: head and mutes are enough"
    )
    judge(engine, [finding("r", 1, NOW, rule="new")], Rules(), NOW)
    assert total(alerting(engine)).red == 52
