"""What goes into logs and to a person's terminal: a hostile name forges no line, and no secret is told."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.cli.logs import JsonLines, Lines, settings_line
from mlflow_hydraulic.cli.supervision import say
from mlflow_hydraulic.settings import Settings

HOSTILE = "x\n2026-01-01 00:00:00 INFO prod m: all is well\x1b[2J\x9b\u202e\ud800"
OBEYED = "\x1b\x9b\u202e\r"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()


def logged(stream: io.StringIO, formatter: logging.Formatter) -> str:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("%s failed", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("broken")
    return stream.getvalue()


def test_a_name_forges_no_log_line_and_reaches_no_terminal(stream: io.StringIO) -> None:
    text = logged(stream, Lines())
    first, second, *trace = text.splitlines()
    assert first.endswith("failed") and "\\x1b[2J" in first and "\\x0a2026" in first
    assert second.endswith("broken") and trace and all(line.startswith("  ") for line in trace)
    assert "ValueError" in text and not set(OBEYED) & set(text)
    text.encode()


def test_json_log_lines_are_one_object_each_with_the_name_as_it_is(stream: io.StringIO) -> None:
    text = logged(stream, JsonLines())
    failed, broken = map(json.loads, text.splitlines())
    assert failed["message"] == f"{HOSTILE} failed" and "ValueError" in broken["traceback"]
    assert not set(OBEYED) & set(text)


def test_say_survives_a_terminal_that_knows_no_umlauts_and_shows_what_would_be_obeyed() -> None:
    code = (
        "from mlflow_hydraulic.cli.supervision import say; say('K\\u00fchler \\U0001f642 \\x1b[2J\\n  second \\ud800')"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={"PYTHONIOENCODING": "ascii:strict"}, check=True
    )
    assert said.stdout == b"K\\xfchler \\U0001f642 \\x1b[2J\n  second \\xd800\n"


def test_say_says_umlauts_where_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    say("Kühler\n")
    assert capsys.readouterr().out == "Kühler\n\n"


def test_settings_are_told_with_all_their_names_and_no_password() -> None:
    line = settings_line(Settings(database="postgresql://mlflow:hunter2@db/mlflow", threads=3))
    assert "hunter2" not in line and "threads=3" in line and "database=postgresql://mlflow:***@db/mlflow" in line
    assert all(f"{name}=" in line for name in Settings.__dataclass_fields__)


@pytest.mark.parametrize("command", [["serve", "not-there"], ["controller", "--once"]])
def test_what_runs_long_tells_its_settings_first(command: list[str], tmp_path: Path) -> None:
    environ = {**os.environ, "HYDRAULIC_THREADS": "3", "HYDRAULIC_DATABASE": "nosuch://mlflow:hunter2@db/mlflow"}
    environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db", "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-m", "mlflow_hydraulic.cli", *command]
    said = subprocess.run(program, capture_output=True, text=True, env=environ, cwd=tmp_path)  # noqa: PLW1510
    assert said.returncode in (2, 4), said
    first = said.stderr.splitlines()[0]
    assert "settings: home=" in first and "threads=3" in first, said
    assert "hunter2" not in said.stderr


def test_an_error_message_sends_no_escape_to_the_terminal(tmp_path: Path) -> None:
    said = CliRunner().invoke(main, ["serve", f"{tmp_path}/no\x1b[2Jne"])
    assert said.exit_code == 4 and "\x1b" not in said.stderr and "\\x1b[2J" in said.stderr
