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
from mlflow_hydraulic.record.beginnings import Beginning
from mlflow_hydraulic.record.entries import Feedback, Gap, head_of, packed_cells, packed_labels
from mlflow_hydraulic.record.journal import Journal
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Schema
from mlflow_hydraulic.settings import Settings

SERVED = "HYDRAULIC_SERVED"
SERVED_PARTS = ("target", "namespace", "deployment", "predictor", "replica")
LOCAL = "seldon-local"  # its router says in a header for which predictor a scorer works now
CALLER_HEADER, PREDICTOR_HEADER = b"x-hydraulic-caller", b"x-hydraulic-predictor"
CALLER_LENGTH = 128
FLOAT = np.dtype(np.float64)
NOTHING_SCORED = (b"", "", b"", None, None)
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

    HYDRAULIC_RECORD "auto" records where somebody ships it. background: training rows, shape (n, k).
    """
    place = read_place((os.environ if environ is None else environ).get(SERVED, ""))
    mode = settings.record
    if mode == "auto":  # where nobody ships it a record would only fill the disk
        mode = "on" if place.target == LOCAL or (place.deployment and settings.record_intake) else "off"
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
        self._label_dtype: np.dtype[Any] | None = None
        self._label_type = ""
        self._beginning = Beginning()

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
        predictor = b""
        if self._routed and (predictor := headers.get(PREDICTOR_HEADER, b"")) == b"":
            return True
        ns = time.time_ns()
        if ns < self._next_ns:  # noqa: PLR1730 - max() takes three times as long
            ns = self._next_ns
        rows = 0 if cells is None else len(cells)
        self._next_ns = ns + (rows or 1)
        aggregator = self._aggregator
        if aggregator is not None:
            labels = None if scores is None else scores.labels
            aggregator.add(
                ns, failed=status >= 400, latency_s=latency_s, cells=cells, labels=labels, anomalous=anomalous
            )
            return not aggregator.due(ns) or self.journal.tell(aggregator.take()) or not self.refuse
        if self._below < 2**32 and not self._chosen(prediction_id):
            return True
        scored: tuple[Any, ...] = ()
        if cells is not None and scores is not None:
            chances = scores.probabilities
            scored = (
                cells.tobytes() if cells.dtype is FLOAT else packed_cells(cells),
                *self._labels(scores.labels),
                None if chances is None else chances.tobytes(),
                None if anomalous is None else anomalous.tobytes(),
            )
        caller = headers.get(CALLER_HEADER)
        request, answer = bodies
        cut = 0
        beginning = self._beginning
        if beginning.learning:
            if status < 400 and beginning.learn(request):
                self.journal.leave_out(beginning.text)
        elif (cut := len(beginning.text)) and request.startswith(beginning.text):
            request = request[cut:]
        else:
            cut = 0
        self.journal.held.append(
            (
                ns,
                prediction_id,
                path,
                status,
                latency_s,
                "" if caller is None else _printable(caller),
                predictor.decode("latin-1") if predictor else "",
                rows,
                *(scored or NOTHING_SCORED),
                request,
                answer,
                cut,
            )
        )
        if held is not None and not self.refuse:
            held.before_flush = self.journal.flush
            return True
        return self.journal.flush() or not self.refuse

    def _labels(self, labels: NDArray[Any]) -> tuple[str, bytes | list[Any]]:
        """As `packed_labels`, which need not look twice at the type that a model's labels have."""
        dtype = labels.dtype
        if dtype is not self._label_dtype:
            self._label_dtype, self._label_type = dtype, packed_labels(labels)[0]
        return (self._label_type, labels.tobytes()) if self._label_type else packed_labels(labels)

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
        if self._aggregator is not None and self._aggregator.due(time.time_ns()):
            self.journal.tell(self._aggregator.take())
        self.journal.settle()
        return self.journal.trouble

    def close(self) -> None:
        """End the journal; aggregates of too few rows are not told, which is written down."""
        aggregator = self._aggregator
        if aggregator is not None and aggregator.answers:
            since, until = aggregator.span_ns
            if aggregator.tellable:
                self.journal.tell(aggregator.take())
            else:
                reason = f"{aggregator.rows} rows are too few to tell aggregates of"
                gap = Gap(since_ns=since, until_ns=until, answers=aggregator.answers, reason=reason)
                self.journal.note(gap)
        self.journal.close()


def _printable(caller: bytes) -> str:
    text = caller[:CALLER_LENGTH].decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable())
