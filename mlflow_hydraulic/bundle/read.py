"""Reads a bundle: the portable scoring artefact that lies as `bundle/` inside a saved model.

The scorer, the local target and `hydraulic bundle` call `read_bundle`. Only the standard library and numpy are
imported here, so that a scorer starts quickly.

A bundle is a folder:

    bundle.json        the manifest: format, schema, precision, tie rule, and size and sha256 of each other file
    model.onnx         the graph; absent when `graph` in the manifest is null, and `reason` then says why
    background.npy     float64 (n, k): training rows, columns in the order of the schema
    baseline.json      what inputs and outputs looked like (`bundle.baseline`)
    drift.npz          what drift is judged by (`drift.stored`); absent from models of older versions
    certificate.json   the parity certificate (`bundle.certificate`); absent when nothing was converted

The graph's contract (ONNX, one row or many; `None` is the number of rows, k inputs, c classes):

    input   X              float64 [None, k] when `precision` is "double", float32 [None, k] when "float";
                           columns in the order of `schema.inputs`
    output  label          [None]: int64 when the labels are integers, strings when they are strings
    output  probabilities  [None, c], of the input's type; columns in the order of `schema.labels`, which is the
                           order of the estimator's `classes_`; a tensor, no ZipMap

A graph is there only when its certificate passed.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.bundle.manifest import (
    BACKGROUND,
    BASELINE,
    CERTIFICATE,
    DRIFT,
    LARGEST_FILE,
    MANIFEST,
    Json,
    check_digest,
    check_files,
    read_json,
    read_manifest,
    read_whole,
    take,
)
from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.drift.stored import read_reference, unpack
from mlflow_hydraulic.errors import BadData, BadInput, NotFound
from mlflow_hydraulic.schema import Schema

if TYPE_CHECKING:
    from mlflow_hydraulic.drift import baseline as drift

Precision = Literal["double", "float"]
BASELINE_VERSIONS = (1, 2)
NO_REFERENCE = (
    "this model version was saved without training rows to judge drift by (by an older version of this package, or "
    "from fewer than 30 rows): train and register it anew with `hydraulic train`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSummary:
    """The parity certificate in a few numbers, over all its groups of rows.

    largest_difference: of a probability, absolute. largest_ulp: the same in units in the last place.
    flips: rows whose label differs between Python and graph. ties: of these, how many are ties of probabilities.
    """

    passed: bool
    rows: int
    largest_difference: float
    largest_ulp: int
    flips: int
    ties: int


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was read and found whole.

    graph: the ONNX file, or None: then `reason` says why, and the model is served by pyfunc.
    background: float64 (n, k), training rows. sample: float64 (a few, k), rows for sample requests.
    digest: sha256 of the manifest's content, which names the sha256 of every other file (`files`).
    """

    folder: Path
    schema: Schema
    graph: Path | None
    reason: str
    precision: Precision
    background: NDArray[np.float64] = field(repr=False)
    sample: NDArray[np.float64] = field(repr=False)
    origin: str
    target: str
    features: str
    tie_rule: str
    digest: str
    certificate: CertificateSummary | None
    files: dict[str, str] = field(repr=False)

    def read_graph(self) -> bytes:
        """The graph's bytes, checked against their digest once more; `NotFound` when the bundle has none.

        Load the session from these: onnxruntime then follows no reference to a file outside.
        """
        if self.graph is None:
            raise NotFound(f"{self.folder}: the bundle has no graph: {self.reason}")
        content = read_whole(self.graph, largest=LARGEST_FILE)
        check_digest(self.graph, content, self.files[self.graph.name])
        return content

    def read_baseline(self) -> Json:
        """The baseline of inputs and outputs, as `bundle.baseline` describes it."""
        baseline = read_json(self.folder / BASELINE)
        if baseline.get("version") not in BASELINE_VERSIONS:
            raise BadInput(
                f"{self.folder / BASELINE}: format version {baseline.get('version')!r}: this program reads "
                f"versions {BASELINE_VERSIONS}; upgrade mlflow-hydraulic"
            )
        return baseline

    def read_reference(self) -> Reference | None:
        """The training rows that drift and single rows are judged by; None when the bundle has none.

        `Untrusted` when the file's digest differs, `BadData` or `BadInput` when it does not hold what it should.
        """
        content = self._drift_file()
        return None if content is None else read_reference(content, self.schema.names)

    def read_drift(self) -> drift.Baseline | None:
        """The same with its calibrations, ready to judge windows; where it is None, `NO_REFERENCE` tells people why."""
        content = self._drift_file()
        if content is None:
            return None
        from mlflow_hydraulic.drift.baseline import baseline_from  # needs scipy, a scorer does not

        return baseline_from(unpack(content), self.schema.names)

    def _drift_file(self) -> bytes | None:
        if DRIFT not in self.files:
            return None
        content = read_whole(self.folder / DRIFT, largest=LARGEST_FILE)
        check_digest(self.folder / DRIFT, content, self.files[DRIFT])
        return content

    def read_certificate(self) -> Json | None:
        """The whole parity certificate, as `bundle.certificate` describes it; None when nothing was converted."""
        return read_json(self.folder / CERTIFICATE) if CERTIFICATE in self.files else None


