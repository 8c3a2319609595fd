"""`hydraulic up` with a real server, controller and scorers: order, restarts, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import psutil
import pytest
import requests

from mlflow_hydraulic.cli.residence import Residence
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.support.local import deployment, fake_model, kill_leftovers, local_target, processes_of, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MODEL = "cooler"
START_S = 180.0


@dataclass
class Up:
    """One running `hydraulic up`."""

    residence: Residence
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return str(self.residence.read_status()["url"])

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self) -> Up:
        def ready() -> bool:
            assert self.process.poll() is None, self.said()
            status = self.residence.read_status()
            return bool(status.get("ready")) and status.get("pid") == self.process.pid

        until(ready, "up is ready", START_S)
        return self

    def processes(self) -> list[psutil.Process]:
        """Itself, its children and theirs, and what was started for deployments."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True), *processes_of(self.residence.home)]

    def part(self, word: str) -> psutil.Process:
        """The innermost process of server ("uvicorn") or controller ("controller")."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(p for p in reversed(children) if word in p.cmdline() and "keeper" not in " ".join(p.cmdline()[:4]))

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


def environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))}
    return {**kept, "HYDRAULIC_LEASE_S": "3", **(more or {})}


def hydraulic(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mlflow_hydraulic.cli", *arguments]


def call(*arguments: str, cwd: Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        hydraulic(*arguments), cwd=cwd, env=environ(), capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture
def bring_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `hydraulic up` in tmp_path/place; whatever a failed test leaves is killed by id."""
    residence = Residence(tmp_path / "place")
    started: list[subprocess.Popen[bytes]] = []
    seen: set[psutil.Process] = set()

    def start(*options: str) -> Up:
        log = tmp_path / f"up{len(started)}.log"
        with log.open("wb") as output:
            command = hydraulic("up", "--folder", str(residence.path), "--port", "0", *options)
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environ(), stdout=output, stderr=output))
        return Up(residence, started[-1], log)

    yield start
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            seen |= {*psutil.Process(process.pid).children(recursive=True)}
        process.kill()
        process.wait()
    for left in seen:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    kill_leftovers(residence.home)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port_of(url))) == 0


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def register(url: str, model: HydraulicModel) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(url)
    try:
        with mlflow.start_run():
            flavor.log_model(model, name="model", registered_model_name=MODEL)
    finally:
        mlflow.set_tracking_uri(before)


def move(url: str, stage: str, reason: str = "", version: int = 1) -> requests.Response:
    asked = {"name": MODEL, "version": str(version), "stage": stage, "archive_existing_versions": False}
    headers = {"X-Hydraulic-Reason": reason} if reason else {}
    return requests.post(
        f"{url}/api/2.0/mlflow/model-versions/transition-stage", json=asked, headers=headers, timeout=60
    )


def tags(url: str) -> dict[str, str]:
    asked = {"name": MODEL, "version": "1"}
    reply = requests.get(f"{url}/api/2.0/mlflow/model-versions/get", params=asked, timeout=60)
    reply.raise_for_status()
    return {tag["key"]: tag["value"] for tag in reply.json()["model_version"].get("tags", [])}


def endpoint(url: str, environment: str) -> str:
    """Where version 1 answers, once the controller says that it is healthy there."""
    wanted: dict[str, Any] = {}

    def healthy() -> bool:
        with contextlib.suppress(requests.RequestException):  # the server may be on its way back
            wanted.update(tags(url))
        address = wanted.get(f"hydraulic.{environment}.endpoint")
        return wanted.get(f"hydraulic.{environment}.state") == "healthy" and bool(address)

    until(healthy, f"healthy in {environment}", 120)
    return str(wanted[f"hydraulic.{environment}.endpoint"])


def answers(address: str) -> bool:
    try:
        sample = requests.get(f"{address}/model/sample_request", timeout=30)
        return requests.post(f"{address}/model/score", json=sample.json(), timeout=30).status_code == 200
    except requests.RequestException:
        return False


def well(url: str) -> bool:
    """Whether the server answers; one that dies or starts takes connections that it never answers."""
    try:
        return requests.get(f"{url}/health", timeout=30).ok
    except requests.RequestException:
        return False


