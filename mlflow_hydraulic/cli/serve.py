"""`hydraulic serve`: one scorer process. People call it; targets start it (`python -m mlflow_hydraulic.cli serve`).

Imports stand in the functions: numeric libraries after the thread variables are set, MLflow only where it is needed.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.logs import Lines, settings_line
from mlflow_hydraulic.errors import BadInput, NotFound, Untrusted
from mlflow_hydraulic.settings import Settings, read_settings

if TYPE_CHECKING:
    import socket

    from mlflow_hydraulic.bundle.read import Bundle
    from mlflow_hydraulic.scoring.values import Engine, ModelCard

# Numeric libraries read these once, when they are loaded; each would else start a thread for every processor.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
BUNDLE = "bundle"

log = logging.getLogger("mlflow_hydraulic.serve")


@click.command()
@click.argument("model")
@click.option("--host", default=None, help="Address to listen on.  [default: the setting `host`, 127.0.0.1]")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--fd", default=None, type=int, help="Number of an inherited listening socket, instead of --port.")
@click.option("--name", default=None, help="Model name that answers show.  [default: taken from MODEL]")
@click.option(
    "--version", "version", default=None, help="Model version that answers show.  [default: from MODEL, or 0]"
)
@click.option("--digest", default=None, help="sha256 of the model's folder; any other model is refused.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "pyfunc"]),
    default="auto",
    show_default=True,
    help="onnx: the bundle's graph by onnxruntime. pyfunc: any MLflow model. auto: onnx where there is a graph.",
)
def serve(
    *,
    model: str,
    host: str | None,
    port: int,
    fd: int | None,
    name: str | None,
    version: str | None,
    digest: str | None,
    engine: str,
) -> None:
    """Serve MODEL (a folder or an MLflow URI) in four dialects on one port, until SIGTERM.

    \b
    Examples:
      hydraulic serve models:/hydraulic-cooler/1 --port 8080
      hydraulic serve ./model --port 0 --engine pyfunc
      curl localhost:8080/model/sample_request
    """
    settings = read_settings()
    told = settings_line(settings)
    _say_to_stderr()
    log.info("%s", told)
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(settings.threads))
    sys.dont_write_bytecode = True  # a model's own code must leave no file in its folder, which has a digest
    folder, found_name, found_version = _resolve(model)
    found_digest = _checked_digest(folder, digest)
    card, made = _load(
        folder, settings, engine, name=name or found_name, version=version or found_version, digest=found_digest
    )
    from mlflow_hydraulic.scoring.server import listen

    _run(card, made, settings, listen(host or settings.host, port, fd))


def _run(card: ModelCard, engine: Engine, settings: Settings, listener: socket.socket) -> None:
    import msgspec

    from mlflow_hydraulic.scoring.asgi import ScorerApp
    from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
    from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
    from mlflow_hydraulic.scoring.dialects.tutorial import TutorialDialect
    from mlflow_hydraulic.scoring.dialects.v2 import V2Dialect
    from mlflow_hydraulic.scoring.openapi import openapi_document
    from mlflow_hydraulic.scoring.server import serve as run

    dialects = (MlflowDialect(card), TutorialDialect(card), SeldonDialect(card), V2Dialect(card))
    document = msgspec.json.encode(openapi_document(card, dialects))
    app = ScorerApp(card, engine, dialects, settings, document=document)
    address = listener.getsockname()
    log.info("serving %s version %s on %s", card.name, card.version, f"http://{address[0]}:{address[1]}")
    run(app, listener, settings)
    log.info("stopped: every request that was accepted is answered")


def _load(
    folder: Path, settings: Settings, engine: str, *, name: str, version: str, digest: str
) -> tuple[ModelCard, Engine]:
    """The engine that was asked for, or the better one that the model allows, with the reason in the log."""
    bundle, reason = _bundle(folder)
    if engine == "onnx" and (bundle is None or bundle.graph is None):
        raise BadInput(f'--engine onnx: {folder}: {reason}; use "--engine pyfunc" or "--engine auto"')
    if bundle is None or bundle.graph is None or engine == "pyfunc":
        reason = "it was asked for" if engine == "pyfunc" else reason
        log.info("engine pyfunc, because %s", reason)
        from mlflow_hydraulic.plugin.pyfunc_engine import load_pyfunc

        return load_pyfunc(folder, name=name, version=version, digest=digest, bundle=bundle)
    import onnxruntime

    from mlflow_hydraulic.scoring.onnx_engine import OnnxEngine
    from mlflow_hydraulic.scoring.values import ModelCard

    made = OnnxEngine(bundle, threads=settings.threads)
    log.info(
        "engine onnxruntime %s, because the bundle has a graph with a certificate; %d threads, %s",
        onnxruntime.__version__,
        settings.threads,
        "concurrent requests share calls" if made.shares_calls else "each request has a call of its own",
    )
    card = ModelCard(
        name=name,
        version=version,
        digest=digest,
        engine="onnxruntime",
        schema=bundle.schema,
        origin=bundle.origin,
        sample=bundle.sample,
        background=bundle.background,
    )
    return card, made


def _bundle(folder: Path) -> tuple[Bundle | None, str]:
    """The model's bundle, if it has one, and why there is no graph to score with."""
    from mlflow_hydraulic.bundle.read import read_bundle

    if not (folder / BUNDLE).is_dir():
        return None, "the model has no bundle"
    bundle = read_bundle(folder / BUNDLE)
    return bundle, bundle.reason or "its bundle has no graph"


def _resolve(model: str) -> tuple[Path, str, str]:
    """The model's folder, fetched by MLflow when MODEL is a URI, and the name and version that MODEL tells."""
    if "://" not in model and not model.startswith(("models:", "runs:")):
        folder = Path(model).expanduser()
        if not (folder / "MLmodel").is_file():
            raise NotFound(f"{folder}: no MLflow model is here (no file MLmodel); give its folder or an MLflow URI")
        return folder, folder.resolve().name, "0"
    from mlflow_hydraulic.plugin.pyfunc_engine import fetch_model

    return fetch_model(model)


def _checked_digest(folder: Path, digest: str | None) -> str:
    from mlflow_hydraulic.bundle.digest import digest_folder

    found = digest_folder(folder)
    if digest is not None and digest != found:
        raise Untrusted(f"{folder}: its digest is {found}, not {digest}: this is another model, so it is not served")
    return found


def _say_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
