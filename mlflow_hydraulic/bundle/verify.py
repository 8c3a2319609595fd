"""Does a bundle say the truth about its Python model? Everything is made again and compared, field by field.

`hydraulic bundle verify` and the tests call `verify_bundle`. It compares the stored graph itself with the model, so it
also tells whether the graph is right where the libraries are newer than those that built it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlflow_hydraulic.bundle.baseline import make_baseline
from mlflow_hydraulic.bundle.build import background_rows, graph_of
from mlflow_hydraulic.bundle.certificate import Certificate, Progress, certify, environment, no_progress
from mlflow_hydraulic.bundle.convert import convert, graph_from
from mlflow_hydraulic.bundle.manifest import BASELINE, CERTIFICATE, DRIFT, GRAPH, MANIFEST, Json
from mlflow_hydraulic.bundle.read import Bundle, read_bundle
from mlflow_hydraulic.bundle.rows import Rows
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.errors import BadInput, Failed, Untrusted
from mlflow_hydraulic.rig.model import HydraulicModel

MEASURED = {"rows", "rows_sha256", "largest_difference", "largest_ulp", "flips", "ties", "exact_ties"}
SHOWN = 20  # mismatches in a message
CLOSE = 1e-9  # relative, between numbers that different libraries computed


def verify_bundle(folder: Path, model: HydraulicModel, *, progress: Progress = no_progress) -> Certificate | None:
    """The certificate made again, when all fields of the bundle fit `model`; None when there is nothing to certify.

    `Untrusted` names each field that does not fit, or the file whose digest differs. Where the libraries or the
    processor are others than at the build, measured numbers may differ, but must keep the bounds.
    """
    folder = Path(folder)
    bundle = read_bundle(folder)
    model = replace(model, reference=bundle.read_reference())  # the model itself does not keep it
    background = background_rows(model)
    stored = bundle.read_certificate()
    alike = stored is not None and stored.get("environment") == environment()
    found = _different("schema", bundle.schema.to_dict(), model.schema.to_dict())
    found += _different(f"{MANIFEST}: origin", bundle.origin, model.origin)
    found += _different(f"{MANIFEST}: features", bundle.features, model.features)
    if not np.array_equal(bundle.background, background):
        found.append(f"background.npy: {bundle.background.shape} rows are not the model's {background.shape}")
    exact = alike or stored is None
    certificate, problems = _certificate(bundle, model, background, stored, alike=alike, progress=progress)
    found += sorted(problems, key=lambda line: not line.startswith(f"{CERTIFICATE}: digests"))  # the cause comes first
    found += _baseline(bundle, make_baseline(model), close=0 if exact else CLOSE)
    found += _thresholds(bundle, close=0 if exact else CLOSE)
    _raise_if_any(folder, found)
    return certificate


def _raise_if_any(folder: Path, found: list[str]) -> None:
    if found:
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise Untrusted(f"{folder}: the bundle does not fit the model: {'; '.join([*found[:SHOWN], *more])}")


def _baseline(bundle: Bundle, made: Json, *, close: float) -> list[str]:
    stored = bundle.read_baseline()
    if stored.get("version") == 1:  # which had no series
        made = {**{key: value for key, value in made.items() if key != "series"}, "version": 1}
    return _different(BASELINE, stored, made, close=close)


def _thresholds(bundle: Bundle, *, close: float) -> list[str]:
    """Drift is calibrated again from the stored training rows."""
    stored = bundle.read_drift()
    if stored is None:
        return []
    again = Baseline(stored.reference)
    again.prepare()
    kept, made = stored.to_arrays(), again.to_arrays()
    close = max(close, 1e-6)  # of linear algebra on another processor
    return [
        f"{DRIFT}: {name}: calibrated again it is another"
        for name in sorted({*kept, *made})
        if name not in kept or name not in made or not np.allclose(kept[name], made[name], close, close, equal_nan=True)
    ][:1]


def _certificate(
    bundle: Bundle, model: HydraulicModel, background: Rows, stored: Json | None, *, alike: bool, progress: Progress
) -> tuple[Certificate | None, list[str]]:
    seed = _seed(stored)
    if bundle.graph is None:
        graph, again, _ = graph_of(model, background, seed=seed, progress=progress)
        if graph is not None:
            return again, [f"{MANIFEST}: graph is null, but the model converts here: build the bundle anew"]
        if stored is None or again is None:
            return again, _different(CERTIFICATE, stored, again and again.to_dict()) if alike else []
        return again, _against(stored, again, alike=alike)
    graph, problems = graph_from(bundle.read_graph()), []
    again = certify(model.estimator, model.schema.names, graph, background, seed=seed, progress=progress)
    if alike:
        problems = _same_bytes(model, bundle)
    problems += _different(f"{MANIFEST}: precision", bundle.precision, graph.precision)
    problems += _different(f"{MANIFEST}: tie_rule", bundle.tie_rule, again.tie_rule)
    problems += [f"{GRAPH}: {problem}" for problem in again.problems]
    return again, problems + _against(stored or {}, again, alike=alike)


def _seed(stored: Json | None) -> int:
    seed = (stored or {"seed": 0}).get("seed")
    if not isinstance(seed, int) or seed < 0:
        raise BadInput(f"{CERTIFICATE}: seed={seed!r}: must be an integer, 0 or more")
    return seed


def _same_bytes(model: HydraulicModel, bundle: Bundle) -> list[str]:
    try:
        content = convert(model.estimator, model.schema, bundle.precision).content
    except Failed as error:
        return [f"{GRAPH}: the model does not convert here: {error}"]
    return [] if content == bundle.read_graph() else [f"{GRAPH}: the model converts to other bytes"]


def _against(stored: Json, again: Certificate, *, alike: bool) -> list[str]:
    made: Json = again.to_dict()
    if alike:
        return _different(CERTIFICATE, stored, made)
    return _different(CERTIFICATE, _lasting(stored), _lasting(made))


def _lasting(certificate: Json) -> Json:
    """What must be equal wherever it is computed: not versions, nor numbers measured."""
    kept = {key: value for key, value in certificate.items() if key not in {"environment", "summary", "problems"}}
    kept["passed"] = certificate["summary"]["passed"]  # `read_bundle` has seen that it is there
    kept["groups"] = [
        {key: value for key, value in group.items() if group.get("name") == "training" or key not in MEASURED}
        | dict.fromkeys(MEASURED - {"rows", "rows_sha256"})
        for group in certificate.get("groups", [])
        if isinstance(group, dict)
    ]
    return kept


def _different(where: str, stored: object, made: object, *, close: float = 0.0) -> list[str]:
    """One line for each leaf at which two JSON values differ; floats may by the relative amount `close`."""
    if isinstance(stored, dict) and isinstance(made, dict):
        keys = sorted({*stored, *made})
        return [
            line for key in keys for line in _different(f"{where}: {key}", stored.get(key), made.get(key), close=close)
        ]
    if isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
        pairs = enumerate(zip(stored, made, strict=True))
        return [line for i, (a, b) in pairs for line in _different(f"{where}[{i}]", a, b, close=close)]
    if (
        isinstance(stored, float)
        and isinstance(made, float)
        and math.isclose(stored, made, rel_tol=close, abs_tol=close)
    ):
        return []
    return [] if stored == made else [f"{where}: stored {_short(stored)}, made again {_short(made)}"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
