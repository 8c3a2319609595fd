"""From a model's folder to a scorer's application, for the commands that serve: `serve` and `serve-pod`.

Imports stand in the functions: numeric libraries after the thread variables are set, MLflow only where it is needed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_hydraulic.cli.logs import Lines
from mlflow_hydraulic.errors import BadInput, Untrusted
from mlflow_hydraulic.settings import Settings

if TYPE_CHECKING:
    from mlflow_hydraulic.bundle.read import Bundle
    from mlflow_hydraulic.scoring.asgi import ScorerApp
    from mlflow_hydraulic.scoring.values import Engine, ModelCard

# Numeric libraries read these once, when they are loaded; each would else start a thread for every processor.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
BUNDLE = "bundle"

log = logging.getLogger("mlflow_hydraulic.serve")


def prepare_process(settings: Settings) -> None:
    """What must be set before the numeric libraries and a model's own code are imported."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(settings.threads))
    sys.dont_write_bytecode = True  # a model's own code must leave no file in its folder, which has a digest


def say_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def checked_digest(folder: Path, digest: str | None) -> str:
    """The digest of the folder; `Untrusted` when another was asked for."""
    from mlflow_hydraulic.bundle.digest import digest_folder

    found = digest_folder(folder)
    if digest is not None and digest != found:
        raise Untrusted(f"{folder}: its digest is {found}, not {digest}: this is another model, so it is not served")
    return found


def load_engine(
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

        card, loaded = load_pyfunc(folder, name=name, version=version, digest=digest, bundle=bundle)
        return card, flagging(loaded, bundle) if card.schema.numeric else loaded
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
    return card, flagging(made, bundle)


def flagging(engine: Engine, bundle: Bundle | None) -> Engine:
    """The engine, flagging rows unlike the training data where the bundle holds some of it."""
    reference = None if bundle is None else bundle.read_reference()
    if reference is None:
        log.info("rows unlike the training data are not flagged: the model was saved without training rows")
        return engine
    from mlflow_hydraulic.drift.rows import RowCheck
    from mlflow_hydraulic.scoring.flagging import FlaggingEngine

    return FlaggingEngine(engine, RowCheck(reference))


def make_app(
    card: ModelCard,
    engine: Engine,
    settings: Settings,
    *,
    aliases: Mapping[str, str] | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> ScorerApp:
    """The application with all dialects. `aliases`, `headers`: see `ScorerApp`."""
    import msgspec

    from mlflow_hydraulic.record.recorder import open_recorder
    from mlflow_hydraulic.scoring.asgi import ScorerApp
    from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
    from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
    from mlflow_hydraulic.scoring.dialects.tutorial import TutorialDialect
    from mlflow_hydraulic.scoring.dialects.v2 import V2Dialect
    from mlflow_hydraulic.scoring.openapi import openapi_document

    dialects = (MlflowDialect(card), TutorialDialect(card), SeldonDialect(card), V2Dialect(card))
    document = msgspec.json.encode(openapi_document(card, dialects))
    recorder = open_recorder(
        settings,
        model=card.name,
        version=card.version,
        digest=card.digest,
        schema=card.schema,
        background=card.background,
    )
    return ScorerApp(
        card,
        engine,
        dialects,
        settings,
        document=document,
        aliases=aliases or {},
        headers=headers,
        recorder=recorder,
    )


def _bundle(folder: Path) -> tuple[Bundle | None, str]:
    """The model's bundle, if it has one, and why there is no graph to score with."""
    from mlflow_hydraulic.bundle.read import read_bundle

    if not (folder / BUNDLE).is_dir():
        return None, "the model has no bundle"
    bundle = read_bundle(folder / BUNDLE)
    return bundle, bundle.reason or "its bundle has no graph"
