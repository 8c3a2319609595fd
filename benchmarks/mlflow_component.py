"""What Seldon's MLFLOW_SERVER runs in its wrapper once its conda environment is built: a pyfunc behind `predict`.

Written anew after `servers/mlflowserver` of Seldon Core 1.x; the benchmark of starts runs it beside our pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class MlflowComponent:
    """Loads a saved model by MLflow when the wrapper says so, and predicts on a frame with the request's names."""

    def __init__(self, model_uri: str) -> None:
        self._folder = model_uri
        self._model: Any = None

    def load(self) -> None:
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(self._folder)

    def predict(self, X: Any, names: Iterable[str], meta: Any = None) -> Any:  # noqa: ARG002 - the wrapper gives it
        import pandas as pd

        return self._model.predict(pd.DataFrame(X, columns=list(names)))
