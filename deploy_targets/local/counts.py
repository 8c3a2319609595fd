"""What the router counts, as Prometheus text, and the scorers' own metrics with their predictor added to each line.

Called by router and supervisor.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?(\s.*)$")
SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


class Counts:
    """Requests by predictor, version and status; seconds and restarts by predictor; retries; the shadow's copies."""

    def __init__(self, namespace: str, name: str) -> None:
        self.started_s = time.time()
        self.retries = 0
        self.restarts: Counter[str] = Counter()
        self.shadow: Counter[str] = Counter()
        self._labels = {"namespace": namespace, "deployment": name}
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._unanswered: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def answered(self, predictor: str, version: str, status: int, seconds: float) -> None:
        self._answered[predictor, version, status] += 1
        buckets = self._seconds.get(predictor)
        if buckets is None:
            buckets = self._seconds[predictor] = [0] * (len(BUCKETS_S) + 1)
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[predictor] += seconds  # type: ignore[assignment]  # a Counter adds floats as well

    def unanswered(self, status: int, predictor: str = "", version: str = "") -> None:
        """A request that no scorer answered; `predictor` is whose turn it was, "" where that is not known."""
        self._unanswered[predictor, version, status] += 1

    def render(self) -> str:
        """The text, families one after the other."""
        lines = [
            "# HELP hydraulic_router_requests_total Requests by who answered, and how.",
            "# TYPE hydraulic_router_requests_total counter",
        ]
        for (predictor, version, status), n in sorted((self._answered + self._unanswered).items()):
            lines.append(self._line("requests_total", n, predictor=predictor, version=version, code=str(status)))
        lines += [
            "# HELP hydraulic_router_request_seconds Time from the whole request to the whole answer.",
            "# TYPE hydraulic_router_request_seconds histogram",
        ]
        for predictor, buckets in sorted(self._seconds.items()):
            total = 0
            for bound, n in zip((*map(str, BUCKETS_S), "+Inf"), buckets, strict=True):
                total += n
                lines.append(self._line("request_seconds_bucket", total, predictor=predictor, le=bound))
            lines.append(self._line("request_seconds_sum", self._sums[predictor], predictor=predictor))
            lines.append(self._line("request_seconds_count", total, predictor=predictor))
        lines += [
            "# HELP hydraulic_router_retries_total Requests asked again because a scorer ended the connection.",
            "# TYPE hydraulic_router_retries_total counter",
            self._line("retries_total", self.retries),
            "# HELP hydraulic_router_shadow_total Copies for the shadow: sent, dropped, failed.",
            "# TYPE hydraulic_router_shadow_total counter",
        ]
        lines += [self._line("shadow_total", self.shadow[what], outcome=what) for what in ("sent", "dropped", "failed")]
        lines += [
            "# HELP hydraulic_router_restarts_total Scorers that ended by themselves, to be started again.",
            "# TYPE hydraulic_router_restarts_total counter",
            *(self._line("restarts_total", n, predictor=predictor) for predictor, n in sorted(self.restarts.items())),
            "# HELP hydraulic_router_start_time_seconds Since when all this is counted, in seconds since 1970.",
            "# TYPE hydraulic_router_start_time_seconds gauge",
            self._line("start_time_seconds", self.started_s),
        ]
        return "\n".join(lines) + "\n"

    def _line(self, name: str, value: float, **labels: str) -> str:
        return f"hydraulic_router_{name}{{{_render({**self._labels, **labels})}}} {value}"


def merged(expositions: Iterable[tuple[Mapping[str, str], str]]) -> str:
    """Several processes' metrics as one text: each sample gets its process's labels, each family stands once.

    >>> one, two = "# TYPE hits counter\\nhits 1", 'hits{a="b"} 2'
    >>> print(merged([({"replica": "s1"}, one), ({"replica": "s2"}, two)]), end="")
    # TYPE hits counter
    hits{replica="s1"} 1
    hits{a="b",replica="s2"} 2
    """
    families: dict[str, tuple[list[str], list[str]]] = {}  # name: (comments, samples)
    for labels, text in expositions:
        known = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ") and len(line.split()) > 3}
        for line in text.splitlines():
            parts = line.split(maxsplit=3)
            if line.startswith(("# HELP ", "# TYPE ")) and len(parts) > 2:
                comments = families.setdefault(parts[2], ([], []))[0]
                if not any(c.split()[1] == parts[1] for c in comments):
                    comments.append(line)
            elif match := SAMPLE.match(line):
                name, inside, rest = match.groups()
                joined = ",".join(filter(None, ((inside or "").rstrip(","), _render(labels))))
                families.setdefault(_family(name, known), ([], []))[1].append(f"{name}{{{joined}}}{rest}")
    return "".join(f"{line}\n" for comments, samples in families.values() for line in (*comments, *samples))


def _family(name: str, known: set[str]) -> str:
    stems = [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
    return name if name in known else next((stem for stem in stems if stem in known), name)


def _render(labels: Mapping[str, str]) -> str:
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())
