"""Reads a folder's segments, whole, torn, damaged or still being written, chunk by chunk. Called by `ship`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.record.entries import (
    FORMAT,
    Entry,
    Feedback,
    Gap,
    Head,
    Minute,
    decode_entries,
    decode_feedback,
    decode_gap,
    decode_head,
    decode_minute,
)
from mlflow_hydraulic.record.frames import FEEDBACK, GAP, HEAD, HEADER, MAGIC, MINUTE, PREDICTIONS, Damage, Frame, scan
from mlflow_hydraulic.record.journal import SUFFIX
from mlflow_hydraulic.record.store import Chunk

CHUNK_BYTES = 2 * 2**20
HEAD_BYTES = 2**20  # a head has some 2 kB; a schema of ten thousand columns fits


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment's file. Its name is never given twice."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def ended(self) -> bool:
        """Whether nobody writes to it any more: its process let it go, or died."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def head(self) -> Head:
        """Who wrote it; `BadData` where the file is empty, foreign, or its beginning is damaged."""
        with self.path.open("rb") as stream:
            return read_head(self.name, stream.read(HEAD_BYTES))

    def bytes_from(self, start: int, most: int = CHUNK_BYTES) -> bytes:
        """Bytes from `start` on: at most so many, or one whole frame where that is longer."""
        with self.path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(most)
            if len(data) >= HEADER.size and data.startswith(MAGIC):
                needed = HEADER.size + HEADER.unpack_from(data)[1]
                if len(data) < needed <= self.path.stat().st_size - start:
                    data += stream.read(needed - len(data))
        return data


def segments(folder: Path) -> list[Segment]:
    """The segments of a folder, the oldest first; none where there is no folder."""
    return [Segment(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def read_head(name: str, data: bytes) -> Head:
    """The head at the beginning of a segment's bytes; `BadData` says what is there instead."""
    if not data:
        raise BadData(name, "the segment is empty: its process ended before it wrote anything; delete the file")
    if not data.startswith(MAGIC):
        raise BadData(name, "not a segment of a prediction record: move the file away")
    first = next(scan(data), None)
    if not isinstance(first, Frame) or first.kind != HEAD:
        raise BadData(name, "its head is damaged, so nobody knows whose predictions these are: move the file away")
    try:
        head = decode_head(first.payload)
    except msgspec.DecodeError as error:
        raise BadData(name, f"its head cannot be read: {error}") from error
    if head.format != FORMAT:
        raise BadData(name, f"its format is {head.format}, this package reads {FORMAT}: install the newer version")
    return head


def chunk_of(name: str, head: Head, start: int, data: bytes, *, final: bool) -> Chunk:
    """What stands in `data`, a segment's bytes from `start` on. An incomplete frame at the end is left for later.

    final: nothing will follow, so an incomplete frame is torn, and lost.
    """
    entries: list[Entry] = []
    gaps: list[Gap] = []
    minutes: list[Minute] = []
    feedback: list[Feedback] = []
    readers: dict[int, Callable[[memoryview], None]] = {
        PREDICTIONS: lambda payload: entries.extend(_whole(decode_entries(payload), head.beginning)),
        GAP: lambda payload: gaps.append(decode_gap(payload)),
        MINUTE: lambda payload: minutes.append(decode_minute(payload)),
        FEEDBACK: lambda payload: feedback.append(decode_feedback(payload)),
    }
    lost = end = 0
    for found in scan(data):
        end = found.end
        if isinstance(found, Damage):
            lost += found.end - found.start
        elif found.kind in readers:
            try:
                readers[found.kind](found.payload)
            except msgspec.DecodeError:
                lost += len(found.payload)
        # A head is known; a kind that a newer version writes is none of ours.
    if final:
        lost += len(data) - end
        end = len(data)
    return Chunk(
        segment=name,
        start=start,
        end=start + end,
        head=head,
        entries=entries,
        gaps=gaps,
        minutes=minutes,
        feedback=feedback,
        lost=lost,
    )


def _whole(entries: list[Entry], beginning: bytes) -> list[Entry]:
    """Entries with whole request bodies."""
    for entry in entries:
        if entry.cut:
            entry.request, entry.cut = beginning[: entry.cut] + entry.request, 0
    return entries
