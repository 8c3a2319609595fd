"""What the router counts, as Prometheus text, and the scorers' own metrics with their predictor added to each line.

Called by router and supervisor.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlflow_hydraulic.deploy_targets.local.table import Replica
from mlflow_hydraulic.exposition import Kind, Labels, braced, family, histogram, page

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
GONE = 20
FAILURES = (500, 502, 503, 504)
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?(\s.*)$")
SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


class Counts:
    """Requests by predictor, version and status; seconds and restarts by predictor; retries; the shadow's copies.

    Of predictors that are gone, the last `GONE` stay: each is a few dozen series, and a router may live for years.
    """

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
        self._replicas: dict[str, tuple[str, Sequence[Replica]]] = {}
        self._gone: list[str] = []

    def serve(self, replicas: Mapping[str, tuple[str, Sequence[Replica]]], shadow: str = "") -> None:
        """From now on these predictors run: the version of each, and its replicas. What `shadow` answers nobody gets.

        Their counters begin at 0, not with the first event: Prometheus cannot see a series rise from nothing.
        """
        self._gone = [name for name in (*self._gone, *self._replicas) if name not in replicas]
        self._replicas = dict(replicas)
        self._forget(self._gone[:-GONE])
        self._gone = self._gone[-GONE:]
        for predictor, (version, _) in replicas.items():
            self.restarts[predictor] += 0
            for status in () if predictor == shadow else (200, *FAILURES):
                self._answered[predictor, version, status] += 0

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

    def _forget(self, predictors: Sequence[str]) -> None:
        for name in predictors:
            for by_name in (self.restarts, self._seconds, self._sums):
                by_name.pop(name, None)
            for by_version in (self._answered, self._unanswered):
                for key in [key for key in by_version if key[0] == name]:
                    del by_version[key]

    def render(self) -> str:
        """The text, families one after the other."""
        requests = [
            ({"predictor": predictor, "version": version, "code": code}, self._asked(predictor, version, code))
            for predictor, version, code in sorted({*self._answered, *self._unanswered})
        ]
        seconds = [({"predictor": name}, counts, self._sums[name]) for name, counts in sorted(self._seconds.items())]
        shadow = [({"outcome": what}, self.shadow[what]) for what in ("sent", "dropped", "failed")]
        restarts = [({"predictor": name}, count) for name, count in sorted(self.restarts.items())]
        ready = [({"predictor": name}, sum(r.ready for r in rs)) for name, (_, rs) in sorted(self._replicas.items())]
        wanted = [({"predictor": name}, len(rs)) for name, (_, rs) in sorted(self._replicas.items())]
        text = "Time from the whole request to the whole answer."
        timed = [(self._whole(labels), counts, total) for labels, counts, total in seconds]
        return page(
            (
                *self._family("requests_total", "counter", "Requests by who answered, and how.", requests),
                *histogram("hydraulic_router_request_seconds", text, BUCKETS_S, timed),
                *self._family(
                    "retries_total", "counter", "Requests asked again: a scorer hung up.", [({}, self.retries)]
                ),
                *self._family("shadow_total", "counter", "Copies for the shadow: sent, dropped, failed.", shadow),
                *self._family("restarts_total", "counter", "Scorers that ended by themselves.", restarts),
                *self._family("replicas_ready", "gauge", "Scorers that answer.", ready),
                *self._family("replicas_wanted", "gauge", "Scorers that should answer.", wanted),
                *self._family("start_time_seconds", "gauge", "Since when this is counted.", [({}, self.started_s)]),
            )
        )

    def _asked(self, predictor: str, version: str, code: int) -> int:
        return self._answered[predictor, version, code] + self._unanswered[predictor, version, code]

    def _family(self, name: str, kind: Kind, text: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
        whole = ((self._whole(labels), value) for labels, value in samples)
        return family(f"hydraulic_router_{name}", kind, text, whole)

    def _whole(self, labels: Labels) -> Labels:
        return {**self._labels, **labels}


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
                joined = ",".join(filter(None, ((inside or "").rstrip(","), braced(labels)[1:-1])))
                families.setdefault(_family(name, known), ([], []))[1].append(f"{name}{{{joined}}}{rest}")
    return "".join(f"{line}\n" for comments, samples in families.values() for line in (*comments, *samples))


def _family(name: str, known: set[str]) -> str:
    stems = [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
    return name if name in known else next((stem for stem in stems if stem in known), name)
