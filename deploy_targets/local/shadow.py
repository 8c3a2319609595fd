"""Copies of requests for the shadow, which never touch the answer. Called by the router.

The queue is bounded in requests and bytes; what does not fit is dropped and counted, what fails or is late is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from mlflow_hydraulic.deploy_targets.local.table import Lane
from mlflow_hydraulic.deploy_targets.local.upstream import Lost
from mlflow_hydraulic.deploy_targets.local.weights import Share

QUEUE = 100  # requests
QUEUE_BYTES = 64 << 20
AT_ONCE = 4
TIMEOUT_S = 10.0


class Shadow:
    """Sends `percent` of what it is offered to `lane`. Counts: sent, dropped, failed."""

    def __init__(self, lane: Lane, percent: int, counts: Counter[str]) -> None:
        self.lane = lane
        self.counts = counts
        self._share = Share(percent)
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self._queued_bytes = 0
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    def offer(self, request: bytes) -> None:
        """Takes a copy if it is its turn; never waits and never raises."""
        if not self._share.next():
            return
        if self._queue.full() or self._queued_bytes + len(request) > QUEUE_BYTES:
            self.counts["dropped"] += 1
            return
        self._queued_bytes += len(request)
        self._queue.put_nowait(request)

    async def close(self) -> None:
        """Ends the workers; what is still queued counts as dropped."""
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with contextlib.suppress(asyncio.CancelledError):
                await worker
        self.counts["dropped"] += self._queue.qsize()

    async def _work(self) -> None:
        while True:
            request = await self._queue.get()
            self._queued_bytes -= len(request)
            replica = self.lane.pick()
            if replica is None:
                self.counts["dropped"] += 1
                continue
            try:
                reply = await replica.upstream.ask(self.lane.named(request), TIMEOUT_S)
                self.counts["failed" if reply.status >= 500 else "sent"] += 1
            except (Lost, TimeoutError):
                self.counts["failed"] += 1
