"""Pages of metrics in Prometheus' text format, written. Used by every process that has one: scorer, router, loops.

https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4);
names: https://prometheus.io/docs/practices/naming/. They are read back by `deploy_targets.exposition`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from mlflow_hydraulic.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STARTED_S = time.time()  # of this process, to the second or so: when it imported this

Labels = Mapping[str, object]
Kind = Literal["counter", "gauge"]


def page(lines: Iterable[str]) -> str:
    """The whole page of these lines. Every family may stand in it once."""
    return "".join(f"{line}\n" for line in lines)


def family(name: str, kind: Kind, text: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """The lines of one metric: its help, its kind, a sample for each set of labels.

    >>> print(*family("hits_total", "counter", "Hits.", [({"path": "/"}, 2), ({}, 0.5)]), sep="\\n")
    # HELP hits_total Hits.
    # TYPE hits_total counter
    hits_total{path="/"} 2
    hits_total 0.5
    """
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{braced(labels)} {int(value) if isinstance(value, bool) else value}"


def one(name: str, kind: Kind, text: str, value: float) -> Iterator[str]:
    """A metric of one sample without labels."""
    return family(name, kind, text, [({}, value)])


def histogram(
    name: str, text: str, bounds: Sequence[float], series: Iterable[tuple[Labels, Sequence[int], float]]
) -> Iterator[str]:
    """A histogram: for each set of labels its counts, one for each bound and one for what is above, and their sum."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} histogram"
    for labels, counts, total in series:
        below = 0
        for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
            below += count
            yield f"{name}_bucket{braced({**labels, 'le': bound})} {below}"
        yield f"{name}_sum{braced(labels)} {total:.6f}"
        yield f"{name}_count{braced(labels)} {below}"


def of_process(component: str, started_s: float = STARTED_S) -> Iterator[str]:
    """What every process tells of itself, under the names of Prometheus' own client libraries.

    https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
    """
    yield from one("process_start_time_seconds", "gauge", "Start, in seconds since 1970.", started_s)
    yield from one("process_cpu_seconds_total", "counter", "CPU time used.", round(time.process_time(), 3))
    resident = resident_bytes()
    if resident is not None:
        yield from one("process_resident_memory_bytes", "gauge", "Resident memory.", resident)
    labels = {"component": component, "version": VERSION}
    yield from family("hydraulic_build_info", "gauge", "Which part of which release this is.", [(labels, 1)])


def resident_bytes() -> int | None:
    """Resident memory of this process in bytes; None where the system does not say (no /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def braced(labels: Labels) -> str:
    """`{name="value",...}`; "" where there are none."""
    inside = ",".join(f'{name}="{escaped(str(value))}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
