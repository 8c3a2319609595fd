"""The journal and its shipping: torn, damaged, foreign, live and full; every loss is told, and nothing comes twice."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.record.entries import Head
from mlflow_hydraulic.record.frames import Damage, scan
from mlflow_hydraulic.record.segments import segments
from mlflow_hydraulic.record.ship import Local, ship_once
from mlflow_hydraulic.record.store import Store
from tests.support.recorded import append, entry, ids, journal, ship

COUNT = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "record.db") as opened:
        yield opened


def wanted(count: int = COUNT) -> list[str]:
    return [f"id-{number}" for number in range(count)]


def test_what_is_appended_is_shipped_while_its_process_still_writes(folder: Path, store: Store) -> None:
    writer = journal(folder)
    assert append(writer, [entry(n) for n in range(COUNT)]) == [True] * COUNT
    assert ship(folder, store).deleted == 0
    assert ids(store) == wanted()
    append(writer, [entry(COUNT)])
    writer.close()
    assert ship(folder, store).deleted == 1
    assert ids(store) == wanted(COUNT + 1)
    assert not list(folder.iterdir())
    assert store.missing() == []


def test_shipping_again_stores_nothing_twice(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    for _ in range(3):
        ship(folder, store)
    assert ids(store) == wanted()


def test_a_shipper_that_dies_between_storing_and_deleting_leaves_no_double(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    writer.close()
    (segment,) = segments(folder)
    kept = segment.path.read_bytes()
    ship(folder, store)
    segment.path.write_bytes(kept)  # as if the file had not been deleted yet
    assert ship(folder, store).deleted == 1
    assert ids(store) == wanted()


def test_segments_rotate_by_size_and_by_age(folder: Path, store: Store) -> None:
    small = journal(folder, segment_bytes=500)
    append(small, [entry(n) for n in range(COUNT)])
    assert len(segments(folder)) > 2
    old = journal(folder, "s2", segment_age_ns=3 * 10**9)
    append(old, [entry(n) for n in range(COUNT)])
    ship(folder, store)
    assert sorted(ids(store)) == sorted(wanted() * 2)
    assert len(segments(folder)) == 2, "those that are written to stay"


def test_processes_have_files_of_their_own(folder: Path, store: Store) -> None:
    writers = [journal(folder, f"s{n}") for n in range(3)]
    for number in range(COUNT):
        append(writers[number % 3], [entry(number)])
    assert len(segments(folder)) == 3
    ship(folder, store)
    assert {one.source.replica for one in store.recorded()} == {"s0", "s1", "s2"}
    assert sorted(ids(store)) == wanted()


def test_a_torn_tail_waits_while_it_may_be_written_and_is_told_when_not(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    (segment,) = segments(folder)
    os.truncate(segment.path, segment.path.stat().st_size - 5)
    ship(folder, store)
    assert ids(store) == wanted(COUNT - 1)
    assert store.missing() == [], "its process lives: the rest may come"
    writer.close()
    assert ship(folder, store).deleted == 1
    (lost,) = store.missing()
    assert lost.bytes > 0 and segment.name in lost.reason


def test_a_flipped_bit_costs_one_prediction_and_is_told(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    writer.close()
    (segment,) = segments(folder)
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"id-4")] ^= 1
    segment.path.write_bytes(data)
    ship(folder, store)
    assert ids(store) == [one for one in wanted() if one != "id-4"]
    (lost,) = store.missing()
    (damage,) = [found for found in scan(bytes(data)) if isinstance(found, Damage)]
    assert lost.bytes == damage.end - damage.start


def test_a_length_that_a_flipped_bit_made_huge_holds_nothing_up(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    writer.close()
    (segment,) = segments(folder)
    data = bytearray(segment.path.read_bytes())
    at = data.rindex(b"\xf5Hyr", 0, data.index(b"id-4"))
    data[at + 6] ^= 0x40  # four million bytes more
    segment.path.write_bytes(data)
    assert ship(folder, store).deleted == 1
    assert ids(store) == [one for one in wanted() if one != "id-4"]
    assert store.missing()


def test_files_that_are_no_segments_stand_in_nobodys_way(folder: Path, store: Store) -> None:
    folder.mkdir()
    (folder / "0-empty.seg").write_bytes(b"")
    (folder / "0-foreign.seg").write_bytes(b"PAR1 and much more")
    (folder / "0-headless.seg").write_bytes(b"\xf5Hyr\x03\0\0\0\x01\0\0\0\0abc")
    (folder / "notes.txt").write_text("mine")
    writer = journal(folder)
    append(writer, [entry(n) for n in range(COUNT)])
    done = ship(folder, store)
    assert ids(store) == wanted()
    assert len(done.troubles) == 3
    assert all(name in " ".join(done.troubles) for name in ("0-empty", "0-foreign", "0-headless"))
    assert {path.name for path in folder.glob("0-*")} == {"0-foreign.damaged", "0-headless.damaged"}
    assert ship(folder, store).troubles == [], "each is told once"


def test_a_file_that_may_grow_no_more_loses_no_frame_by_half(folder: Path, store: Store) -> None:
    """The kernel writes a part of a frame up to the limit, as on a disk that is full."""
    writer = journal(folder)
    append(writer, [entry(0)])
    (segment,) = segments(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.path.stat().st_size + 50, hard))
    try:
        assert append(writer, [entry(1), entry(2)]) == [False, False]
        assert (writer.written, writer.dropped) == (1, 2)
        assert "bytes could be written" in writer.trouble or "File too large" in writer.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert append(writer, [entry(3)]) == [True]
    assert writer.trouble == ""
    writer.close()
    ship(folder, store)
    assert ids(store) == ["id-0", "id-3"]
    (gap,) = store.missing()
    assert (gap.answers, gap.bytes) == (2, 0)
    assert gap.since <= gap.until


def test_a_full_disk_is_told_as_soon_as_there_is_room(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = journal(folder)
    append(writer, [entry(0)])

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mlflow_hydraulic.record.journal.os.write", full)
        assert append(writer, [entry(n) for n in (1, 2, 3)]) == [False] * 3
        writer.settle()
        assert "No space left" in writer.trouble
    writer.settle()  # somebody asks how it is, and nobody has asked for a prediction since
    assert (writer.trouble, writer.dropped) == ("", 3)
    ship(folder, store)
    assert [gap.answers for gap in store.missing()] == [3]


def test_a_journal_that_nobody_ships_fills_no_disk(folder: Path, store: Store) -> None:
    writer = journal(folder, max_bytes=3000, segment_bytes=500)
    done = append(writer, [entry(n) for n in range(200)])
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6000
    assert not done[-1]
    assert "record ship" in writer.trouble
    ship(folder, store)
    assert append(writer, [entry(n) for n in range(200, 203)])[-1]
    writer.close()
    ship(folder, store)
    assert sum(gap.answers for gap in store.missing()) + len(ids(store)) == 203


def test_a_journal_whose_folder_is_taken_away_begins_anew(folder: Path, store: Store) -> None:
    writer = journal(folder, segment_age_ns=10**9)
    append(writer, [entry(0)])
    folder.rename(folder.with_name("gone"))
    assert not append(writer, [entry(5)])[0]
    folder.mkdir()
    assert append(writer, [entry(6)]) == [True]
    ship(folder, store)
    assert ids(store) == ["id-6"]
    assert [gap.answers for gap in store.missing()] == [1]


class Away:
    """A destination that takes a few chunks and then is away."""

    def __init__(self, store: Store, takes: int) -> None:
        self._local, self._takes = Local(store), takes

    def offset(self, segment: str) -> int:
        return self._local.offset(segment)

    def take(self, segment: str, head: Head, start: int, data: bytes, *, final: bool) -> int:
        self._takes -= 1
        if self._takes < 0:
            raise Unavailable("away")
        return self._local.take(segment, head, start, data, final=final)


def test_a_destination_that_is_away_costs_nothing(folder: Path, store: Store) -> None:
    writer = journal(folder, segment_bytes=500)
    append(writer, [entry(n) for n in range(COUNT)])
    writer.close()
    with pytest.raises(Unavailable):
        ship_once(folder, Away(store, 2))
    assert 0 < len(ids(store)) < COUNT
    ship(folder, store)
    assert ids(store) == wanted()


def test_a_prediction_larger_than_what_is_read_at_once(folder: Path, store: Store) -> None:
    writer = journal(folder)
    append(writer, [entry(0), entry(1, size=5_000_000), entry(2)])
    ship(folder, store)
    assert ids(store) == ["id-0", "id-1", "id-2"]
    assert len(store.find("id-1")[0].request) > 5_000_000


def test_what_cannot_be_written_costs_nobody_elses_answer(folder: Path, store: Store) -> None:
    writer = journal(folder)
    odd, huge, text = entry(1), entry(2), entry(3)
    odd.inputs = [["\ud800", 1.0]]
    huge.labels, huge.label_type = [2**70], ""
    text.labels, text.label_type = [Path("a label of an odd type")], ""
    for one in (entry(0), odd, huge, text, entry(4)):
        writer.held.append(structs.astuple(one))
    assert not writer.flush()
    ship(folder, store)
    assert ids(store) == ["id-0", "id-3", "id-4"]
    assert store.find("id-3")[0].labels.tolist() == ["a label of an odd type"]
    assert [gap.answers for gap in store.missing()] == [1, 1]
    assert all(
        f"id-{number} cannot be written" in gap.reason for number, gap in zip((1, 2), store.missing(), strict=True)
    )
