"""The replay itself: each row once, in its order, at a rate; stopped anywhere, it goes on there. Called by the CLI."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlflow_hydraulic.replay.asking import Asker, Stopped
from mlflow_hydraulic.replay.progress import Progress
from mlflow_hydraulic.replay.rows import Rows
from mlflow_hydraulic.replay.truths import Truths


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which rows: [first, last) of the source; again and again where `loop`."""

    first: int
    last: int
    loop: bool = False

    def __len__(self) -> int:
        return self.last - self.first

    def row(self, position: int) -> int:
        return self.first + position % len(self)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a replay. next: the first position that is not answered; finished: there is none."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    next: int = 0
    finished: bool = False


def key_of(rows: Rows, injections: Sequence[str], seed: int, span: Span) -> str:
    """What is replayed, as 12 hexadecimal digits: the same source, faults, seed and rows have the same."""
    what = [rows.digest, rows.names, list(injections), seed, span.first, span.last]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]


def run(
    rows: Rows,
    span: Span,
    progress: Progress,
    asker: Asker,
    *,
    rate: float,
    stopping: threading.Event,
    truths: Truths | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Send what is not answered yet. rate: rows a second, 0 as quickly as it goes. told: called after each row."""
    seen = progress.seen
    outcome = Outcome(next=seen.next)
    if truths is not None:
        for position, (status, at) in seen.answered.items():
            if status == 200 and position not in seen.brought:
                truths.add(position, span.row(position), at)
    due = time.monotonic()
    try:
        while (span.loop or outcome.next < len(span)) and not stopping.is_set():
            position = outcome.next
            doubtful = seen.doubtful == position
            progress.sending(position, time.time())
            started = time.monotonic()
            status = asker.score(progress.id_of(position), rows.cells[span.row(position)].tolist(), doubtful=doubtful)
            outcome.latencies_s.append(time.monotonic() - started)
            now = time.time()
            progress.answered(position, status, now)
            outcome.statuses[status] += 1
            outcome.next = position + 1
            told(position)
            if truths is not None:
                if status == 200:
                    truths.add(position, span.row(position), now)
                truths.bring(now)
            due = max(due + 1 / rate, time.monotonic() - 1 / rate) if rate else 0.0
            if rate and stopping.wait(max(0.0, due - time.monotonic())):
                break
    except Stopped:
        pass
    outcome.finished = not span.loop and outcome.next >= len(span)
    if truths is not None and outcome.finished:
        try:
            truths.bring(float("inf"))
        except Stopped:
            outcome.finished = False
    if outcome.finished:
        progress.finish()
    return outcome


def latency_ms(outcome: Outcome) -> dict[str, float]:
    """Quantiles of what answers took, waiting for a server that was away among it."""
    if not outcome.latencies_s:
        return {}
    p50, p95, most = np.quantile(np.array(outcome.latencies_s) * 1e3, (0.5, 0.95, 1.0)).round(2).tolist()
    return {"p50": p50, "p95": p95, "max": most}
