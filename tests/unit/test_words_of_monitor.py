"""What the monitor's commands say: whole when piped, which file was read, counts and lengths as people say them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.cli.alert_table import times
from mlflow_hydraulic.cli.table import table
from mlflow_hydraulic.monitor.configured import Monitoring
from mlflow_hydraulic.monitor.judged import judged_words
from mlflow_hydraulic.monitor.looking import Looking
from tests.support.watching import World, normal

LONG = "why " * 100


def test_a_piped_table_is_whole_and_a_terminals_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(("what", "why"), [("a", LONG)]).endswith(LONG.rstrip())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, table(("what", "why"), [("a", LONG)]).splitlines())) == 60


def test_alert_commands_name_the_file_that_they_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRAULIC_CONFIG", raising=False)
    run = CliRunner().invoke
    assert f"there is no {tmp_path / 'hydraulic.toml'}" in run(main, ["alerts", "test"]).output
    (tmp_path / "hydraulic.toml").write_text('[monitor]\nnotify = ["log"]\n')
    assert f"channels: {tmp_path / 'hydraulic.toml'}" in run(main, ["alerts", "test"]).output


def test_counts_and_lengths_are_said_as_people_do(tmp_path: Path) -> None:
    assert (times(1), times(3)) == ("once", "3 times")
    assert judged_words(500, 275, 275).endswith("too short to calibrate longer windows")
    assert "10 % apart" in judged_words(260, 254, 500) and "too few" in judged_words(5, 0, 500)
    assert judged_words(100, 100, 500) == "drift is judged on all 100 rows"
    world = World(tmp_path)
    world.ask("cooler", normal(20, 1))
    world.now += timedelta(hours=1)
    looked = world.watch(monitoring=Monitoring(looking=Looking(window_s=600.0))).look()
    causes = [one.cause for one in looked.found if one.subject.deployment == "cooler"]
    assert "nothing was asked of it for 10 min" in causes, causes


def test_an_estimate_is_named_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask("cooler", normal(300, 1))
    named = {f"{one.level} {one.rule}" for one in world.watch().look().found}
    assert "accuracy estimate" in named and "accuracy accuracy estimate" not in named
    assert json.dumps(sorted(named))
