"""The parity certificate: how the ONNX graph differs from the Python estimator, on rows chosen to find differences.

`bundle.build` writes it as `certificate.json`, `bundle.verify` makes it again. It holds no time and no path: the same
estimator, graph, rows, seed and libraries give the same bytes.

    format, version    "mlflow-hydraulic-certificate", 1
    bounds             largest_difference of a probability that passes; tie: a flip counts as a tie when Python's own
                       probabilities of the two labels differ by no more than this; ulp_of: the type in which ulps are
                       counted, over probabilities of 1e-6 and more
    groups             per group of rows, of which the first 32 are scored one at a time: rows, sha256 of the rows,
                       largest_difference, largest_ulp, flips (rows whose label differs), ties (of these),
                       exact_ties (of these, with equal probabilities)
    digests            sha256 of graph, estimator (`bundle.fingerprint`) and background rows
    environment        versions of the libraries that computed it, and the kind of processor
    tie_rule, seed     in words; the seed of the random rows
    summary            the same over all groups, and the verdict `passed`
    problems           why it did not pass, in words
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.bundle.convert import Graph, open_session, run
from mlflow_hydraulic.bundle.fingerprint import estimator_digest, rows_digest
from mlflow_hydraulic.bundle.manifest import Json, digest_of
from mlflow_hydraulic.bundle.read import CertificateSummary
from mlflow_hydraulic.bundle.rows import Rows, groups

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

FORMAT = "mlflow-hydraulic-certificate"
FORMAT_VERSION = 1
LIBRARIES = ("scikit-learn", "numpy", "scipy", "onnx", "onnxruntime", "skl2onnx")
ULP_FROM = 1e-6  # below, ulps count rounding in 1 - p, not a difference that anybody could see
ALONE = 32  # rows of each group that are scored one at a time, as most requests are
CHUNK = 1000  # rows compared at once: bounds memory for wide frames

Progress = Callable[[str], None]


def no_progress(_: str) -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What passes; see the module's docstring for the fields."""

    largest_difference: float
    tie: float
    ulp_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group of rows compared; see the module's docstring for the fields."""

    name: str
    rows: int
    rows_sha256: str
    largest_difference: float
    largest_ulp: int
    flips: int
    ties: int
    exact_ties: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parity certificate; `to_dict` is what `certificate.json` holds."""

    bounds: Bounds
    groups: tuple[Group, ...]
    digests: dict[str, str]
    environment: dict[str, str]
    precision: str
    tie_rule: str
    seed: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def summary(self) -> CertificateSummary:
        return CertificateSummary(
            passed=self.passed,
            rows=sum(group.rows for group in self.groups),
            largest_difference=max((group.largest_difference for group in self.groups), default=0.0),
            largest_ulp=max((group.largest_ulp for group in self.groups), default=0),
            flips=sum(group.flips for group in self.groups),
            ties=sum(group.ties for group in self.groups),
        )

    def to_dict(self) -> Json:
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "bounds": asdict(self.bounds),
            "groups": [asdict(group) for group in self.groups],
            "digests": self.digests,
            "environment": self.environment,
            "precision": self.precision,
            "tie_rule": self.tie_rule,
            "seed": self.seed,
            "problems": list(self.problems),
            "summary": asdict(self.summary),
        }


def certify(
    estimator: BaseEstimator,
    columns: tuple[str, ...],
    graph: Graph,
    background: Rows,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Certificate:
    """Compares `graph` with `estimator` on every group of rows; `progress` is called with each group's name.

    columns: names of the inputs in their order. background: float64 (n, k), training rows.
    """
    python = PythonModel(estimator, columns)
    session = open_session(graph.content)
    bounds = bounds_of(graph)
    results = []
    for name, rows in groups(estimator, python.labels, background, seed):
        progress(name)
        results.append(_compare(name, rows, python, lambda part: run(session, part), bounds))
    return Certificate(
        bounds=bounds,
        groups=tuple(results),
        digests={
            "graph": digest_of(graph.content),
            "estimator": estimator_digest(estimator),
            "background": rows_digest(background),
        },
        environment=environment(),
        precision=graph.precision,
        tie_rule=tie_rule(bounds),
        seed=seed,
        problems=tuple(problem for group in results for problem in _problems(group, bounds)),
    )


class PythonModel:
    """The estimator on one thread, so that sums are always added in the same order, asked by arrays."""

    def __init__(self, estimator: BaseEstimator, columns: tuple[str, ...]) -> None:
        self._estimator = copy.deepcopy(estimator)
        threads = [name for name in estimator.get_params() if name.split("__")[-1] == "n_jobs"]
        self._estimator.set_params(**dict.fromkeys(threads, 1))
        self._columns = list(columns) if hasattr(estimator, "feature_names_in_") else None
        self.classes = [_plain(label) for label in estimator.classes_]

    def labels(self, rows: Rows) -> NDArray[np.object_]:
        return np.array([_plain(label) for label in self._estimator.predict(self._frame(rows))], dtype=object)

    def probabilities(self, rows: Rows) -> NDArray[np.float64]:
        return np.asarray(self._estimator.predict_proba(self._frame(rows)), dtype=np.float64)

    def _frame(self, rows: Rows) -> object:
        import pandas as pd

        return rows if self._columns is None else pd.DataFrame(rows, columns=self._columns)


def bounds_of(graph: Graph) -> Bounds:
    """What passes: 1e-8 where all is computed in double (a float32 in disguise is 6e-8 off), 1e-5 where float32 is."""
    largest = 1e-5 if graph.single else 1e-8
    return Bounds(largest_difference=largest, tie=2 * largest, ulp_of="float32" if graph.single else "float64")


def tie_rule(bounds: Bounds) -> str:
    """How labels are chosen among equal probabilities, in words."""
    return (
        "The label is the class of the largest probability; of equal ones the first in the order of the labels, "
        f"as scikit-learn's argmax does. Where the largest probabilities lie within {bounds.tie} of each other, "
        "rounding may make Python and graph choose different ones of them."
    )


def environment() -> dict[str, str]:
    """Versions of the libraries that compute, and the processor: where these are equal, so are the last digits."""
    from threadpoolctl import threadpool_info

    kernels = {f"{x['internal_api']} {x.get('architecture', '')}".strip() for x in threadpool_info()}
    return {
        **{name: version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}",
        "kernels": ", ".join(sorted(kernels)),
    }


def _plain(label: object) -> object:
    return label.item() if isinstance(label, np.generic) else label


def _compare(
    name: str,
    rows: Rows,
    python: PythonModel,
    graph: Callable[[Rows], tuple[NDArray[np.object_], NDArray[np.float64]]],
    bounds: Bounds,
) -> Group:
    place = {label: number for number, label in enumerate(python.classes)}
    difference, ulp, gaps = 0.0, 0, [np.empty(0)]
    for part in _parts(rows):
        expected, labels = python.probabilities(part), python.labels(part)
        found_labels, found = graph(part)
        if found.shape != expected.shape or not np.isfinite(found).all():
            return _unusable(name, rows)
        difference = max(difference, float(np.abs(found - expected).max()))
        ulp = max(ulp, _ulps(found, expected, np.dtype(bounds.ulp_of)))
        flipped = np.flatnonzero(labels != found_labels)
        ours = expected[flipped, [place[label] for label in labels[flipped]]]
        theirs = expected[flipped, [place.get(label, -1) for label in found_labels[flipped]]]
        known = np.array([label in place for label in found_labels[flipped]], dtype=bool)
        gaps.append(np.where(known, np.abs(ours - theirs), np.inf))
    gap = np.concatenate(gaps)
    return Group(
        name=name,
        rows=len(rows),
        rows_sha256=rows_digest(rows),
        largest_difference=difference,
        largest_ulp=ulp,
        flips=len(gap),
        ties=int((gap <= bounds.tie).sum()),
        exact_ties=int((gap == 0).sum()),
    )


def _parts(rows: Rows) -> list[Rows]:
    """Single rows first, then many at once: the libraries compute the one and the other by different code."""
    single = [rows[number : number + 1] for number in range(min(ALONE, len(rows)))]
    return single + [rows[start : start + CHUNK] for start in range(ALONE, len(rows), CHUNK)]


def _unusable(name: str, rows: Rows) -> Group:
    """Probabilities of the wrong shape or not finite: as different as can be."""
    return Group(
        name=name,
        rows=len(rows),
        rows_sha256=rows_digest(rows),
        largest_difference=1.0,
        largest_ulp=2**63 - 1,
        flips=len(rows),
        ties=0,
        exact_ties=0,
    )


def _ulps(a: NDArray[np.float64], b: NDArray[np.float64], kind: np.dtype[np.generic]) -> int:
    """The largest number of floats of type `kind` between probabilities of `ULP_FROM` and more in both arrays."""
    integer = np.int32 if kind == np.float32 else np.int64
    counted = (a >= ULP_FROM) & (b >= ULP_FROM)
    ordered = [x[counted].astype(kind).view(integer).astype(np.int64) for x in (a, b)]
    return int(np.abs(ordered[0] - ordered[1]).max(initial=0))


def _problems(group: Group, bounds: Bounds) -> list[str]:
    problems = []
    if group.largest_difference > bounds.largest_difference:
        limit = f"more than {bounds.largest_difference}"
        problems.append(f"{group.name}: a probability differs by {group.largest_difference:.3g}, {limit}")
    if group.flips > group.ties:
        problems.append(f"{group.name}: {group.flips - group.ties} of {group.rows} labels differ and are no ties")
    return problems
