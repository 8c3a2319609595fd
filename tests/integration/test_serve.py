"""`hydraulic serve` as a real process: start, refusal, both engines, and an end under load that loses no request."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.bundle.digest import digest_folder
from tests.integration.conftest import make_rows

DEADLINE_S = 60.0
ROWS = make_rows(5, seed=3)
BODY = json.dumps({"dataframe_split": {"columns": list(ROWS.columns), "data": ROWS.to_numpy().tolist()}}).encode()
TEXTS: dict[str, list[Any]] = {
    "fields": list(ROWS.columns),
    "rows": [[repr(value) for value in row] for row in ROWS.to_numpy().tolist()],
}


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(what: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.01)  # between looks at another process, within the deadline
    pytest.fail(why())


def ready(port: int) -> bool:
    try:
        return ask(port, "GET", "/v2/health/ready")[0] == 200
    except OSError:
        return False


@contextmanager
def scorer(model: Path, port: int, log: Path, *options: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A ready scorer; at the end it must drain and exit with 0."""
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(model), "--port", str(port), *options]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream, **more)
        try:
            wait_for(lambda: process.poll() is not None or ready(port), log.read_text)
            assert process.poll() is None, log.read_text()
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


def test_a_bundle_is_served_without_pandas_scikit_learn_or_mlflow(
    small_saved: Path, free_port: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with scorer(small_saved, free_port, log, "--name", "cooler", "--version", "3") as process:
        assert "onnxruntime" in log.read_text()
        loaded = Path(f"/proc/{process.pid}/maps")
        if loaded.exists():
            assert not any(name in loaded.read_text() for name in ("/pandas/", "/sklearn/", "/pyarrow/"))
        assert ask(free_port, "GET", "/v2/models/cooler/versions/3/ready")[0] == 200
        assert json.loads(ask(free_port, "GET", "/openapi.json")[1])["openapi"].startswith("3.")
        assert b'name="cooler",version="3"' in ask(free_port, "GET", "/metrics")[1]


def test_both_engines_give_the_same_numbers(small_saved: Path, tmp_path: Path, free_port: int) -> None:
    answers = []
    for engine in ("onnx", "pyfunc"):
        with scorer(small_saved, free_port, tmp_path / engine, "--engine", engine):
            score = json.loads(ask(free_port, "POST", "/model/score", json.dumps(TEXTS).encode())[1])["score"]
            answers.append((json.loads(ask(free_port, "POST", "/invocations", BODY)[1]), score))
    (labels, onnx), (same_labels, pyfunc) = answers
    assert labels == same_labels
    for one, other in zip(onnx, pyfunc, strict=True):
        assert [float(cell) for cell in one] == pytest.approx([float(cell) for cell in other], abs=1e-12)


def test_another_model_than_the_digest_names_is_refused(small_saved: Path, free_port: int) -> None:
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(small_saved), "--port", str(free_port)]
    refused = subprocess.run([*command, "--digest", "0" * 64], capture_output=True, timeout=DEADLINE_S, check=False)
    assert refused.returncode == 7 and b"another model" in refused.stderr
    assert digest_folder(small_saved) in refused.stderr.decode()
    missing = subprocess.run([*command[:4], "/nowhere"], capture_output=True, timeout=DEADLINE_S, check=False)
    assert missing.returncode == 4 and b"Traceback" not in missing.stderr


def test_a_taken_port_is_one_clean_line(small_saved: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(small_saved), "--port", port]
        refused = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
    assert refused.returncode == 8 and b"cannot listen" in refused.stderr and b"Traceback" not in refused.stderr


class Callers:
    """Clients that keep their connection, open a new one when they are told to close, and count every failure."""

    def __init__(self, port: int, count: int) -> None:
        self.port, self.answered, self.failed = port, 0, []  # type: int, int, list[str]
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._call) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/invocations", BODY, {"content-type": "application/json"})
                answer = connection.getresponse()
                status = answer.status
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            if status == 200:
                self.answered += 1
            else:
                self.failed.append(str(status))
        connection.close()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)


def test_scorers_take_turns_on_one_socket_under_load_without_a_failed_request(
    small_saved: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(small_saved), "--fd", str(fd)]

        def start(number: int) -> tuple[subprocess.Popen[bytes], Path]:
            log = tmp_path / f"log{number}"
            with log.open("wb") as stream:
                return subprocess.Popen(command, stderr=stream, pass_fds=[fd]), log

        def serving(log: Path) -> Callable[[], bool]:
            return lambda: b"serving" in log.read_bytes()

        running, log = start(0)
        callers = None
        try:
            wait_for(serving(log), log.read_text)
            callers = Callers(port, 6)
            for turn in range(1, 4):
                following, log = start(turn)
                wait_for(serving(log), log.read_text)
                before = callers.answered
                running.send_signal(signal.SIGTERM)
                assert running.wait(DEADLINE_S) == 0
                running = following
                wait_for(lambda: callers.answered > before + 50, log.read_text)  # noqa: B023 - called at once
            callers.end()
            assert callers.failed == []
        finally:
            if callers is not None:
                callers.end()
            running.kill()
            running.wait()


def test_a_request_that_runs_when_sigterm_comes_is_answered(small_saved: Path, free_port: int, tmp_path: Path) -> None:
    many = json.dumps({**TEXTS, "rows": TEXTS["rows"] * 20, "requestShapleyValueType": "ORIGINAL"}).encode()
    found: list[tuple[int, bytes]] = []
    with scorer(small_saved, free_port, tmp_path / "log") as process:
        caller = threading.Thread(target=lambda: found.append(ask(free_port, "POST", "/model/contribution", many)))
        caller.start()
        wait_for(lambda: b"http_requests_in_progress 2" in ask(free_port, "GET", "/metrics")[1], lambda: "too quick")
        process.send_signal(signal.SIGTERM)
        caller.join(DEADLINE_S)
        assert [status for status, _ in found] == [200]
