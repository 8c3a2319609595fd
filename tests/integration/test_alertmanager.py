"""The Alertmanager channel against Debian's real prometheus-alertmanager, on free ports."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy
from sqlalchemy import Engine

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.monitor.acts import Desk
from mlflow_hydraulic.monitor.alertmanager import PATH
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.channels import Alertmanager, Secret
from mlflow_hydraulic.monitor.notification import trial
from mlflow_hydraulic.monitor.outbox import Delivered, Outbox
from mlflow_hydraulic.monitor.rules import Pattern, Rules
from mlflow_hydraulic.monitor.sending import send
from tests.services import free_port
from tests.support.alerting import COOLER, finding
from tests.support.local import until

RULES = Rules(notify=("am",))
CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Alertmanager; skips where it is not installed."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("Alertmanager is not installed: apt-get install prometheus-alertmanager")
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    (folder / "config.yml").write_text(CONFIG)
    url = f"http://127.0.0.1:{port}"
    options = [
        f"--config.file={folder / 'config.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([program, *options], stdout=out, stderr=out)
    try:
        until(lambda: _ready(url, process, log), "Alertmanager to be ready")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = database.open_database(f"sqlite:///{tmp_path / 'evidence.db'}")
    with made.begin() as connection:
        connection.execute(sqlalchemy.text("create table registered_models (name varchar(9) primary key)"))
    database.upgrade(made)
    yield made
    made.dispose()


def active(url: str, deployment: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Its alerts that are not over, by rule and severity."""
    query = {"filter": f'deployment="{deployment}"', "active": "true"}
    answer = requests.get(url + PATH, params=query, timeout=10)
    answer.raise_for_status()
    return {(one["labels"]["rule"], one["labels"]["severity"]): one for one in answer.json()}


def test_an_alert_stands_worsens_is_kept_alive_and_ends(manager: str, engine: Engine) -> None:
    subject = replace(COOLER, deployment="cooler-1")
    channel = Alertmanager(name="am", url=Secret(plain=manager), hold_s=300.0)
    box = Outbox(engine, {"am": channel}, RULES, holder="a")
    start = utc_now()

    def look(colour: str, seconds: float) -> Delivered:
        now = start + timedelta(seconds=seconds)
        judge(engine, [finding(colour, 0, now, subject=subject)], RULES, now)
        return box.deliver(now)

    assert look("o", 0) == Delivered(sent=1)
    found = active(manager, "cooler-1")
    assert set(found) == {("inputs", "orange")}
    one = found["inputs", "orange"]
    assert one["labels"]["alertname"] == "HydraulicDrift"
    assert "PS1 is 4.2 bar higher" in one["annotations"]["description"]
    ends = datetime.fromisoformat(one["endsAt"].replace("Z", "+00:00"))
    assert ends > start + timedelta(seconds=290)
    assert look("o", 70) == Delivered(), "nothing new, but still told that it stands"
    refreshed = active(manager, "cooler-1")["inputs", "orange"]
    assert refreshed["endsAt"] > one["endsAt"]
    assert refreshed["startsAt"] == one["startsAt"]
    now = utc_now() - timedelta(seconds=1)  # so that what is ended is over by Alertmanager's own clock
    judge(engine, [finding("r", 0, start + timedelta(seconds=71), subject=subject)], RULES, now)
    assert box.deliver(now) == Delivered(sent=1)
    assert set(active(manager, "cooler-1")) == {("inputs", "red")}
    for second in (72, 73):
        judge(engine, [finding("g", 0, start + timedelta(seconds=second), subject=subject)], RULES, now)
    assert box.deliver(now) == Delivered(sent=1)
    assert active(manager, "cooler-1") == {}


def test_what_is_muted_is_not_kept_alive(manager: str, engine: Engine) -> None:
    subject = replace(COOLER, deployment="cooler-2")
    channel = Alertmanager(name="am", url=Secret(plain=f"{manager}/"), hold_s=300.0)
    box, now = Outbox(engine, {"am": channel}, RULES, holder="a"), utc_now()
    Desk(engine, "default", "ds1").mute(Pattern(level="drift"), now + timedelta(hours=1), "filter", now)
    judge(engine, [finding("r", 0, now, subject=subject)], RULES, now)
    assert box.deliver(now) == Delivered()
    assert active(manager, "cooler-2") == {}
    later = now + timedelta(hours=2)
    judge(engine, [], RULES, later)
    assert box.deliver(later) == Delivered(sent=1)
    assert set(active(manager, "cooler-2")) == {("inputs", "red")}


def test_a_test_alert_arrives_and_is_named_so(manager: str) -> None:
    now = utc_now()
    channel = Alertmanager(name="am", url=Secret(plain=manager))
    assert send(channel, trial("am", "default", "ds1", now), now) == "200"
    [one] = active(manager, "test").values()
    assert one["labels"]["alertname"] == "HydraulicTest"


def test_an_alertmanager_that_is_away_rests_and_hears_all_of_it_later(manager: str, engine: Engine) -> None:
    subject = replace(COOLER, deployment="cooler-3")
    away = Alertmanager(name="am", url=Secret(plain=f"http://127.0.0.1:{free_port()}"), timeout_s=1.0)
    now = utc_now()
    judge(engine, [finding("r", 0, now, subject=subject)], RULES, now)
    assert Outbox(engine, {"am": away}, RULES, holder="a").deliver(now) == Delivered(waiting=1)
    back = Outbox(engine, {"am": replace(away, url=Secret(plain=manager))}, RULES, holder="a")
    assert back.deliver(now + timedelta(minutes=1)) == Delivered(sent=1)
    assert set(active(manager, "cooler-3")) == {("inputs", "red")}
