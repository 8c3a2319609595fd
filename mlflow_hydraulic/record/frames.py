"""Frames: how bytes lie in a journal segment, so that damage is found, told and stepped over.

    frame = magic (4 bytes, f5 48 79 72) | length (u32) | kind (u8) | crc (u32) | payload (length bytes), little-endian

The CRC-32 is over the payload, started with length and kind, so that those are covered too. The magic's first byte
occurs in no UTF-8 text. Written by `journal`, read by `segments` and the intake.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

MAGIC = b"\xf5Hyr"
HEADER = struct.Struct("<4sIBI")
_pack = HEADER.pack
LARGEST = 2**30  # bytes of one payload: a length beyond it is damage, not a reason to wait for more


HEAD, PREDICTIONS, GAP, MINUTE, FEEDBACK = 1, 2, 3, 4, 5
"""What a frame's payload is (`entries` has the shapes). Plain numbers, because an enum's cost more than a CRC does."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame. `end`: where it ends in what was scanned."""

    kind: int
    payload: memoryview
    end: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame: [start, end) of what was scanned."""

    start: int
    end: int


def frame(kind: int, payload: bytes) -> bytes:
    """One frame.

    >>> [bytes(found.payload) for found in scan(frame(GAP, b"abc")) if isinstance(found, Frame)]
    [b'abc']
    """
    length = len(payload)
    return _pack(MAGIC, length, kind, crc32(payload, (length << 3 ^ kind) & 0xFFFFFFFF)) + payload


def scan(data: bytes | memoryview) -> Iterator[Frame | Damage]:
    """The frames in `data` in their order, and what lies between them that is none.

    An incomplete frame at the end is not yielded: it is still being written, or torn; only the caller can tell.
    Damage that reaches to the end of `data` may hold the beginning of a frame: it ends before the last bytes that
    could be one.
    """
    view = memoryview(data)
    raw = bytes(view) if not isinstance(data, bytes) else data
    at, size = 0, len(raw)
    while at < size:
        found = _frame_at(view, raw, at)
        if isinstance(found, Frame):
            yield found
            at = found.end
            continue
        if found is None:  # incomplete: is there a whole frame behind it, it is damage; else it is the tail
            after = _next_frame(view, raw, at + 1)
            if after is None:
                return
            yield Damage(at, after)
            at = after
            continue
        after = _next_start(view, raw, at + 1)
        yield Damage(at, after)
        at = after


def _frame_at(view: memoryview, raw: bytes, at: int) -> Frame | bool | None:
    """The frame that starts at `at`; None where it may start there and is not whole; False where none starts."""
    head = raw[at : at + HEADER.size]
    if not head.startswith(MAGIC[: len(head)]):
        return False
    if len(head) < HEADER.size:
        return None
    _, length, kind, crc = HEADER.unpack(head)
    if length > LARGEST:
        return False
    end = at + HEADER.size + length
    if end > len(raw):
        return None
    payload = view[at + HEADER.size : end]
    return Frame(kind, payload, end) if crc32(payload, (length << 3 ^ kind) & 0xFFFFFFFF) == crc else False


def _next_start(view: memoryview, raw: bytes, at: int) -> int:
    """Where, from `at` on, a whole frame starts; else where an incomplete one might; else the end."""
    first_incomplete = -1
    while True:
        at = raw.find(MAGIC[:1], at)
        if at < 0:
            return first_incomplete if first_incomplete >= 0 else len(raw)
        found = _frame_at(view, raw, at)
        if isinstance(found, Frame):
            return at
        if found is None and first_incomplete < 0:
            first_incomplete = at
        at += 1


def _next_frame(view: memoryview, raw: bytes, at: int) -> int | None:
    """Where, from `at` on, a whole frame starts; None where there is none."""
    while (at := raw.find(MAGIC, at)) >= 0:
        if isinstance(_frame_at(view, raw, at), Frame):
            return at
        at += 1
    return None
