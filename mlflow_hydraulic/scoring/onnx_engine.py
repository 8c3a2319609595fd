"""Scores a bundle's graph with onnxruntime. Made by the server for models that have a bundle with a graph."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mlflow_hydraulic.bundle.read import Bundle
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.scoring.values import Cells, Scores

LOOP_BUDGET_S = 0.002  # the longest that one call may hold the event loop
LOOP_ROWS = 512
CHECKED_ROWS = 32


class OnnxEngine:
    """An onnxruntime session over a bundle's graph. Its `score` may be called from several threads at once."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that spin while they wait for work would take the processor from the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(bundle.read_graph(), options, providers=["CPUExecutionProvider"])
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
            raise Failed(f"{bundle.graph}: onnxruntime cannot load the graph: {error}") from error
        self._run = session.run
        self._outputs = ["label", "probabilities"]
        self._dtype: Any = np.float64 if bundle.precision == "double" else np.float32
        self._loop_rows = self._affordable(bundle.background)
        self._shares_calls = self._independent(bundle.background)

    @property
    def loop_rows(self) -> int:
        return self._loop_rows

    @property
    def shares_calls(self) -> bool:
        return self._shares_calls

    def score(self, cells: Cells) -> Scores:
        """Labels, and probabilities as float64. Shape of `cells`: (n, inputs), float64."""
        if cells.dtype != self._dtype:
            cells = cells.astype(self._dtype)
        labels, probabilities = self._run(self._outputs, {"X": cells})
        if probabilities.dtype != np.float64:
            probabilities = probabilities.astype(np.float64)
        return Scores(labels, probabilities)

    def _affordable(self, rows: NDArray[np.float64]) -> int:
        """How many rows a call on the event loop may have: measured, for models differ a thousandfold."""
        rows = rows[:CHECKED_ROWS]
        if not len(rows):
            return 1
        times = []
        for _ in range(5):
            started = time.perf_counter()
            self.score(rows)
            times.append(time.perf_counter() - started)
        return int(min(LOOP_ROWS, LOOP_BUDGET_S / (min(times) / len(rows))))

    def _independent(self, rows: NDArray[np.float64]) -> bool:
        """Whether rows scored together give the same numbers as alone, to the bit; not so for some linear models."""
        rows = rows[:CHECKED_ROWS]
        if not len(rows):
            return False
        together = self.score(rows)
        alone = [self.score(rows[index : index + 1]) for index in range(len(rows))]
        same_labels = (np.concatenate([scores.labels for scores in alone]) == together.labels).all()
        # numpy's types allow None here, as for a regression; a graph always gives probabilities
        numbers = [np.asarray(scores.probabilities) for scores in (*alone, together)]
        return bool(same_labels and np.array_equal(np.concatenate(numbers[:-1]), numbers[-1]))
