"""What the scorer calls for each answer: whether it is recorded, how, and what happens when it cannot be.

Made by `open_recorder` at the scorer's start, called by the ASGI application before an answer is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.aggregates import Aggregator, edges_of
from mlflow_hydraulic.record.entries import Entry, Feedback, Gap, head_of, packed_cells, packed_labels
from mlflow_hydraulic.record.journal import Journal
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Schema
from mlflow_hydraulic.settings import Settings

SERVED = "HYDRAULIC_SERVED"
SERVED_PARTS = ("target", "namespace", "deployment", "predictor", "replica")
LOCAL = "seldon-local"  # its router says in a header for which predictor a scorer works now
CALLER_HEADER, PREDICTOR_HEADER = b"x-hydraulic-caller", b"x-hydraulic-predictor"
CALLER_LENGTH = 128
log = logging.getLogger(__name__)


class Said(Protocol):
    """What a model said of n rows: labels, shape (n,), and probabilities, shape (n, labels), or None."""

    @property
    def labels(self) -> NDArray[Any]: ...

    @property
    def probabilities(self) -> NDArray[np.float64] | None: ...


class Held(Protocol):
    """What holds answers back, and calls `before_flush` before it lets one go."""

    before_flush: Callable[[], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a scorer runs, as whoever started it says in HYDRAULIC_SERVED: the parts with slashes between them."""

    target: str = ""
    namespace: str = ""
    deployment: str = ""
    predictor: str = ""
    replica: str = ""

    def written(self) -> str:
        """As the variable has it.

        >>> read_place(Place(target="seldon-local", deployment="cooler", replica="s1").written()).deployment
        'cooler'
        """
        return "/".join(getattr(self, part) for part in SERVED_PARTS)


def read_place(text: str) -> Place:
    """The inverse of `Place.written`; an empty text is a scorer that nobody deployed."""
    parts = text.split("/") if text else [""] * len(SERVED_PARTS)
    if len(parts) != len(SERVED_PARTS):
        raise BadInput(f"{SERVED}={text!r}: must be {'/'.join(SERVED_PARTS)}; whoever deploys a scorer sets it")
    return Place(**dict(zip(SERVED_PARTS, parts, strict=True)))


def record_folder(settings: Settings) -> Path:
    """Where the journals and the store are."""
    return Path(settings.record_folder).expanduser() if settings.record_folder else settings.home / "record"


def journal_folder(settings: Settings) -> Path:
    """Where scorers append."""
    return record_folder(settings) / "journal"


def open_recorder(
    settings: Settings,
    *,
    model: str,
    version: str,
    digest: str,
    schema: Schema,
    background: NDArray[Any],
    environ: Mapping[str, str] | None = None,
) -> Recorder | None:
    """The recorder of this process, or None where nothing is to be recorded.

    HYDRAULIC_RECORD "auto" records where the scorer was deployed. background: training rows, shape (n, k).
    """
    place = read_place((os.environ if environ is None else environ).get(SERVED, ""))
    mode = settings.record
    if mode == "auto":
        mode = "on" if place.deployment else "off"
    if mode == "off" or settings.record_share == 0:
        return None
    served = Served(
        target=place.target,
        namespace=place.namespace,
        deployment=place.deployment,
        predictor=place.predictor,
        model=model,
        version=version,
        digest=digest,
    )
    edges = edges_of(schema, background) if mode == "aggregates" else None
    replica = place.replica or f"{socket.gethostname()}-{os.getpid()}"
    head = head_of(served, schema, replica, edges)
    try:
        journal = Journal(journal_folder(settings), head, max_bytes=int(settings.record_mb * 1e6))
    except OSError as error:
        raise BadInput(
            f"{journal_folder(settings)}: predictions cannot be recorded there: {error}; set HYDRAULIC_RECORD_FOLDER"
        ) from error
    aggregator = None if edges is None else Aggregator(schema, edges)
    log.info("recording %s in %s", "aggregates" if aggregator else "every answer", journal_folder(settings))
    return Recorder(
        journal,
        aggregator,
        share=settings.record_share,
        refuse=settings.record_on_full == "refuse",
        routed=place.target == LOCAL,
    )