def test_a_life(bring_up: Callable[..., Up], small_model: HydraulicModel, tmp_path: Path) -> None:
    up = bring_up("--interval", "2").wait_ready()
    url = up.url

    # A second one on the folder, and another that wants the port, are refused and say why.
    second = call("up", "--folder", str(up.residence.path), "--port", "0", cwd=tmp_path)
    assert second.returncode == 5 and f"process {up.process.pid} at {url}" in second.stderr, second
    taken = call("up", "--folder", str(tmp_path / "other"), "--port", str(port_of(url)), cwd=tmp_path)
    assert taken.returncode == 5 and f"--port {port_of(url)}" in taken.stderr and "--port 0" in taken.stderr, taken

    # A transition is all that it takes; PROD wants a reason.
    register(url, small_model)
    assert move(url, "Staging").status_code == 200
    dev = endpoint(url, "dev")
    assert answers(dev)
    refused = move(url, "Production")
    assert refused.status_code == 403 and "reason" in refused.text
    assert answers(dev)

    # Killed parts come back; what serves does not notice.
    server, controller = up.part("uvicorn"), up.part("controller")
    server.kill()
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server is dead")
    assert answers(dev)
    until(lambda: well(url), "the server is back", START_S)
    controller.kill()
    assert move(url, "Production", "killed parts come back").status_code == 200
    prod = endpoint(url, "prod")
    assert answers(prod)
    until(lambda: not answers(dev), "DEV ended: the version is promoted")
    assert up.said().count("started again in") == 2, up.said()

    # Other shells find everything.
    told = subprocess.run(
        ["sh", "-c", f". '{up.residence.env_sh}' && '{sys.executable}' -m mlflow_hydraulic.cli plan"],
        cwd=tmp_path,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0 and "nothing to do" in told.stdout, told

    # Ctrl-C leaves nothing.
    processes = up.processes()
    assert len(processes) >= 8, processes  # up, two keepers, two of the server, controller, supervisor, scorer
    assert up.interrupt() == 0, up.said()
    assert gone(processes) and not processes_of(up.residence.home), up.said()
    assert not listens(url) and not listens(prod)
    assert "nothing is left running" in up.said()

    # The next one brings back what served, at the same address; two Ctrl-C in a row leave nothing either.
    again = bring_up("--interval", "2")
    until(lambda: answers(prod), "PROD serves again", START_S)
    again.wait_ready()
    processes = again.processes()
    again.process.send_signal(signal.SIGINT)
    until(lambda: "once more does not wait" in again.said(), "it began to stop")
    assert again.interrupt() == 0, again.said()
    assert gone(processes) and not processes_of(again.residence.home) and not listens(prod), again.said()


def test_killed_itself_it_takes_its_parts_along_and_production_serves_on(
    bring_up: Callable[..., Up], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environ()["PYTHONPATH"])  # of the fake scorer
    up = bring_up().wait_ready()
    target = local_target(up.residence.home)
    address = target.apply(deployment(fake_model(up.residence.home, "1"))).url
    parts = psutil.Process(up.process.pid).children(recursive=True)
    url = up.url
    up.process.kill()
    up.process.wait()
    until(lambda: gone(parts) and not listens(url), "server and controller ended with it", 10)
    assert listens(address)

    down = call("down", "--folder", str(up.residence.path), cwd=tmp_path)
    assert down.returncode == 0 and "nothing is left running" in down.stdout, down
    assert not processes_of(up.residence.home) and not listens(address)
    assert target.get("default", MODEL).state == "unhealthy"  # stopped, and not lost


def test_with_auth_only_those_who_log_in_are_served(bring_up: Callable[..., Up]) -> None:
    up = bring_up("--auth").wait_ready()
    search = f"{up.url}/api/2.0/mlflow/registered-models/search"
    assert requests.get(search, timeout=60).status_code == 401
    assert requests.get(search, auth=("admin", "password1234"), timeout=60).status_code == 401
    login = ("admin", up.residence.secret("admin_password"))
    assert requests.get(search, auth=login, timeout=60).status_code == 200
    assert f"settings: home={up.residence.home} " in up.said()
    for path in (up.residence.env_sh, up.residence.auth_ini, up.residence.auth_json, up.residence.path / "auth.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert json.loads(up.residence.auth_json.read_text())["admin_password"] not in up.said()
    assert " acts" in (up.residence.logs / "controller.log").read_text()
    assert up.interrupt() == 0, up.said()


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("[environments.prod]\ntarget = 'moon'\n", "moon"),
        ("[policy.prod]\nreason = true\n", "policy.prod.reason"),
        ("interval_s = 'soon'\n", "interval_s"),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_starts(tmp_path: Path, written: str, named: str) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "hydraulic.toml").write_text(written)
    done = call("up", "--folder", "place", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2 and named in done.stderr, done
    assert not (tmp_path / "place" / "mlflow.db").exists()


def test_a_server_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = call("up", "--folder", "place", "--port", "0", cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 1 and "server.log ends with" in done.stderr and "not a database" in done.stderr, done
    assert "nothing is left running" in done.stdout
