"""The intake as a real process: events and segments by HTTP, tokens, limits; killed at either end, still exact."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from mlflow_hydraulic.record.cloudevents import FEEDBACK, REQUEST, RESPONSE
from mlflow_hydraulic.record.store import Store
from tests.servers import ROOT
from tests.services import free_port
from tests.support.local import until
from tests.support.recorded import append, entry, ids, journal
from tests.unit.test_record_events import ANSWERED, ASKED, headers

TOKEN = "a token of the tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text(TOKEN + "\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HYDRAULIC_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HYDRAULIC_INTAKE_AUTH_FILE": str(tmp_path / "token")}


@contextmanager
def intake(environ: dict[str, str], home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "record", "intake", "--port", str(port)]
    log = home.with_suffix(".log")
    with log.open("a") as stream:
        process = subprocess.Popen(command, env={**environ, "HYDRAULIC_HOME": str(home)}, stderr=stream, text=True)
    try:
        until(lambda: process.poll() is not None or answers(port), f"the intake: {log}")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def shipper(environ: dict[str, str], home: Path, port: int, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "mlflow_hydraulic.cli",
        "record",
        "ship",
        "--to",
        f"http://127.0.0.1:{port}",
        *more,
    ]
    return subprocess.Popen(
        command,
        env={**environ, "HYDRAULIC_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(home: Path) -> list[str]:
    with Store(home / "record" / "record.db") as store:
        return ids(store)


def test_events_of_seldons_logger(environ: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    url, home = f"http://127.0.0.1:{port}", tmp_path / "home"

    def post(path: str, kind: str, body: object, **more: str) -> requests.Response:
        given = {**headers(kind, more.pop("event", kind)), **more}
        return requests.post(url + path, data=json.dumps(body), headers=given, timeout=30)

    with intake(environ, home, port):
        assert post("/events", REQUEST, ASKED).status_code == 401
        assert post("/events/wrong", REQUEST, ASKED).status_code == 401
        assert post(f"/events/{TOKEN}", REQUEST, ASKED).json() == {"events": ["waiting"]}
        assert post("/", RESPONSE, ANSWERED, **BEARER).json() == {"events": ["stored"]}
        assert post("/", RESPONSE, ANSWERED, **BEARER).json() == {"events": ["repeated"]}
        refused = post("/", "io.seldon.other", ASKED, **BEARER)
        assert refused.status_code == 400 and "known are io.seldon" in refused.json()["error"]
        assert post("/", FEEDBACK, {"reward": 1}, **BEARER).status_code in (202, 422)
        large = requests.post(url, data=b"", headers={**BEARER, "Content-Length": str(10**10)}, timeout=30)
        assert large.status_code == 413
        assert requests.put(url, timeout=30, headers=BEARER).status_code == 405
        assert requests.get(url + "/nowhere", timeout=30, headers=BEARER).status_code == 405
        metrics = requests.get(url + "/metrics", headers=BEARER, timeout=30).text
        assert re.search(r'^hydraulic_intake_events_total{kind="response"} 2$', metrics, re.MULTILINE)
    assert stored(home) == ["p1"]


def test_segments_of_a_pod_arrive_once_whoever_is_killed(environ: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    pod, home = tmp_path / "pod", tmp_path / "home"
    writer = journal(pod / "record" / "journal", segment_bytes=100_000)
    count = 0
    for killed in ("shipper", "intake", "both", ""):
        append(writer, [entry(number, size=300) for number in range(count, count + 3000)])
        count += 3000
        with intake(environ, home, port) as taking:
            sending = shipper(environ, pod, port, "--follow")
            until(lambda before=count - 3000: len(stored(home)) > before, "the first of them")  # type: ignore[misc]
            if killed in ("shipper", "both"):
                sending.kill()
            if killed in ("intake", "both"):
                taking.kill()
                taking.wait(30)
            if not killed:
                writer.close()
            sending.send_signal(signal.SIGTERM)  # a last pass, and the end
            sending.communicate(timeout=60)
    found = stored(home)
    assert found == [f"id-{number}" for number in range(count)]
    assert not list((pod / "record" / "journal").iterdir())


def test_a_wrong_token_and_a_foreign_server_are_told(environ: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    append(journal(tmp_path / "pod" / "record" / "journal"), [entry(0)])
    (tmp_path / "other").write_text("another")
    with intake(environ, tmp_path / "home", port):
        wrong = {**environ, "HYDRAULIC_INTAKE_AUTH_FILE": str(tmp_path / "other")}
        sending = shipper(wrong, tmp_path / "pod", port)
        _, said = sending.communicate(timeout=60)
    assert sending.returncode == 8
    assert "401" in said and "token" in said