class Recorder:
    """Records the answers of one process. For the event loop's thread alone.

    refuse: an answer that cannot be recorded is not given. routed: a router in front says the predictor; what comes
    past it is the supervisor's own warm-up, and no prediction that anybody asked for.
    """

    def __init__(
        self, journal: Journal, aggregator: Aggregator | None, *, share: float, refuse: bool, routed: bool
    ) -> None:
        self.journal, self.refuse = journal, refuse
        self._aggregator, self._routed = aggregator, routed
        self._below = round(share * 2**32)
        self._next_ns = 0

    def answered(
        self,
        *,
        prediction_id: str,
        path: str,
        status: int,
        latency_s: float,
        headers: Mapping[bytes, bytes],
        bodies: tuple[bytes, bytes],
        cells: NDArray[Any] | None,
        scores: Said | None,
        anomalous: NDArray[np.bool_] | None = None,
        held: Held | None = None,
    ) -> bool:
        """Record one answer; False where it must not be given, because it cannot be recorded.

        held: holds the answer until the journal is flushed; without it, or to refuse in time, that is done at once.

        bodies: request and answer. cells, scores: None where nothing was scored.
        """
        if self._routed and PREDICTOR_HEADER not in headers:
            return True
        ns = max(time.time_ns(), self._next_ns)
        rows = 0 if cells is None else len(cells)
        self._next_ns = ns + (rows or 1)
        aggregator = self._aggregator
        if aggregator is not None:
            labels = None if scores is None else scores.labels
            aggregator.add(
                ns, failed=status >= 400, latency_s=latency_s, cells=cells, labels=labels, anomalous=anomalous
            )
            return not aggregator.due(ns) or self._tell(aggregator, ns) or not self.refuse
        if self._below < 2**32 and not self._chosen(prediction_id):
            return True
        entry = Entry(ns, prediction_id, path, status, latency_s)
        if cells is not None and scores is not None:
            entry.rows = rows
            entry.inputs = packed_cells(cells)
            entry.label_type, entry.labels = packed_labels(scores.labels)
            if scores.probabilities is not None:
                entry.probabilities = scores.probabilities.tobytes()
            if anomalous is not None:
                entry.anomalous = anomalous.tobytes()
        entry.request, entry.answer = bodies
        caller = headers.get(CALLER_HEADER)
        if caller is not None:
            entry.caller = _printable(caller)
        if self._routed:
            entry.predictor = headers[PREDICTOR_HEADER].decode("latin-1")
        self.journal.append(entry, ns)
        if held is not None and not self.refuse:
            held.before_flush = self.journal.flush
            return True
        return self.journal.flush() or not self.refuse

    def told(self, prediction_id: str, truth: list[Any], reward: float | None) -> bool | None:  # Any: label or None
        """Keep what a caller said of a prediction, before that caller is answered.

        None where it is not to be kept, as its prediction is not: aggregates only, or not in the share. False where it
        cannot be: the caller must be told to send it again.
        """
        if self._aggregator is not None or not self._chosen(prediction_id):
            return None
        return self.journal.hear(Feedback(time.time_ns(), prediction_id, truth, reward))

    def _chosen(self, prediction_id: str) -> bool:
        return self._below >= 2**32 or zlib.crc32(prediction_id.encode()) < self._below

    def trouble(self) -> str:
        """Why answers are not recorded now; "" where they are. Looks whether it is over, and tells a minute that is."""
        if self._aggregator is not None and self._aggregator.due(now := time.time_ns()):
            self._tell(self._aggregator, now)
        self.journal.settle()
        return self.journal.trouble

    def close(self) -> None:
        """End the journal; aggregates of too few rows are not told, which is written down."""
        aggregator = self._aggregator
        if aggregator is not None and aggregator.answers:
            since, until = aggregator.span_ns
            if aggregator.tellable:
                self._tell(aggregator, until)
            else:
                reason = f"{aggregator.rows} rows are too few to tell aggregates of"
                gap = Gap(since_ns=since, until_ns=until, answers=aggregator.answers, reason=reason)
                self.journal.note(gap)
        self.journal.close()

    def _tell(self, aggregator: Aggregator, ns: int) -> bool:
        minute = aggregator.take()
        self.journal.append(minute, ns, minute.answers)
        return self.journal.flush()


def _printable(caller: bytes) -> str:
    text = caller[:CALLER_LENGTH].decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable())