def read_bundle(folder: Path, *, verify_digests: bool = True) -> Bundle:
    """The bundle in `folder`.

    `verify_digests=False` skips hashing all files but the manifest; sizes are always checked.
    Raises `NotFound` for a missing folder or file, `Untrusted` naming the file whose digest or size differs,
    `BadData` for a malformed one, `BadInput` for a format version that this program does not know.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    files = check_files(folder, manifest, verify_digests=verify_digests)
    for name in (BACKGROUND, BASELINE):
        if name not in files:
            raise BadData(MANIFEST, f"files: {name!r} is missing")
    schema = _schema(manifest)
    background = _background(folder / BACKGROUND, len(schema.inputs))
    return Bundle(
        folder=folder,
        schema=schema,
        graph=_graph(folder, manifest, files),
        reason=take(MANIFEST, manifest, "reason", str),
        precision=_precision(manifest),
        background=background,
        sample=_sample(manifest, background),
        origin=take(MANIFEST, manifest, "origin", str),
        target=schema.target,
        features=take(MANIFEST, manifest, "features", str),
        tie_rule=take(MANIFEST, manifest, "tie_rule", str),
        digest=take(MANIFEST, manifest, "digest", str),
        certificate=_summary(read_json(folder / CERTIFICATE)) if CERTIFICATE in files else None,
        files=files,
    )


def _schema(manifest: Json) -> Schema:
    value = take(MANIFEST, manifest, "schema", dict)
    try:
        schema = Schema.from_dict(value)
    except (KeyError, TypeError, AttributeError, BadInput) as error:
        raise BadData(MANIFEST, f"schema: {type(error).__name__}: {error}") from error
    if not schema.inputs or not schema.numeric:
        raise BadData(MANIFEST, "schema: a bundle takes one or more inputs, all of them numbers")
    return schema


def _graph(folder: Path, manifest: Json, files: dict[str, str]) -> Path | None:
    name = manifest.get("graph")
    if name is None:
        return None
    if not isinstance(name, str) or name not in files:
        raise BadData(MANIFEST, f"graph={name!r}: must be one of its files, or null")
    if CERTIFICATE not in files:
        raise BadData(MANIFEST, f"graph={name!r}: a graph needs a certificate beside it")
    return folder / name


def _precision(manifest: Json) -> Precision:
    value = take(MANIFEST, manifest, "precision", str)
    if value == "double":
        return "double"
    if value == "float":
        return "float"
    raise BadData(MANIFEST, f"precision={value!r}: must be 'double' or 'float'")


def _background(path: Path, columns: int) -> NDArray[np.float64]:
    try:
        rows = np.load(io.BytesIO(read_whole(path, largest=LARGEST_FILE)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, SyntaxError) as error:
        raise BadData(path.name, f"not a numpy array file: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != columns:
        found = f"{getattr(rows, 'dtype', None)} {getattr(rows, 'shape', None)}"
        raise BadData(path.name, f"holds {found}: must be float64 (rows, {columns})")
    return rows


def _sample(manifest: Json, background: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = take(MANIFEST, manifest, "sample", list)
    if any(type(row) is not int or not 0 <= row < len(background) for row in rows):
        raise BadData(MANIFEST, f"sample={rows!r}: must be row numbers of {BACKGROUND}, 0 to {len(background) - 1}")
    return background[np.array(rows, dtype=np.intp)]


def _summary(certificate: Json) -> CertificateSummary:
    value = take(CERTIFICATE, certificate, "summary", dict)
    difference = take(CERTIFICATE, value, "largest_difference", float)
    if not math.isfinite(difference):
        raise BadData(CERTIFICATE, f"largest_difference={difference}: must be finite")
    return CertificateSummary(
        passed=take(CERTIFICATE, value, "passed", bool),
        rows=take(CERTIFICATE, value, "rows", int),
        largest_difference=difference,
        largest_ulp=take(CERTIFICATE, value, "largest_ulp", int),
        flips=take(CERTIFICATE, value, "flips", int),
        ties=take(CERTIFICATE, value, "ties", int),
    )
