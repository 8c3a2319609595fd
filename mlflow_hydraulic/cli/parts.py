"""What `hydraulic up` runs: MLflow's server with our app, controller and monitor; their commands and environments."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlflow_hydraulic.cli.accounts import CONTROLLER, MONITOR
from mlflow_hydraulic.cli.processes import CappedLog, Part
from mlflow_hydraulic.cli.residence import Residence
from mlflow_hydraulic.errors import Conflict

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read only
PLAIN = {"PYTHONUNBUFFERED": "1", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}  # output that makes a good log
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEALTH_TIMEOUT_S = 5.0
UVICORN = "--timeout-worker-healthcheck 120"  # a busy machine must not cost a worker its life


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the person asked for. port: 0 until a free one was taken. echo: whether they see controller and monitor.
    demo: whether ds1 and ds2 are users, with passwords that everybody knows."""

    host: str
    port: int
    auth: bool
    interval_s: float | None
    workers: int
    echo: bool = True
    demo: bool = False

    @property
    def url(self) -> str:
        """Where this machine reaches the server."""
        host = WILDCARDS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def free_port(host: str, port: int) -> int:
    """`port`, or a free one where it is 0; `Conflict` where something listens there, or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            way = "choose another with --port, or let --port 0 take a free one"
            raise Conflict(f"--port {port}: {host} cannot listen there ({error.strerror or error}): {way}") from error
        return int(listener.getsockname()[1])


def server_part(residence: Residence, wish: Wish, base: Mapping[str, str]) -> Part:
    """MLflow's server: registry, page, gate and ledger."""
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "hydraulic"]
    command += ["--backend-store-uri", residence.database, "--artifacts-destination", residence.artifacts.as_uri()]
    command += ["--host", wish.host, "--port", str(wish.port), "--workers", str(wish.workers)]
    command += ["--uvicorn-opts", UVICORN]
    environ = residence.environ(base, wish.url)
    del environ["MLFLOW_TRACKING_URI"]  # it is that server itself
    environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **PLAIN}
    environ |= residence.server_secrets() if wish.auth else {"HYDRAULIC_AUTH": "off"}
    return Part(
        name="server",
        command=command,
        environ=environ,
        folder=residence.path,
        log=CappedLog(residence.logs / "server.log"),
    )


def controller_part(residence: Residence, wish: Wish, base: Mapping[str, str], on_line: Callable[[str], None]) -> Part:
    """The controller, over the server."""
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "controller"]
    command += ["--interval", f"{wish.interval_s:g}"] if wish.interval_s else []
    return Part(
        name="controller",
        command=command,
        environ={**residence.environ(base, wish.url, user=CONTROLLER if wish.auth else ""), **PLAIN},
        folder=residence.path,
        log=CappedLog(residence.logs / "controller.log"),
        on_line=on_line,
    )


def monitor_part(residence: Residence, wish: Wish, base: Mapping[str, str], on_line: Callable[[str], None]) -> Part:
    """The monitor, over the server and what it deployed."""
    return Part(
        name="monitor",
        command=[sys.executable, "-m", "mlflow_hydraulic.cli", "monitor"],
        environ={**residence.environ(base, wish.url, user=MONITOR if wish.auth else ""), **PLAIN},
        folder=residence.path,
        log=CappedLog(residence.logs / "monitor.log"),
        on_line=on_line,
    )


def is_healthy(wish: Wish) -> bool:
    """Whether the server answers."""
    connection = http.client.HTTPConnection(WILDCARDS.get(wish.host, wish.host), wish.port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
