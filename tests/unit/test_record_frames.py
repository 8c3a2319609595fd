"""Frames: whatever happens to a segment's bytes, whole frames are found, and every other byte is accounted for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.record.frames import GAP, HEADER, MAGIC, PREDICTIONS, Damage, Frame, frame, scan

payloads = st.lists(st.binary(max_size=60) | st.just(MAGIC) | st.just(MAGIC * 3 + b"\x05\0\0\0"), max_size=8)


def whole(data: bytes) -> list[bytes]:
    return [bytes(found.payload) for found in scan(data) if isinstance(found, Frame)]


def end_of(data: bytes) -> int:
    return max((found.end for found in scan(data)), default=0)


@given(payloads)
def test_what_was_framed_is_found(written: list[bytes]) -> None:
    data = b"".join(frame(PREDICTIONS, payload) for payload in written)
    assert whole(data) == written
    assert end_of(data) == len(data)
    assert not any(isinstance(found, Damage) for found in scan(data))


@given(payloads, st.data())
def test_a_torn_tail_costs_the_last_frame_only(written: list[bytes], data: st.DataObject) -> None:
    frames = [frame(PREDICTIONS, payload) for payload in written]
    joined = b"".join(frames)
    cut = data.draw(st.integers(0, len(joined)))
    kept = 0
    for size in (len(one) for one in frames):
        if kept + size > cut:
            break
        kept += size
    assert end_of(joined[:cut]) == kept, "the tail is left for later: it may be in the middle of its writing"
    assert b"".join(frame(PREDICTIONS, payload) for payload in whole(joined[:cut])) == joined[:kept]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8), st.data())
def test_a_flipped_bit_costs_one_frame_and_is_seen(written: list[bytes], data: st.DataObject) -> None:
    frames = [frame(PREDICTIONS, payload) for payload in written]
    joined = bytearray(b"".join(frames))
    bit = data.draw(st.integers(0, 8 * len(joined) - 1))
    joined[bit // 8] ^= 1 << bit % 8
    hit, start = 0, 0
    while start + len(frames[hit]) <= bit // 8:
        start += len(frames[hit])
        hit += 1
    assert whole(bytes(joined)) == written[:hit] + written[hit + 1 :]
    if hit < len(frames) - 1:
        assert [found for found in scan(bytes(joined)) if isinstance(found, Damage)] == [
            Damage(start, start + len(frames[hit]))
        ]


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_frames_and_break_nothing(data: bytes) -> None:
    covered = 0
    for found in scan(data):
        assert found.end > covered
        covered = found.end
    assert covered <= len(data)


def test_the_header_is_as_documented() -> None:
    written = frame(GAP, b"abc")
    assert written[:4] == b"\xf5Hyr"
    assert (len(written), HEADER.size) == (16, 13)
    assert written[4:9] == b"\x03\0\0\0\x03"
