"""What a scorer counts, and its page of them in Prometheus' text format. Used by the ASGI application.

Plain integers while requests run; text is made only when `/metrics` is asked for. Counts belong to one event loop and
need no lock. Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator

from mlflow_hydraulic import exposition
from mlflow_hydraulic.exposition import Kind, family, of_process, one
from mlflow_hydraulic.record.journal import Journal
from mlflow_hydraulic.scoring.values import ModelCard

CONTENT_TYPE = exposition.CONTENT_TYPE.encode()
BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Series:
    """Requests of one method, path and status: how many in each class of duration, and their total time in s."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    @property
    def count(self) -> int:
        return sum(self.buckets)


class Metrics:
    """The counters of one scorer process."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.journal: Journal | None = None
        self.requests: dict[tuple[str, str, int], Series] = {}
        self.in_progress = 0
        self.rows = 0
        self.calls = 0
        self.failures = 0
        self.anomalous: int | None = None  # where the model does not know its training rows
        self.feedback: dict[str, int] = {}  # by what became of it
        self.started_s = time.time()

    def answered(self, method: str, path: str, status: int, duration_s: float) -> None:
        """Count one answered request. `path` is a route of ours, never the caller's text: the series stay few."""
        series = self.requests.get((method, path, status))
        if series is None:
            series = self.requests[method, path, status] = Series()
        series.buckets[bisect_left(BOUNDS_S, duration_s)] += 1
        series.total_s += duration_s

    def page(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        return exposition.page(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        requests = self.requests.items()
        answered = [({"method": m, "path": p, "status": s}, series) for (m, p, s), series in requests]
        counts = [(labels, series.count) for labels, series in answered]
        yield from family("http_requests_total", "counter", "Requests answered.", counts)
        yield from exposition.histogram(
            "http_request_duration_seconds",
            "From the first byte seen to the answer's last.",
            BOUNDS_S,
            [(labels, series.buckets, series.total_s) for labels, series in answered],
        )
        if self.feedback:
            heard = [({"outcome": outcome}, count) for outcome, count in self.feedback.items()]
            yield from family("hydraulic_feedback_total", "counter", "Feedback, by what became of it.", heard)
        for name, kind, text, value in self._numbers():
            yield from one(name, kind, text, value)
        card = self.card
        labels = {"name": card.name, "version": card.version, "digest": card.digest, "engine": card.engine}
        yield from family("hydraulic_model_info", "gauge", "The model that is served.", [(labels, 1)])
        yield from of_process("scorer", self.started_s)

    def _numbers(self) -> Iterator[tuple[str, Kind, str, float]]:
        progress = "Requests accepted and not answered yet."
        yield "http_requests_in_progress", "gauge", progress, self.in_progress
        yield "hydraulic_rows_total", "counter", "Rows scored.", self.rows
        yield "hydraulic_model_calls_total", "counter", "Calls of the model; requests may share one.", self.calls
        yield "hydraulic_model_failures_total", "counter", "Requests on which the model failed.", self.failures
        if self.anomalous is not None:
            text = "Rows scored that are unlike the training data."
            yield "hydraulic_anomalous_rows_total", "counter", text, self.anomalous
        if self.journal is not None:
            yield "hydraulic_record_written_total", "counter", "Answers recorded.", self.journal.written
            text = "Answers that could not be recorded."
            yield "hydraulic_record_dropped_total", "counter", text, self.journal.dropped
