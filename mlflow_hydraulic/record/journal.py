"""The journal of one scorer process: what was answered, appended before the answer is sent. Written by `recorder`.

    FOLDER/<ns>-<pid>-<random>.seg    segments; the process that writes one holds an exclusive flock(2) on it

A segment is a head frame, then frames of predictions, gaps, minutes and feedback (`frames`, `entries`). Once `flush`
has returned, write(2) has: the bytes are the kernel's. Every answer goes out after that (`scoring.wire` holds answers
of one turn of the event loop, so that they share one write), and the death of the process, SIGKILL included, loses none
that a caller has got. What a SIGKILL can lose: answers that nobody has got yet. What a crash of the machine can lose:
what the kernel had not written back, some 30 seconds at Linux' defaults.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import structs

from mlflow_hydraulic.record.entries import Feedback, Gap, Head, Minute, encode
from mlflow_hydraulic.record.frames import FEEDBACK, GAP, HEAD, MINUTE, PREDICTIONS, frame

try:
    import fcntl
except ImportError:  # Windows: said clearly when somebody wants to record, so that scorers run there without
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".seg"
NEW = ".new"
SEGMENT_BYTES = 64 * 2**20
SEGMENT_AGE_NS = 60 * 10**9
LOOK_NS = 10**9  # how often the folder's size is looked at

log = logging.getLogger(__name__)


class Journal:
    """One process's journal. For one thread.

    max_bytes: of all segments in the folder; beyond it nothing is appended, so that a shipper that is gone fills no
    disk. held: predictions that the next `flush` writes, as tuples of an `Entry`'s fields. written, dropped: answers
    that were appended, and that could not be. trouble: why not; "" while all is well.
    """

    def __init__(
        self,
        folder: Path,
        head: Head,
        *,
        max_bytes: int,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age_ns: int = SEGMENT_AGE_NS,
    ) -> None:
        self.written = self.dropped = 0
        self.trouble = ""
        self._folder, self._head = folder, head
        self._max_bytes, self._segment_bytes, self._segment_age_ns = max_bytes, segment_bytes, segment_age_ns
        self._file = -1
        self._size = self._end_ns = self._looked_ns = self._due_ns = 0
        self._full = False
        self._gap: Gap | None = None
        self.held: list[tuple[Any, ...]] = []
        if fcntl is None:
            raise OSError("a prediction record needs file locks of Linux or macOS; on Windows run it under WSL")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def flush(self) -> bool:
        """Write what is held; False where that is not possible, which is counted, and written down later."""
        held = self.held
        if not held:
            return True
        self.held = []
        try:
            return self._append(PREDICTIONS, held, held[-1][0], len(held))
        except (ValueError, OverflowError):  # one holds what msgpack cannot: half a surrogate pair, a huge number
            appended = [self._append_alone(one) for one in held]  # each of them, whatever became of the one before
            return all(appended)

    def tell(self, minute: Minute) -> bool:
        """Write down a minute, as `flush` does predictions."""
        return self._append(MINUTE, minute, minute.until_ns, minute.answers)

    def hear(self, feedback: Feedback) -> bool:
        """Write down feedback; False where that is not possible: its sender is told, so nothing is missing."""
        return self._append(FEEDBACK, feedback, feedback.ns, 0)

    def leave_out(self, beginning: bytes) -> None:
        """From the next prediction on, request bodies may be without this beginning: a new segment's head has it."""
        self.flush()
        self._end_segment()
        self._head = structs.replace(self._head, beginning=beginning)

    def settle(self) -> None:
        """Write down the gap that is open, if that is possible now; called when somebody asks how things are."""
        self.flush()
        if self._gap is not None:
            try:
                self._prepare(time.time_ns())
                self._write_gap()
            except OSError as error:
                self.trouble = str(error)

    def note(self, gap: Gap) -> None:
        """Write down that answers are missing for a reason of their own."""
        try:
            self._prepare(gap.until_ns)
            self._write(frame(GAP, encode(gap)))
        except OSError as error:
            log.error("%d answers are not recorded (%s): %s", gap.answers, gap.reason, error)  # noqa: TRY400 - told

    def close(self) -> None:
        """End the segment; what is missing is written down, or else logged."""
        self.settle()
        if self._gap is not None:
            log.error("%d answers are not recorded: %s", self._gap.answers, self._gap.reason)
        self._end_segment()

    def _append_alone(self, prediction: tuple[Any, ...]) -> bool:
        ns = prediction[0]
        try:
            return self._append(PREDICTIONS, [prediction], ns, 1)
        except (ValueError, OverflowError) as error:
            self.dropped += 1
            self.note(Gap(since_ns=ns, until_ns=ns, answers=1, reason=f"{prediction[1]} cannot be written: {error}"))
            return False

    def _append(self, kind: int, value: object, ns: int, answers: int) -> bool:
        try:
            if ns > self._due_ns or self._size > self._segment_bytes:
                self._prepare(ns)
            if self._gap is not None:
                self._write_gap()
            self._write(frame(kind, encode(value)))
        except OSError as error:
            self._failed(error, ns, answers)
            return False
        self.written += answers
        return True

    def _prepare(self, ns: int) -> None:
        """A segment that may be written to; `OSError` where the folder is as full as it may be, or the disk is."""
        if ns > self._looked_ns + LOOK_NS:
            self._looked_ns = ns
            self._full = _size_of(self._folder) > self._max_bytes
        if self._full:
            self._due_ns = 0
            limit = f"{self._folder} holds more than {self._max_bytes} bytes that nobody has shipped"
            raise OSError(errno.EDQUOT, f"{limit}: is `hydraulic record ship` running?")
        if self._file >= 0 and (ns > self._end_ns or self._size > self._segment_bytes):
            self._end_segment()
        if self._file < 0:
            self._begin_segment(ns)
        self._due_ns = min(self._end_ns, self._looked_ns + LOOK_NS)

    def _begin_segment(self, ns: int) -> None:
        path = self._folder / f"{ns:020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        # Under another name until it is locked and has its head: no shipper must take it for one that has ended.
        making = path.with_suffix(NEW)
        self._file = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._write(frame(HEAD, encode(self._head)))
            making.rename(path)
        except OSError:
            self._end_segment()
            with suppress(OSError):
                making.unlink()
            raise
        self._end_ns = ns + self._segment_age_ns

    def _end_segment(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file, self._due_ns = -1, 0

    def _write(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written != len(data):  # the disk is full: a part of a frame would have to be skipped by every reader
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")
        self._size += written

    def _write_gap(self) -> None:
        if self._gap is not None:
            self._write(frame(GAP, encode(self._gap)))
            log.warning("recording again; %d answers are not recorded: %s", self._gap.answers, self._gap.reason)
            self._gap, self.trouble = None, ""

    def _failed(self, error: OSError, ns: int, answers: int) -> None:
        self.dropped += answers
        if not answers:
            log.error("feedback is not recorded: %s", error)
            return
        if self._gap is None:
            log.error("answers are not recorded: %s", error)
            self._gap = Gap(since_ns=ns, until_ns=ns, answers=0, reason=str(error))
        self.trouble = str(error)
        gap = self._gap
        self._gap = Gap(since_ns=gap.since_ns, until_ns=ns, answers=gap.answers + answers, reason=gap.reason)
        if error.errno not in (errno.EDQUOT, errno.ENOSPC):
            self._end_segment()  # the file may be gone or its disk away: a new one is tried next time


def _size_of(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # just shipped
                total += entry.stat().st_size
    return total
