"""Brings requests to the engine: on the event loop or in a worker thread, alone or several in one call.

Used by the ASGI application. Waiting is never added: only requests that are ready in the same turn of the loop share.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mlflow_hydraulic.scoring.metrics import Metrics
from mlflow_hydraulic.scoring.values import Cells, Engine, Scores


class SharedCalls:
    """Scores cells with one engine for concurrent requests of one event loop.

    in_flight: how many requests the server works on now; with one alone, nobody could share and it is scored at once.
    The server sets it, for it alone knows of requests that are about to start.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self.engine = engine
        self.metrics = metrics
        self.in_flight: Callable[[], int] = lambda: 2
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Cells, asyncio.Future[Scores]]] = []
        self._loop_rows = engine.loop_rows
        self._shares = engine.shares_calls
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def score(self, cells: Cells) -> Scores:
        """What the model says of `cells`; whatever the model raises reaches the request that caused it, no other."""
        rows = len(cells)
        self.metrics.rows += rows
        # Kept, because until Python 3.12 each asyncio.get_running_loop() is a system call (getpid).
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if rows > self._loop_rows:
            self.metrics.calls += 1
            return await loop.run_in_executor(self._worker, self.score_alone, cells)
        if not self._shares or self.in_flight() < 2:
            self.metrics.calls += 1
            return self.engine.score(cells)
        if not self._waiting:
            loop.call_soon(self._call)
        future: asyncio.Future[Scores] = loop.create_future()
        self._waiting.append((cells, future))
        return await future

    def score_alone(self, cells: Cells) -> Scores:
        """Score from a thread other than the loop's; one thread at a time."""
        with self._lock:
            return self.engine.score(cells)

    def close(self) -> None:
        """Let the worker thread end with the call it is in."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _call(self) -> None:
        waiting, self._waiting = self._waiting, []
        start = 0
        while start < len(waiting):
            stop, rows = start, 0
            while stop < len(waiting) and (stop == start or rows + len(waiting[stop][0]) <= self._loop_rows):
                rows += len(waiting[stop][0])
                stop += 1
            self._share(waiting[start:stop])
            start = stop

    def _share(self, group: list[tuple[Cells, asyncio.Future[Scores]]]) -> None:
        self.metrics.calls += 1
        if len(group) == 1:
            self._settle(*group[0])
            return
        try:
            scores = self.engine.score(np.concatenate([cells for cells, _ in group]))
        except Exception:  # noqa: BLE001 - any model error: each is scored alone, so that only the guilty one fails
            for cells, future in group:
                self._settle(cells, future)
            return
        labels, probabilities, anomalous = scores.labels, scores.probabilities, scores.anomalous
        start = 0
        for cells, future in group:
            stop = start + len(cells)
            part = None if probabilities is None else probabilities[start:stop]
            if not future.done():
                flags = None if anomalous is None else anomalous[start:stop]
                future.set_result(Scores(labels[start:stop], part, flags))
            start = stop

    def _settle(self, cells: Cells, future: asyncio.Future[Scores]) -> None:
        if future.done():
            return
        try:
            future.set_result(self.engine.score(cells))
        except Exception as error:  # noqa: BLE001 - a model may raise anything; it belongs to this request
            future.set_exception(error)
