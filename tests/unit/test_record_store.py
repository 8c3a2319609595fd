"""The store: windows, whole predictions, joins by id, retention, and several who write at once."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlflow_hydraulic.errors import BadData, Failed, NotFound
from mlflow_hydraulic.record.retention import prune, used_bytes
from mlflow_hydraulic.record.store import Chunk, Store
from mlflow_hydraulic.record.values import Prediction, Window
from tests.scorers import MIXED, MIXED_ROWS
from tests.support.recorded import SCHEMA, SERVED, START_NS, entry, head, ids

DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "record.db") as opened:
        yield opened


def take(store: Store, numbers: range, *, replica: str = "s1", rows: int = 1) -> None:
    """Entries as from one segment."""
    name = f"{replica}-{numbers.start}"
    entries = [entry(number, rows=rows) for number in numbers]
    store.take(Chunk(segment=name, start=0, end=1, head=head(replica), entries=entries))


def window(store: Store, **asked: object) -> Window:
    return store.window(**{"namespace": "prod", "deployment": "cooler", **asked})  # type: ignore[arg-type]


def test_a_window_has_the_rows_of_all_replicas_in_time_order(store: Store) -> None:
    take(store, range(0, 10, 2))
    take(store, range(1, 10, 2), replica="s2")
    found = window(store)
    assert found.inputs[:, 0].tolist() == list(range(10))
    assert found.ids.tolist() == [f"id-{n}" for n in range(10)]
    assert found.schema == SCHEMA
    assert found.labels.tolist() == [20] * 10
    assert found.probabilities is not None and found.probabilities.shape == (10, 3)
    assert (np.diff(found.at) > 0).all()


def test_rows_of_one_request_keep_their_numbers(store: Store) -> None:
    take(store, range(2), rows=3)
    found = window(store)
    assert found.rows.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.inputs[:, 1].tolist() == [0, 1, 2, 0, 1, 2]
    assert window(store, last_rows=2).rows.tolist() == [1, 2]


def test_a_window_is_from_a_moment_to_before_another(store: Store) -> None:
    take(store, range(10))
    start = START_NS / 1e9
    assert window(store, since=start + 2, until=start + 5).inputs[:, 0].tolist() == [2, 3, 4]
    assert window(store, last_rows=2).inputs[:, 0].tolist() == [8, 9]
    assert len(window(store, since=start + 100)) == 0


def test_who_is_meant_can_be_named(store: Store) -> None:
    canary = replace(SERVED, predictor="canary", version="8")
    take(store, range(3))
    store.take(Chunk(segment="x", start=0, end=1, head=head("s9", served=canary), entries=[entry(50)]))
    assert len(window(store)) == 4
    assert window(store).served == canary, "of several, the one that answered last"
    assert len(window(store, predictor="canary")) == 1
    assert len(window(store, predictor=("canary", "default"))) == 4
    assert len(window(store, version="7", target="seldon-local")) == 3
    with pytest.raises(NotFound, match="seldon-local/default/7"):
        window(store, predictor="shadow")


def test_a_router_may_name_another_predictor_than_the_scorer_was_started_for(store: Store) -> None:
    first, second = entry(0), entry(1)
    second.predictor = "champion"
    store.take(Chunk(segment="x", start=0, end=1, head=head(), entries=[first, second]))
    assert window(store, predictor="champion").ids.tolist() == ["id-1"]
    assert window(store, predictor="default").ids.tolist() == ["id-0"]


def test_a_prediction_is_found_whole_by_its_id(store: Store) -> None:
    take(store, range(5), rows=2)
    (found,) = store.find("id-3")
    assert found.request == b'{"inputs": [[3]]}' and found.answer == b'{"predictions": [20]}'
    assert (found.served, found.path, found.status) == (SERVED, "/invocations", 200)
    assert found.inputs.tolist() == [[3.0, 0.0], [3.0, 1.0]]
    assert found.labels.tolist() == [20, 20]
    assert store.find("nobody's") == ()


def test_an_id_that_a_caller_used_twice_is_found_twice(store: Store) -> None:
    again = entry(9)
    again.id = "id-1"
    store.take(Chunk(segment="x", start=0, end=1, head=head(), entries=[entry(1), again]))
    assert [one.at for one in store.find("id-1")] == [START_NS / 1e9 + 1, START_NS / 1e9 + 9]


def test_cells_of_every_type_come_back(store: Store) -> None:
    cells = np.array(MIXED_ROWS, dtype=object)
    given = Prediction(
        served=SERVED,
        id="m",
        at=START_NS / 1e9,
        path="/invocations",
        status=200,
        latency_s=0.1,
        inputs=cells,
        labels=np.array([1.5, 2.5]),
    )
    assert store.append([given], MIXED) == 1
    (found,) = store.find("m")
    assert found.inputs.tolist() == MIXED_ROWS
    rows = window(store)
    assert rows.categories["string"].tolist() == ["abc", ""]
    assert np.isnan(rows.inputs[0, 6]) and rows.inputs[0, 4] == 1.0
    assert rows.probabilities is None and rows.labels.tolist() == [1.5, 2.5]


def test_text_labels_come_back(store: Store) -> None:
    one = entry(0)
    one.label_type, one.labels = "", ["worn"]
    store.take(Chunk(segment="x", start=0, end=1, head=head(), entries=[one]))
    assert window(store).labels.tolist() == ["worn"]


def test_rows_of_another_schema_than_the_newest_are_left_out(store: Store) -> None:
    other = replace(SCHEMA, target="pump")
    take(store, range(3))
    store.take(Chunk(segment="x", start=0, end=1, head=head("s2", schema=other), entries=[entry(9)]))
    assert window(store).schema == other
    assert window(store).ids.tolist() == ["id-9"]


def test_two_at_one_nanosecond_are_kept_apart(store: Store) -> None:
    """A clock that was set back, or a name that two processes share: no row may overwrite another, in no sink."""
    entries = [entry(n, ns=START_NS, rows=3) for n in range(5)]
    store.take(Chunk(segment="x", start=0, end=1, head=head(), entries=entries))
    at = np.round(window(store).at * 1e9)
    with store.reading() as sql:
        spans = sql.execute("select ns, ns + rows from predictions order by ns").fetchall()
    assert len(at) == 15
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert spans[-1][1] == START_NS + 15


def test_many_ids_are_joined_without_their_cells(store: Store) -> None:
    take(store, range(1500), rows=2)
    found = {one.id: one for one in store.scored(f"id-{n}" for n in range(0, 2000, 2))}
    assert len(found) == 750
    assert found["id-4"].labels.tolist() == [20, 20]
    assert found["id-4"].probabilities is not None and found["id-4"].probabilities.shape == (2, 3)
    assert found["id-4"].at == START_NS / 1e9 + 4


def test_what_is_old_goes_and_that_is_written_down(store: Store) -> None:
    take(store, range(10))
    gone = prune(store, days=5 / DAY_S, max_bytes=10**9, now=START_NS / 1e9 + 9)
    assert gone.predictions == 4
    assert ids(store) == [f"id-{n}" for n in range(4, 10)]
    with store.reading() as sql:
        assert [tuple(row) for row in sql.execute("select predictions from pruned")] == [(4,)]
        assert sql.execute("select count(*) from bodies").fetchone()[0] == 6


def test_what_is_too_much_goes_from_its_beginning(store: Store) -> None:
    for start in range(0, 12_000, 3000):
        take(store, range(start, start + 3000))
    before = used_bytes(store)
    gone = prune(store, days=10**5, max_bytes=before // 2)
    assert gone.bytes_left <= before // 2
    assert ids(store)[-1] == "id-11999" and "id-0" not in ids(store)


def test_a_pruned_store_gives_no_number_twice(store: Store) -> None:
    take(store, range(3))
    prune(store, days=0, max_bytes=0)
    take(store, range(10, 12))
    with store.reading() as sql:
        assert [row[0] for row in sql.execute("select seq from predictions")] == [4, 5]


def test_several_writers_and_readers(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Store(path) as mine:
                for start in range(0, 200, 20):
                    take(mine, range(start, start + 20), replica=f"s{number}")
                    window(mine, last_rows=5)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with Store(path) as store:
        assert len(window(store)) == 800


def test_other_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is recorded here yet"):
        Store(tmp_path / "none.db", make=False)
    (tmp_path / "text.db").write_text("no database at all, but long enough to look at " * 50)
    with pytest.raises(BadData, match="not a database"):
        Store(tmp_path / "text.db")
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("create table mine (x)")
    foreign.close()
    with pytest.raises(BadData, match="something else"):
        Store(tmp_path / "foreign.db")
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("pragma user_version=99")
    newer.close()
    with pytest.raises(Failed, match="format is 99"):
        Store(tmp_path / "newer.db")
