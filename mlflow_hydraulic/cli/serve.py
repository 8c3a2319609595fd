"""`hydraulic serve`: one scorer process. People call it; targets start it (`python -m mlflow_hydraulic.cli serve`).

Imports stand in the functions: numeric libraries after the thread variables are set, MLflow only where it is needed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.engine import checked_digest, load_engine, make_app, prepare_process, say_to_stderr
from mlflow_hydraulic.cli.logs import settings_line
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.settings import Settings, read_settings

if TYPE_CHECKING:
    import socket

    from mlflow_hydraulic.scoring.values import Engine, ModelCard

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
    say_to_stderr()
    log.info("%s", told)
    prepare_process(settings)
    folder, found_name, found_version = _resolve(model)
    found_digest = checked_digest(folder, digest)
    card, made = load_engine(
        folder, settings, engine, name=name or found_name, version=version or found_version, digest=found_digest
    )
    from mlflow_hydraulic.scoring.server import listen

    _run(card, made, settings, listen(host or settings.host, port, fd))


def _run(card: ModelCard, engine: Engine, settings: Settings, listener: socket.socket) -> None:
    from mlflow_hydraulic.scoring.server import serve as run

    app = make_app(card, engine, settings)
    address = listener.getsockname()
    log.info("serving %s version %s on %s", card.name, card.version, f"http://{address[0]}:{address[1]}")
    run(app, listener, settings)
    log.info("stopped: every request that was accepted is answered")


def _resolve(model: str) -> tuple[Path, str, str]:
    """The model's folder, fetched by MLflow when MODEL is a URI, and the name and version that MODEL tells."""
    if "://" not in model and not model.startswith(("models:", "runs:")):
        folder = Path(model).expanduser()
        if not (folder / "MLmodel").is_file():
            raise NotFound(f"{folder}: no MLflow model is here (no file MLmodel); give its folder or an MLflow URI")
        return folder, folder.resolve().name, "0"
    from mlflow_hydraulic.plugin.pyfunc_engine import fetch_model

    return fetch_model(model)
