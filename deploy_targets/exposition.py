"""Prometheus' text format, read back: the samples of a page of metrics. Called by the targets' `service_level` rooms.

https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
# What every process tells of itself, `mlflow_hydraulic.exposition.of_process`.
STARTED = "process_start_time_seconds"
CPU = "process_cpu_seconds_total"
MEMORY = "process_resident_memory_bytes"
OF_PROCESS = (STARTED, CPU, MEMORY)
ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """The samples in their order; a line that is none is left out.

    >>> [(s.name, dict(s.labels), s.value) for s in samples('hits{a="b"} 2\\n# TYPE x gauge\\nx NaN no')]
    [('hits', {'a': 'b'}, 2.0), ('x', {}, nan)]
    """
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        labels = {name: ESCAPED.sub(_plain, raw) for name, raw in LABEL.findall(found[2] or "")}
        yield Sample(found[1], labels, value)


def _plain(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]


def histogram(found: Iterable[Sample]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The upper bounds but the infinite one, and how many fell between them, of `_bucket` samples of one histogram.

    Samples of several series with the same bounds are added up.
    """
    below: dict[float, float] = {}
    for sample in found:
        bound = float(sample.labels.get("le", "nan"))
        below[bound] = below.get(bound, 0.0) + sample.value
    bounds = sorted(bound for bound in below if bound == bound)  # noqa: PLR0124 - NaN is no bound
    totals = [0.0, *(below[bound] for bound in bounds)]
    counts = tuple(max(0, int(after - before)) for before, after in itertools.pairwise(totals))
    return tuple(bound for bound in bounds if bound != float("inf")), counts
