"""Makes a bundle from a trained model; the flavor calls `build_bundle` when it saves, `hydraulic bundle build` by hand.

The bundle appears whole or not at all: it is written into a folder beside, which is renamed at the end.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from mlflow_hydraulic.bundle import manifest as files
from mlflow_hydraulic.bundle.baseline import make_baseline
from mlflow_hydraulic.bundle.certificate import Certificate, Progress, certify, no_progress
from mlflow_hydraulic.bundle.convert import Graph, convert
from mlflow_hydraulic.bundle.read import Bundle, Precision, read_bundle
from mlflow_hydraulic.bundle.rows import Rows
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.stored import pack
from mlflow_hydraulic.errors import BadInput, Conflict, Failed
from mlflow_hydraulic.rig.model import HydraulicModel

NO_GRAPH_TIE_RULE = "As the Python model: scikit-learn's argmax takes the first class of the largest probability."


def build_bundle(
    model: HydraulicModel,
    folder: Path,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Bundle:
    """Writes the bundle of `model` as `folder`, which must not exist or be empty, and reads it back.

    A model that does not convert, or whose certificate fails, gets a bundle without a graph and with the reason.
    Raises `Conflict` when `folder` holds something, `BadInput` for a model whose rows or labels do not fit its schema.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder}: exists and is not an empty folder: choose another place, or remove it first")
    background = background_rows(model)
    graph, certificate, reason = graph_of(model, background, seed=seed, progress=progress)
    contents = _contents(model, background, graph, certificate)
    manifest = _manifest(model, contents, certificate, graph, reason)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in {**contents, files.MANIFEST: files.canonical(manifest)}.items():
            (beside / name).write_bytes(content)
        beside.chmod(0o755)
        os.replace(beside, folder)  # noqa: PTH105 - replaces an empty folder too
    except OSError as error:
        raise Failed(f"{folder}: the bundle cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_bundle(folder)


def graph_of(
    model: HydraulicModel, background: Rows, *, seed: int, progress: Progress
) -> tuple[Graph | None, Certificate | None, str]:
    """The graph that passed, its certificate, and why there is none: double first, then float.

    When a graph was converted but failed, the certificate that says so is returned without it.
    """
    certificate: Certificate | None = None
    reasons: list[str] = []
    precisions: tuple[Precision, ...] = ("double", "float")
    for precision in precisions:
        try:
            graph = convert(model.estimator, model.schema, precision)
            certificate = certify(model.estimator, model.schema.names, graph, background, seed=seed, progress=progress)
        except Failed as error:
            reasons.append(f"in {precision}: {error}")
            continue
        if certificate.passed:
            return graph, certificate, ""
        reasons.append(f"in {precision}: the certificate failed: {'; '.join(certificate.problems)}")
    return None, certificate, "served by pyfunc, because " + "; ".join(reasons)


def background_rows(model: HydraulicModel) -> Rows:
    """The background as float64 (n, k); `BadInput` when it or the labels do not fit schema and estimator."""
    missing = [name for name in model.schema.names if name not in model.background.columns]
    if missing or not len(model.background):
        raise BadInput(f"background: has {len(model.background)} rows and lacks columns {missing}: it must have both")
    classes = [
        getattr(label, "item", lambda label=label: label)() for label in getattr(model.estimator, "classes_", ())
    ]
    if model.schema.labels and list(model.schema.labels) != classes:
        raise BadInput(f"labels {list(model.schema.labels)}: must be the estimator's classes_ in order, {classes}")
    if model.reference is not None and model.reference.names != model.schema.names:
        raise BadInput(
            f"reference: has the inputs {list(model.reference.names)}: must be those of the schema, in order"
        )
    rows = model.background[list(model.schema.names)].to_numpy(dtype=np.float64)
    if not np.isfinite(rows).all():
        raise BadInput("background: holds NaN or infinity: the certificate compares finite rows; drop these")
    return np.ascontiguousarray(rows)


def _contents(
    model: HydraulicModel, background: Rows, graph: Graph | None, certificate: Certificate | None
) -> dict[str, bytes]:
    array = io.BytesIO()
    np.save(array, background, allow_pickle=False)
    contents = {files.BACKGROUND: array.getvalue(), files.BASELINE: files.canonical(make_baseline(model))}
    if model.reference is not None:
        drift = Baseline(model.reference)
        drift.prepare()
        contents[files.DRIFT] = pack(drift.to_arrays())
    if graph is not None:
        contents[files.GRAPH] = graph.content
    if certificate is not None:
        contents[files.CERTIFICATE] = files.canonical(certificate.to_dict())
    return contents


def _manifest(
    model: HydraulicModel,
    contents: dict[str, bytes],
    certificate: Certificate | None,
    graph: Graph | None,
    reason: str,
) -> files.Json:
    return files.seal(
        {
            "format": files.FORMAT,
            "version": files.FORMAT_VERSION,
            "schema": model.schema.to_dict(),
            "graph": files.GRAPH if graph else None,
            "reason": reason,
            "precision": graph.precision if graph else "double",
            "origin": model.origin,
            "features": model.features,
            "tie_rule": certificate.tie_rule if certificate and graph else NO_GRAPH_TIE_RULE,
            "sample": _sample(model),
            "files": {
                name: {"sha256": files.digest_of(content), "bytes": len(content)} for name, content in contents.items()
            },
        }
    )


def _sample(model: HydraulicModel) -> list[int]:
    """The first background row of each predicted class, at least one row; all of the first three for a regression."""
    if not model.schema.labels:
        return list(range(min(3, len(model.background))))
    predicted = model.predict(model.background)
    return sorted(int(np.flatnonzero(predicted == label)[0]) for label in np.unique(predicted))
