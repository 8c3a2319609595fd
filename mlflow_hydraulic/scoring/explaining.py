"""Explains requests in a thread of its own, so that explaining never holds up scoring. Used by the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from mlflow_hydraulic.scoring.shapley import shapley_values
from mlflow_hydraulic.scoring.sharing import SharedCalls
from mlflow_hydraulic.scoring.values import Cells, FloatMatrix, ModelCard, RequestProblem

MAX_ROWS = 200  # rows explained in one request
MAX_WAITING = 8  # requests that may wait for the one thread that explains

A = TypeVar("A")
B = TypeVar("B")


class Explainer:
    """Shapley values of one model. Its threads: one explains, one reads large bodies and writes large answers."""

    def __init__(self, card: ModelCard, calls: SharedCalls) -> None:
        self._background = card.background
        self._calls = calls
        self._classes = list(card.schema.labels)
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._converting = ThreadPoolExecutor(1, thread_name_prefix="convert")
        self._waiting = 0

    async def explain(self, cells: Cells) -> FloatMatrix:
        """Shapley values, shape (n, outputs, inputs + 1). `RequestProblem`: 422, 413 or 503 with Retry-After."""
        if not len(self._background):
            raise RequestProblem(422, "the model was saved without background rows, so it cannot be explained")
        if len(cells) > MAX_ROWS:
            raise RequestProblem(413, f"{len(cells)} rows: at most {MAX_ROWS} are explained in one request")
        if self._waiting >= MAX_WAITING:
            wait = ((b"retry-after", b"1"),)
            raise RequestProblem(503, f"{MAX_WAITING} requests wait to be explained already; try later", headers=wait)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._explaining, shapley_values, self._outputs, cells, self._background)
        finally:
            self._waiting -= 1

    async def in_thread(self, function: Callable[[A], B], argument: A) -> B:
        """`function(argument)`, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._converting, function, argument)

    def close(self) -> None:
        """Let the threads end with what they are at."""
        for pool in (self._explaining, self._converting):
            pool.shutdown(wait=False, cancel_futures=True)

    def _outputs(self, cells: Cells) -> FloatMatrix:
        """What is explained: the probabilities of a classifier, else the value (or one indicator a class)."""
        scores = self._calls.score_alone(cells)
        if scores.probabilities is not None:
            return scores.probabilities
        if self._classes:
            return np.array([[label == one for one in self._classes] for label in scores.labels], dtype=np.float64)
        return np.asarray(scores.labels, dtype=np.float64).reshape(-1, 1)
