"""An engine that also flags rows unlike the training data; made by the commands that serve.

Flags are made where calls are: concurrent requests that share a call share its flags, so a busy scorer pays little.
"""

from __future__ import annotations

from mlflow_hydraulic.drift.rows import RowCheck
from mlflow_hydraulic.scoring.values import Cells, Engine, Scores


class FlaggingEngine:
    """`engine`, whose scores get `anomalous` from `check`."""

    def __init__(self, engine: Engine, check: RowCheck) -> None:
        self._score = engine.score
        self._flags = check.flags
        self.loop_rows = engine.loop_rows
        self.shares_calls = engine.shares_calls

    def score(self, cells: Cells) -> Scores:
        """As the engine's, with flags. Shape of `cells`: (n, inputs), float64."""
        scores = self._score(cells)
        return Scores(scores.labels, scores.probabilities, self._flags(cells))
