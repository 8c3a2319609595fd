"""One model behind four servers that speak Seldon v1: the pod's scorer, `seldon-local`, and the real microservice.

The real one runs twice: `microservice` reads requests and writes answers by itself and takes only numbers from our
component; in `microservice-raw` the component answers whole messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.settings import Settings
from tests.scorers import forest
from tests.services import free_port
from tests.support.local import until
from tests.support.pods import ask, serve_pod
from tests.support.seldon_env import microservice, seldon_python

COMPONENT = "mlflow_hydraulic.seldon_component.SeldonComponent"
# What Seldon's operator sets; metrics stay out of answers, as only a component with metrics of its own has them there.
OPERATOR = {
    "PREDICTIVE_UNIT_ID": "rig",
    "PREDICTIVE_UNIT_IMAGE": "rig:7",
    "INCLUDE_METRICS_IN_CLIENT_RESPONSE": "false",
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server that answers. prefix: before each path. grpc: its port, 0 where it has none."""

    port: int
    prefix: str = ""
    grpc: int = 0
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        return ask(self.port, method, self.prefix + path, body, **headers)


@contextlib.contextmanager
def peers(folder: Path) -> Iterator[dict[str, Peer]]:
    """All four, ready, by name. `seldon_env.NotMade` where Seldon's environment cannot be made."""
    python = seldon_python()
    model = folder / "model"
    flavor.save_model(forest(), model)
    with contextlib.ExitStack() as stack:
        found = {
            "microservice": stack.enter_context(_microservice(folder, python, model, raw=False)),
            "microservice-raw": stack.enter_context(_microservice(folder, python, model, raw=True)),
        }
        pod = stack.enter_context(serve_pod(folder / "pod", str(model), digest_folder(model)))
        found["pod"] = Peer(port=pod.http_port, grpc=pod.grpc_port, log=pod.log)
        found["seldon-local"] = stack.enter_context(_local(folder, model))
        pod.wait_ready()
        for name, peer in found.items():
            until(lambda peer=peer: _answers(peer), f"{name} answers: {peer.log.read_text()[-2000:]}")  # type: ignore[misc]
        yield found


@contextlib.contextmanager
def _microservice(folder: Path, python: Path, model: Path, *, raw: bool) -> Iterator[Peer]:
    values = {"model_uri": ("STRING", str(model)), "name": ("STRING", "rig"), "version": ("STRING", "7")}
    values["raw"] = ("BOOL", str(raw).lower())
    told = [{"name": name, "type": kind, "value": value} for name, (kind, value) in values.items()]
    http, grpc, metrics = free_port(), free_port(), free_port()
    ports = ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    command, environ = microservice(python, COMPONENT, "--parameters", json.dumps(told), *ports)
    log = folder / f"microservice-{raw}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env={**environ, **OPERATOR}, cwd=folder, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield Peer(port=http, grpc=grpc, log=log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # SIGTERM to the parent never ends it
        process.wait()


@contextlib.contextmanager
def _local(folder: Path, model: Path) -> Iterator[Peer]:
    home, digest = folder / "home", digest_folder(model)
    shutil.copytree(model, home / "models" / digest)
    target = LocalTarget(Settings(home=home, drain_timeout_s=2.0))
    version = ModelVersion(uri="models:/rig/7", name="rig", version="7", digest=digest)
    one = Predictor(name="default", model=version)
    made = target.apply(Deployment(name="rig", namespace="default", predictors=(one,)))
    port, _, prefix = made.url.removeprefix("http://127.0.0.1:").partition("/")
    try:
        yield Peer(port=int(port), prefix=f"/{prefix}".rstrip("/"), log=folder / "pod" / "log")
    finally:
        target.delete("default", "rig")


def _answers(peer: Peer) -> bool:
    try:
        return peer.ask("GET", "/health/ping")[0] == 200
    except OSError:
        return False
