"""`hydraulic alerts`, each command, on SQLite and a real PostgreSQL: what is shown, refused and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import queries
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.rules import Rules
from tests.support.alerting import finding
from tests.support.receivers import hook

NOW = utc_now()
PUMP = Subject(environment="dev", deployment="pump", model="hydraulic-pump")


@pytest.fixture
def raised(evidence: Engine, database_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    """A red alert of prod/cooler and an orange one of dev/pump; the working folder is empty."""
    monkeypatch.setenv("HYDRAULIC_DATABASE", database_uri)
    monkeypatch.setenv("LOGNAME", "ds1")
    monkeypatch.chdir(tmp_path)
    judge(evidence, [finding("r", 0, NOW), finding("o", 0, NOW, subject=PUMP, rule="correlation")], Rules(), NOW)
    yield evidence


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["alerts", *words], prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def said(*words: str) -> Any:
    return json.loads(call(*words, "--json").stdout)


def id_of(deployment: str) -> str:
    return next(str(one["id"]) for one in said("list", "--all") if one["deployment"] == deployment)


@pytest.mark.usefixtures("raised")
def test_list_shows_the_worst_first_and_what_is_asked_for() -> None:
    lines = call("list").stdout.splitlines()
    assert ["prod/cooler drift inputs" in lines[1], "dev/pump drift correlation" in lines[2]] == [True, True]
    assert [one["deployment"] for one in said("list", "--env", "d*")] == ["pump"]
    assert [one["deployment"] for one in said("list", "--colour", "red")] == ["cooler"]
    assert [one["deployment"] for one in said("list", "--model", "hydraulic-*", "--rule", "inputs")] == ["cooler"]
    assert "no alert is open" in call("list", "--level", "service").stdout
    rolled = {one["group"]: one["colour"] for one in said("list", "--by", "environment")}
    assert rolled == {"prod": "red", "dev": "orange"}
    assert "prod/cooler" in call("list", "--by", "deployment").stdout


@pytest.mark.usefixtures("raised")
def test_show_tells_why_and_the_whole_story(tmp_path: Path) -> None:
    alert = id_of("cooler")
    call("ack", alert[:6], "--reason", "new pump")
    shown = call("show", alert, "--plot", "why.svg").stdout
    for text in ("PS1 is 4.2 bar higher", "p_value 0.001", "acknowledged by ds1", "opened red by hydraulic-monitor"):
        assert text in shown
    assert (tmp_path / "why.svg").read_text() == "<svg/>"
    assert [step["what"] for step in said("show", alert)["story"]] == ["opened", "acknowledged"]
    call("show", alert, "--plot", "no/such/folder.svg", code=1)
    assert "alerts list --all" in call("show", "feedfeed", code=4).stderr


def test_every_change_is_a_ledger_row_with_who_and_why(raised: Engine) -> None:
    alert = id_of("cooler")
    call("ack", alert, "--reason", "new pump \x1b[2J")
    call("mute", alert, "--for", "2h", "--reason", "on order")
    assert "muted until" in call("list").stdout
    call("unmute", alert, "--reason", "has come")
    call("close", alert, "--reason", "replaced")
    with raised.connect() as connection:
        rows = queries.newest(connection, queries.Asked(actor="ds1"), 9)
    assert [(row.verb, row.reason) for row in rows] == [
        ("alert", "new pump \x1b[2J"),
        ("mute", "on order"),
        ("mute", "has come"),
        ("alert", "replaced"),
    ]
    assert "\x1b" not in call("show", alert).stdout
    result = CliRunner().invoke(main, ["history", "hydraulic-cooler"], prog_name="hydraulic")
    assert "ds1 closed the alert prod/cooler drift inputs: replaced" in result.stdout
    shown = CliRunner().invoke(main, ["ledger", "show", "--verb", "alert"], prog_name="hydraulic").stdout
    assert "red open -> red acknowledged" in shown
    assert "closed at" in call("close", alert, "--reason", "again", code=5).stderr
    assert "over" in call("list", "--all").stdout


@pytest.mark.usefixtures("raised")
def test_mutes_are_by_alert_or_by_pattern_and_always_end() -> None:
    alert = id_of("cooler")
    call("mute", alert, "--reason", "x", code=2)
    call("mute", alert, "--for", "2h", "--until", "1h", "--reason", "x", code=2)
    call("mute", "--for", "2h", "--reason", "everything", code=2)
    call("mute", alert, "--env", "prod", "--for", "2h", "--reason", "x", code=2)
    call("mute", alert, "--for", "soon", "--reason", "x", code=2)
    call("mute", alert, "--until", "1h", "--reason", "x", code=2)
    call("mute", alert, "--for", "2h", "--reason", " ", code=2)
    end = (NOW + timedelta(days=1)).astimezone(timezone(timedelta(hours=9)))
    made = said("mute", "--env", "prod", "--until", end.isoformat(), "--reason", "filter")
    assert datetime.fromisoformat(made["until"]) == end
    assert [one["id"] for one in said("rules", alert)["mutes"]] == [made["id"]]
    assert made["id"] in call("rules").stdout
    assert made["id"] in call("unmute", alert, "--reason", "x", code=5).stderr
    assert said("unmute", made["id"], "--reason", "done")[0]["id"] == made["id"]
    call("unmute", made["id"], "--reason", "done", code=4)


TOML = """
[monitor]
notify = ["team"]
[[monitor.rules]]
environment = "prod"
level = "drift"
raise_after = 2
again = "90s"
[monitor.channels.team]
kind = "webhook"
url_env = "TEAM_URL"
"""


@pytest.mark.usefixtures("raised")
def test_rules_and_a_test_of_every_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hydraulic.toml").write_text(TOML)
    shown = call("rules").stdout
    assert "environment=prod, level=drift" in shown
    assert "2 of 2" in shown
    assert "the address in the variable TEAM_URL" in shown
    assert said("rules", id_of("cooler"))["rules"][0]["number"] == 1
    assert said("rules", id_of("pump"))["rules"][0]["number"] == 0
    with hook() as server:
        monkeypatch.setenv("TEAM_URL", f"{server.url}/hunter2")
        shown = call("test").stdout
        assert shown.count("ok") >= 2
        assert "hunter2" not in shown
        assert server.got[0].json["hydraulic"]["test"] is True
        assert "nothing is wrong" in server.got[0].json["attachments"][0]["text"]
        server.answers = [(500, {}, b"busy")]
        failed = call("test", "--channel", "team", code=8)
        assert "500 busy" in failed.stdout
        assert "not taken by team" in failed.stderr
    assert said("test", "--channel", "log")[0]["accepted"] is True
    assert "known are log, team" in call("test", "--channel", "nobody", code=2).stderr
    monkeypatch.delenv("TEAM_URL")
    assert "variable TEAM_URL cannot be read" in call("test", "--channel", "team", code=8).stdout


@pytest.mark.usefixtures("raised")
def test_what_hostile_names_hold_is_shown_and_not_obeyed(evidence: Engine) -> None:
    later = NOW + timedelta(seconds=1)
    judge(evidence, [finding("r", 0, later, rule="[31m %s {x} ' ; é")], Rules(), later)
    assert "[31m %s {x} ' ; é" in call("list").stdout


def test_completion_knows_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_HYDRAULIC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "hydraulic alerts un")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = CliRunner().invoke(main, prog_name="hydraulic", complete_var="_HYDRAULIC_COMPLETE")
    assert result.stdout.split() == ["plain,unmute"]
