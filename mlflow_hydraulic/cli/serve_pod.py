"""`hydraulic serve-pod`: what the scorer's image runs. The manifests write its variables, `kubernetes.pod` names them.

Listens at once; fetches one pinned model, checks its digest, loads it and warms it up; then it is ready. It never
builds an environment and writes nothing outside HYDRAULIC_HOME and /tmp.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.engine import load_engine, make_app, prepare_process, say_to_stderr
from mlflow_hydraulic.cli.logs import settings_line
from mlflow_hydraulic.cli.pod_shipping import shipped
from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.errors import BadInput, Failed, HydraulicError
from mlflow_hydraulic.settings import Settings, read_settings

if TYPE_CHECKING:
    from mlflow_hydraulic.scoring.asgi import ScorerApp
    from mlflow_hydraulic.scoring.grpc_server import GrpcServer
    from mlflow_hydraulic.scoring.pod_server import Front
    from mlflow_hydraulic.scoring.values import Engine, ModelCard

DIGEST = re.compile(r"[0-9a-f]{64}")
ENGINES = ("auto", "onnx", "pyfunc")
HEADER = re.compile(r"[!-~]+")
WARM_UPS = 5
MESSAGE_BYTES = 4096  # what Kubernetes keeps of a termination message

log = logging.getLogger("mlflow_hydraulic.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the pod was told to serve and where; made of its variables."""

    uri: str
    digest: str
    name: str
    version: str
    engine: str = "auto"
    predictor: str = ""
    http_port: int = pod.HTTP_PORT
    grpc_port: int = pod.GRPC_PORT  # 0 serves no gRPC


@click.command("serve-pod")
@click.option(
    "--linger",
    default=3.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds in which connections are still accepted after SIGTERM, while the cluster stops sending.",
)
@click.option(
    "--termination-log",
    default="/dev/termination-log",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the cause of a failed start is written, if that file is there: Kubernetes shows it.",
)
def serve_pod(*, linger: float, termination_log: Path) -> None:
    """Serve the model that the variables name: HTTP in four dialects, Seldon v1 over gRPC, until SIGTERM.

    \b
    HYDRAULIC_MODEL_URI      models:/NAME/VERSION, s3://, gs://, abfs(s)://, http(s)://, mlflow-artifacts:/, a folder
    HYDRAULIC_MODEL_DIGEST   sha256 of its files; any other model is refused
    HYDRAULIC_MODEL_NAME, HYDRAULIC_MODEL_VERSION, HYDRAULIC_PREDICTOR   what answers show
    HYDRAULIC_ENGINE         auto, onnx or pyfunc
    HYDRAULIC_HTTP_PORT, HYDRAULIC_GRPC_PORT   9000 and 9500; gRPC on 0 is off
    HYDRAULIC_HOST, HYDRAULIC_HOME, HYDRAULIC_DRAIN_TIMEOUT_S, HYDRAULIC_START_TIMEOUT_S and the other settings
    MLFLOW_TRACKING_URI      where models:/ and mlflow-artifacts:/ are found

    \b
    Example:
      HYDRAULIC_MODEL_URI=./model HYDRAULIC_MODEL_DIGEST=$(hydraulic bundle digest ./model) hydraulic serve-pod
      curl localhost:9000/ready
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as process 1 it would else not be heard before uvicorn's
    try:
        _serve(read_order(os.environ), read_settings(), linger, time.perf_counter())
    except HydraulicError as error:
        leave_message(termination_log, str(error))
        raise


def read_order(environ: Mapping[str, str]) -> Order:
    """The order in the variables; `BadInput` names the one that is missing or wrong."""
    uri, digest = (environ.get(name, "") for name in (pod.MODEL_URI, pod.MODEL_DIGEST))
    if not uri:
        raise BadInput(f"{pod.MODEL_URI} is not set: say which model to serve, {pod.MODEL_URI}=models:/NAME/VERSION")
    if not DIGEST.fullmatch(digest):
        raise BadInput(
            f"{pod.MODEL_DIGEST}={digest!r}: must be the sha256 of the model's files, 64 of 0-9 a-f; "
            '"mlflow deployments get" shows it'
        )
    engine = environ.get(pod.ENGINE) or "auto"
    if engine not in ENGINES:
        raise BadInput(f"{pod.ENGINE}={engine!r}: use one of {', '.join(ENGINES)}")
    predictor = environ.get(pod.PREDICTOR, "")
    if predictor and not HEADER.fullmatch(predictor):
        raise BadInput(f"{pod.PREDICTOR}={predictor!r}: goes into a header: printable ASCII without spaces")
    return Order(
        uri=uri,
        digest=digest,
        name=environ.get(pod.MODEL_NAME) or pod.NODE,
        version=environ.get(pod.MODEL_VERSION) or "0",
        engine=engine,
        predictor=predictor,
        http_port=_port(environ, pod.HTTP_PORT_VARIABLE, pod.HTTP_PORT, lowest=1),
        grpc_port=_port(environ, pod.GRPC_PORT_VARIABLE, pod.GRPC_PORT, lowest=0),
    )


def leave_message(file: Path, cause: str) -> None:
    """Write the cause where Kubernetes looks for it; a file that is not there is not made."""
    if not file.exists():
        return
    try:
        file.write_bytes(cause.encode("utf-8", "replace")[:MESSAGE_BYTES])
    except OSError as error:
        log.warning("the cause cannot be written to %s: %s", file, error)


def _serve(order: Order, settings: Settings, linger_s: float, started: float) -> None:
    say_to_stderr()
    log.info("%s", settings_line(settings))
    log.info("%s", printable(str(order)))
    prepare_process(settings)
    from mlflow_hydraulic.scoring.pod_server import Front, PodServer
    from mlflow_hydraulic.scoring.server import listen

    listener = listen(settings.host, order.http_port)
    server = PodServer(
        Front(),
        partial(_prepare, order, settings, started),
        partial(_open_grpc, order, settings),
        drain_timeout_s=settings.drain_timeout_s,
        ending_s=min(linger_s, settings.drain_timeout_s / 2),
    )
    with shipped(settings):
        server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure
    log.info("stopped: every request that was accepted is answered")


async def _prepare(order: Order, settings: Settings, started: float, front: Front) -> ScorerApp:
    """The scorer of the ordered model, warm. What takes long runs beside the loop, which answers probes meanwhile."""
    from mlflow_hydraulic.plugin.delivery import deliver

    def tell(doing: str) -> None:
        front.doing = doing
        log.info("%s, %.1f s after the start", doing, time.perf_counter() - started)

    imports = asyncio.create_task(asyncio.to_thread(_import_libraries, grpc=_speaks_grpc(order)))
    folder = await deliver(order.uri, settings.home, order.digest, tell=tell, patience_s=settings.start_timeout_s)
    await imports
    tell("loading the model")
    card, engine = await asyncio.to_thread(_load, folder, settings, order)
    tell("warming up")
    await asyncio.to_thread(warm_up, card, engine)
    app = make_app(card, engine, settings, aliases=_aliases(card), headers=_headers(order))
    log.info("serving %s version %s, %.1f s after the start", card.name, card.version, time.perf_counter() - started)
    return app


def _load(folder: Path, settings: Settings, order: Order) -> tuple[ModelCard, Engine]:
    try:
        return load_engine(folder, settings, order.engine, name=order.name, version=order.version, digest=order.digest)
    except ImportError as error:
        raise Failed(
            f"model {order.uri!r} needs {error.name}, which is not installed here: it has no bundle that the small "
            "image could serve; use an image built with VARIANT=pyfunc, or one that adds what the model needs"
        ) from error


def warm_up(card: ModelCard, engine: Engine) -> None:
    """Score the model's own sample a few times, alone and together; `Failed` when it cannot."""
    if not len(card.sample):
        return
    try:
        for _ in range(WARM_UPS):
            engine.score(card.sample[:1])
            engine.score(card.sample)
    except Exception as error:  # a model may raise anything, and one that fails on its own sample is of no use
        raise Failed(f"the model cannot score its own sample rows: {type(error).__name__}: {error}") from error


