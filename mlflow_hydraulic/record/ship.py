"""Brings what scorers have appended to the store, exactly once, and deletes segments that are stored whole.

Run by `hydraulic record ship`, which local deployments keep running, and at the start of whatever reads the record.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mlflow_hydraulic.errors import BadData, HydraulicError, Unavailable
from mlflow_hydraulic.record.entries import Head
from mlflow_hydraulic.record.journal import NEW
from mlflow_hydraulic.record.segments import Segment, chunk_of, segments
from mlflow_hydraulic.record.store import Store

DAMAGED = ".damaged"  # beside the segments, for people to look at
BEGINNING_S = 60.0  # a process that lives needs a moment for it
log = logging.getLogger(__name__)


class Destination(Protocol):
    """Where segments go: the store of this machine, or an intake elsewhere.

    `take` stores the bytes of a segment from `start` on and how far it is stored, together or not at all, and returns
    the segment's offset: where to go on.
    """

    def offset(self, segment: str) -> int: ...

    def take(self, segment: str, head: Head, start: int, data: bytes, *, final: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Local:
    """The store of this machine."""

    store: Store

    def offset(self, segment: str) -> int:
        return self.store.offset(segment)

    def take(self, segment: str, head: Head, start: int, data: bytes, *, final: bool) -> int:
        return self.store.take(chunk_of(segment, head, start, data, final=final))


@dataclass(kw_only=True)
class Shipped:
    """What one pass did. waiting: bytes that could not be shipped; troubles: why."""

    bytes: int = 0
    deleted: int = 0
    waiting: int = 0
    troubles: list[str] = field(default_factory=list)


def ship_once(folder: Path, destination: Destination) -> Shipped:
    """Ship what is in the segments of `folder` now. A segment that cannot be read stands in nobody's way.

    `Unavailable` where the destination is away: then nothing else would go either.
    """
    done = Shipped()
    _forget_beginnings(folder)
    for segment in segments(folder):
        try:
            _ship(segment, destination, done)
        except FileNotFoundError:
            continue  # another shipper was quicker
        except Unavailable:
            raise
        except (HydraulicError, OSError) as error:
            done.troubles.append(str(error))
            _set_aside(segment, error, done)
    return done


def _ship(segment: Segment, destination: Destination, done: Shipped) -> None:
    ended = segment.ended()  # before its size is read: nothing can be appended after it
    size = segment.path.stat().st_size
    if not size and not ended:
        return
    start = destination.offset(segment.name)
    head = segment.head() if start < size or not size else None
    while head is not None and start < size:
        data = segment.bytes_from(start)
        stored = destination.take(segment.name, head, start, data, final=ended and start + len(data) >= size)
        if stored == start and start + len(data) < size:  # a frame that pretends to be long: damage, or a long one
            data = segment.bytes_from(start, size - start)
            stored = destination.take(segment.name, head, start, data, final=ended)
        if stored == start:  # an incomplete frame: the rest is being written now
            break
        done.bytes += max(0, stored - start)
        start = stored
    if ended and start >= size:
        segment.path.unlink()
        done.deleted += 1


def _forget_beginnings(folder: Path) -> None:
    """Files whose process died before it had written its segment's head."""
    for path in folder.glob(f"*{NEW}"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > BEGINNING_S and Segment(path).ended():
                path.unlink()


def _set_aside(segment: Segment, error: Exception, done: Shipped) -> None:
    """A file that is none of ours or damaged at its head goes under another name: it is looked at once, and kept."""
    if isinstance(error, BadData) and segment.ended():
        if segment.path.stat().st_size == 0:
            segment.path.unlink()
        else:
            segment.path.replace(segment.path.with_suffix(DAMAGED))
            log.error("%s: set aside as %s: %s", segment.name, segment.path.stem + DAMAGED, error)
    else:
        done.waiting += segment.path.stat().st_size
