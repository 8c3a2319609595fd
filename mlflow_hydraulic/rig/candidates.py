"""The estimators that `train` chooses from: fixed here, before any data is seen, and all convertible to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlflow_hydraulic.errors import BadInput

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named estimator; `make(seed)` gives a new one, not fitted."""

    name: str
    make: Callable[[int], BaseEstimator]


def _discriminant(shrinkage: float | str) -> Callable[[int], BaseEstimator]:
    """Linear discriminant analysis with a shrunk covariance; "auto" is O. Ledoit and M. Wolf's estimate (2004)."""
    return lambda _: make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage))


def _logistic(seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))


def _forest(**options: object) -> Callable[[int], BaseEstimator]:
    """P. Geurts et al., "Extremely randomized trees", Machine Learning 63 (2006); n_jobs stays 1: see `train`."""
    return lambda seed: ExtraTreesClassifier(n_estimators=100, random_state=seed, n_jobs=1, **options)


LOGISTIC = Candidate("logistic", _logistic)
FOREST = Candidate("extra-trees", _forest(max_features=0.1))
# The stronger regularised stands first: the first wins a tie.
MANY_CLASSES = (
    Candidate("lda-shrunk-auto", _discriminant("auto")),
    Candidate("lda-shrunk-1e-2", _discriminant(1e-2)),
    Candidate("lda-shrunk-1e-5", _discriminant(1e-5)),
    Candidate("lda", lambda _: LinearDiscriminantAnalysis()),
    FOREST,
)
# No discriminant analysis: its two-class form did not convert when this list was fixed (`bundle.convert` mends that
# since), and a candidate that is added after the figures were seen is no fair one.
TWO_CLASSES = (LOGISTIC, FOREST, Candidate("extra-trees-smooth", _forest(max_features=0.3, min_samples_leaf=3)))
ALL = {candidate.name: candidate for candidate in (*MANY_CLASSES, *TWO_CLASSES)}


def candidates_for(classes: int, names: tuple[str, ...] | None = None) -> tuple[Candidate, ...]:
    """The candidates for a number of classes, or those of `names`; `BadInput` names the known ones."""
    if names is None:
        return TWO_CLASSES if classes == 2 else MANY_CLASSES
    unknown = [name for name in names if name not in ALL]
    if unknown or not names:
        raise BadInput(f"candidates={unknown or 'none'}: choose some of {', '.join(ALL)}")
    return tuple(ALL[name] for name in names)
