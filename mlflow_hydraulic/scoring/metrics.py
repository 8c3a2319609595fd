"""What a scorer counts, and its page of them in Prometheus' text format. Used by the ASGI application.

Plain integers while requests run; text is made only when `/metrics` is asked for. Counts belong to one event loop and
need no lock. Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4).
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlflow_hydraulic.record.journal import Journal
from mlflow_hydraulic.scoring.values import ModelCard

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
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
        return ("\n".join(self._lines()) + "\n").encode()

    def _lines(self) -> Iterator[str]:
        yield from _family(
            "http_requests_total",
            "counter",
            "Requests answered.",
            ((_labels(method=m, path=p, status=s), series.count) for (m, p, s), series in self.requests.items()),
        )
        yield from self._durations()
        for name, kind, text, value in (
            ("http_requests_in_progress", "gauge", "Requests accepted and not answered yet.", self.in_progress),
            ("hydraulic_rows_total", "counter", "Rows scored.", self.rows),
            ("hydraulic_model_calls_total", "counter", "Calls of the model; requests may share one.", self.calls),
            ("hydraulic_model_failures_total", "counter", "Requests on which the model failed.", self.failures),
            ("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", self.started_s),
            ("process_cpu_seconds_total", "counter", "CPU time used.", round(time.process_time(), 3)),
        ):
            yield from _family(name, kind, text, [("", value)])
        if self.anomalous is not None:
            text = "Rows scored that are unlike the training data."
            yield from _family("hydraulic_anomalous_rows_total", "counter", text, [("", self.anomalous)])
        if self.journal is not None:
            written, dropped = self.journal.written, self.journal.dropped
            yield from _family("hydraulic_record_written_total", "counter", "Answers recorded.", [("", written)])
            text = "Answers that could not be recorded."
            yield from _family("hydraulic_record_dropped_total", "counter", text, [("", dropped)])
        resident = resident_bytes()
        if resident is not None:
            yield from _family("process_resident_memory_bytes", "gauge", "Resident memory.", [("", resident)])
        card = self.card
        labels = _labels(name=card.name, version=card.version, digest=card.digest, engine=card.engine)
        yield from _family("hydraulic_model_info", "gauge", "The model that is served.", [(labels, 1)])

    def _durations(self) -> Iterator[str]:
        name = "http_request_duration_seconds"
        yield f"# HELP {name} From the first byte seen to the answer's last."
        yield f"# TYPE {name} histogram"
        for (method, path, status), series in self.requests.items():
            below = 0
            for bound, count in zip((*BOUNDS_S, "+Inf"), series.buckets, strict=True):
                below += count
                yield f"{name}_bucket{_labels(method=method, path=path, status=status, le=bound)} {below}"
            labels = _labels(method=method, path=path, status=status)
            yield f"{name}_sum{labels} {series.total_s:.6f}"
            yield f"{name}_count{labels} {below}"


def resident_bytes() -> int | None:
    """Resident memory of this process in bytes; None where the system does not say (no /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {value}"


def _labels(**labels: object) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
