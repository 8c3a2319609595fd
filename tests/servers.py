"""A real `mlflow server` for integration and browser tests: free port, log in a file, no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from tests.services import free_port

ROOT = Path(__file__).resolve().parents[1]
ADMIN, ADMIN_PASSWORD = "admin", "a password of the tests"
PASSWORDS = {"ds1": "the password of ds1", "ds2": "the password of ds2"}
QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(ROOT),
    "GIT_PYTHON_REFRESH": "quiet",
}
PATIENT = "--timeout-worker-healthcheck 120"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers. uri: "http://127.0.0.1:PORT"; backend: its database; auth: whether it asks who one is."""

    uri: str
    backend: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    auth: bool = False
    prefix: str = ""

    def environment(self, user: str = "") -> dict[str, str]:
        """The variables by which MLflow's clients reach it, as `user`; the admin where nobody is named."""
        found = {"MLFLOW_TRACKING_URI": self.uri + self.prefix}
        if self.auth:
            name, password = self.login(user)
            found |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
        return found

    def login(self, user: str = "") -> tuple[str, str]:
        """Name and password."""
        return (user, PASSWORDS[user]) if user else (ADMIN, ADMIN_PASSWORD)

    def said(self) -> str:
        """The log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def mlflow_server(
    folder: Path,
    *,
    app: str | None = "hydraulic",
    auth: bool = False,
    backend: str = "sqlite",
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    workers: int = 1,
    gunicorn: bool = False,
    prefix: str = "",
    port: int = 0,
    start_s: float = 180,
) -> Iterator[Server]:
    """A server that runs in `folder` and reads `hydraulic.toml` there; it and all its processes end with the block.

    app: "hydraulic", "basic-auth", or None for MLflow's own. backend: "sqlite" (a file in `folder`) or a URI.
    auth: basic-auth with the users of PASSWORDS. env, options: more of the server's. prefix: its static prefix.
    port: 0 for a free one.
    Fails the test, with the log, where it does not answer within `start_s`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backend = f"sqlite:///{folder / 'mlflow.db'}" if backend == "sqlite" else backend
    port = port or free_port()
    variables = {**_scrubbed(), **QUIET, **(_auth(folder) if auth else {}), **(env or {})}
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--app-name", app] if app else []
    command += ["--gunicorn-opts", "--timeout 120"] if gunicorn else ["--uvicorn-opts", PATIENT]
    command += ["--static-prefix", prefix] if prefix else []
    log = folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, *options], cwd=folder, env=variables, stdout=out, stderr=out, start_new_session=True
        )
    server = Server(
        uri=f"http://127.0.0.1:{port}",
        backend=backend,
        folder=folder,
        log=log,
        process=process,
        auth=auth,
        prefix=prefix,
    )
    try:
        _wait_until_it_answers(server, start_s)
        if auth:
            _add_users(server)
        yield server
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes], patience_s: float = 15) -> None:
    """End a process that leads a group, and all that it started."""
    mine = [process.pid] if process.poll() is None else []
    if mine:
        mine += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    _signal(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience_s)
    _signal(process.pid, signal.SIGKILL)
    process.wait(timeout=patience_s)
    _gone, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in mine if psutil.pid_exists(pid)], timeout=patience_s
    )
    assert not alive, f"processes of the server outlived it: {alive}"


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all ended
        os.killpg(group, number)


def _scrubbed() -> dict[str, str]:
    """Our environment without any setting of MLflow's or ours, but for where downloads are kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))}
    return {**kept, **{name: os.environ[name] for name in ("HYDRAULIC_HOME",) if name in os.environ}}


def _auth(folder: Path) -> dict[str, str]:
    file = folder / "basic_auth.ini"
    file.write_text(
        "[mlflow]\ndefault_permission = MANAGE\n"
        f"database_uri = sqlite:///{folder / 'basic_auth.db'}\nadmin_username = {ADMIN}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n",  # else each of a page's many requests costs a slow password hash
        encoding="utf-8",
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(file),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of the tests",
    }


def _wait_until_it_answers(server: Server, start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            answer = requests.get(f"{server.uri}{server.prefix}/health", timeout=10, auth=server.login())
            if answer.status_code == 200:
                return
        except requests.RequestException:
            pass  # not yet
        time.sleep(0.1)
    pytest.fail(f"mlflow server did not answer at {server.uri} (exit code {server.process.poll()}):\n{server.said()}")


def _add_users(server: Server) -> None:
    """Make the users of PASSWORDS; those that are there from an earlier start stay."""
    for name, password in PASSWORDS.items():
        requests.post(
            f"{server.uri}{server.prefix}/api/2.0/mlflow/users/create",
            json={"username": name, "password": password},
            auth=server.login(),
            timeout=30,
        )
        known = requests.get(
            f"{server.uri}{server.prefix}/api/2.0/mlflow/users/get",
            params={"username": name},
            auth=server.login(),
            timeout=30,
        )
        if known.status_code != 200:
            pytest.fail(f"user {name} could not be made: {known.status_code} {known.text}\n{server.said()}")
