"""`hydraulic data` as a person calls it: output, exit codes, marks of simulated cycles."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.cli.data import data
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.published import ZIP_NAME


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, words)])


def test_simulate_info_check_convert(tmp_path: Path) -> None:
    out = tmp_path / "cycles.parquet"
    made = run("simulate", out, "--cycles", 6, "--seed", 3)
    assert made.exit_code == 0 and "SIMULATED" in made.output
    facts = json.loads(run("info", out, "--json").output)
    assert (facts["cycles"], facts["origin"], facts["seconds"]) == (6, "simulated", True)
    assert sum(facts["classes"]["cool_cond_y"].values()) == 6
    assert facts["sensors"][0]["name"] == "PS1"
    assert "origin   simulated" in run("info", out).output
    assert json.loads(run("check", out, "--json").output)["verdict"] == "good"
    assert run("simulate", tmp_path / "text", "--cycles", 6, "--seed", 3, "--format", "uci").exit_code == 0
    assert run("convert", tmp_path / "text", tmp_path / "again.parquet").exit_code == 0
    again = load_cycles(tmp_path / "again.parquet")
    assert (again.digest, again.origin) == (facts["digest"], "simulated")


@pytest.mark.parametrize("form", ["parquet", "csv", "uci"])
def test_the_same_seed_writes_the_same_bytes(form: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("simulate", tmp_path / f"{name}.{form}", "--cycles", 3, "--format", form).exit_code == 0
    first, second = tmp_path / f"a.{form}", tmp_path / f"b.{form}"
    if form == "uci":
        assert {file.name: file.read_bytes() for file in first.iterdir()} == {
            file.name: file.read_bytes() for file in second.iterdir()
        }
    else:
        assert first.read_bytes() == second.read_bytes()


def test_exit_codes(tmp_path: Path) -> None:
    assert run("check", tmp_path / "absent").exit_code == 4
    run("simulate", tmp_path / "text", "--cycles", 2, "--format", "uci")
    published = run("check", tmp_path / "text", "--published")
    assert published.exit_code == 7 and "git blob SHA-1" in published.output
    again = run("simulate", tmp_path / "text", "--cycles", 2, "--format", "uci")
    assert again.exit_code == 2 and "new or empty folder" in again.output
    ce = tmp_path / "text" / "CE.txt"
    ce.write_text(ce.read_text().replace("\t", "\tx", 1))
    damaged = run("check", tmp_path / "text")
    assert damaged.exit_code == 3 and "CE.txt, row 1, column 2" in damaged.output
    assert run("simulate", tmp_path / "cycles.txt").exit_code == 2
    assert run("simulate", tmp_path / "c.parquet", "--cycles", 0).exit_code == 2
    assert run("simulate", "/dev/null/c.parquet", "--cycles", 1).exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_every_command_has_examples() -> None:
    for command in [data, *data.commands.values()]:
        assert isinstance(command, click.Command)
        assert "Examples:" in (command.help or ""), command.name


def test_ctrl_c_leaves_a_part_that_is_never_taken_for_the_data(tmp_path: Path) -> None:
    """A real process, interrupted while a server that never finishes is sending."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\nETag: "a"\r\n\r\n' + b"x" * 200_000)
                over.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{ZIP_NAME}"
        part = tmp_path / f"{ZIP_NAME}.part"
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "data", "fetch", "--to", str(tmp_path), "--url", url]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_PROXY": "127.0.0.1"}
        ) as process:
            wait = threading.Event()
            for _ in range(3000):
                if part.exists() and part.stat().st_size >= 65536:
                    break
                wait.wait(0.02)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        over.set()
        thread.join()
    assert process.returncode == 1 and "Aborted" in errors and "Traceback" not in errors
    assert part.stat().st_size >= 65536
    assert not (tmp_path / ZIP_NAME).exists()