def _import_libraries(*, grpc: bool) -> None:
    """While the model is on its way: what takes most of a start."""
    ours = ("bundle.read", "scoring.openapi", "scoring.grpc_server") if grpc else ("bundle.read", "scoring.openapi")
    for module in ("onnxruntime", *(f"mlflow_hydraulic.{name}" for name in ours)):
        import_module(module)


def _speaks_grpc(order: Order) -> bool:
    return order.grpc_port != 0 and all(
        find_spec(module) is not None for module in ("grpc", "google", "google.protobuf")
    )


async def _open_grpc(order: Order, settings: Settings, app: ScorerApp) -> GrpcServer | None:
    if not _speaks_grpc(order):
        if order.grpc_port:
            log.warning('no gRPC: grpcio and protobuf are not installed; "pip install mlflow-hydraulic[grpc]"')
        return None
    from mlflow_hydraulic.scoring.grpc_server import GrpcServer

    server = GrpcServer(app, max_message_bytes=int(settings.max_body_mb * 1e6))
    port = await server.open(settings.host, order.grpc_port)
    log.info("gRPC on port %d", port)
    return server


def _aliases(card: ModelCard) -> dict[str, str]:
    """The paths under the graph node's name, by which Seldon's orchestrator calls V2, and gRPC's methods."""
    from mlflow_hydraulic.scoring.dialects.seldon_paths import GRPC_PATHS

    node, model = f"/v2/models/{pod.NODE}", f"/v2/models/{card.name}"
    of_version = f"/versions/{card.version}"
    tails = (f"{version}{tail}" for version in ("", of_version) for tail in ("", "/ready", "/infer"))
    return {**{node + tail: model + tail for tail in tails if node != model}, **GRPC_PATHS}


def _headers(order: Order) -> list[tuple[bytes, bytes]]:
    return [(b"x-hydraulic-predictor", order.predictor.encode())] if order.predictor else []


def _port(environ: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= 65535:
        raise BadInput(f"{name}={text!r}: must be a port, {lowest} to 65535")
    return int(text)
