"""True values meet predictions: in any order, late, repeated, corrected, before or after, for shadows too."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.accuracy.store import ActualStore, Standing, Taken
from mlflow_hydraulic.accuracy.values import UNKNOWN, Actual, class_number
from mlflow_hydraulic.errors import BadData, BadInput, NotFound
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Prediction, Served
from mlflow_hydraulic.schema import Field, Schema

SCHEMA = Schema(inputs=(Field(name="a"),), target="cool_cond_y", labels=(3, 20, 100))
CHAMPION = Served(
    target="t", namespace="prod", deployment="cooler", predictor="v1", model="cooler", version="1", digest="d"
)
SHADOW = replace(CHAMPION, predictor="v2", version="2", digest="e")


def prediction(name: str, labels: Sequence[int], at: float, served: Served = CHAMPION) -> Prediction:
    probabilities = np.full((len(labels), 3), 0.1)
    for row, label in enumerate(labels):
        probabilities[row, SCHEMA.labels.index(label)] = 0.8
    return Prediction(
        served=served,
        id=name,
        at=at,
        path="/invocations",
        status=200,
        latency_s=0.001,
        inputs=np.zeros((len(labels), 1)),
        labels=np.array(labels),
        probabilities=probabilities,
    )


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "record.db") as store:
        yield store


@pytest.fixture
def actuals(tmp_path: Path) -> Iterator[ActualStore]:
    with ActualStore(tmp_path / "actuals.db") as store:
        yield store


def truths(actuals: ActualStore, predictor: str = "v1") -> list[tuple[float, float]]:
    """(true, predicted) class numbers in time order."""
    found = actuals.labelled(namespace="prod", deployment="cooler", predictor=predictor)
    return [pair for one in found for pair in zip(one.truth.tolist(), one.predicted.tolist(), strict=True)]


def test_truth_after_and_before_its_prediction(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3, 20], 10.0)], SCHEMA)
    actuals.take([Actual(id="a", row=1, value=100, at=50.0), Actual(id="b", value="20", at=50.0)], now=60.0)
    assert actuals.join(record) == Standing(joined=1, unfit=0, waiting=1)
    record.append([prediction("b", [20], 11.0)], SCHEMA)
    assert actuals.join(record) == Standing(joined=2, unfit=0, waiting=0)
    assert truths(actuals) == [(2.0, 1.0), (1.0, 1.0)]
    (rows,) = actuals.labelled(namespace="prod", deployment="cooler")
    assert rows.at.tolist() == pytest.approx([10.0, 11.0]) and rows.arrived.tolist() == [60.0, 60.0]
    assert rows.probabilities is not None and rows.probabilities.argmax(axis=1).tolist() == [1, 1]


def test_a_shadow_that_is_shipped_later_is_labelled_too(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0)], SCHEMA)
    actuals.take([Actual(id="a", value=3, at=50.0)], now=60.0)
    actuals.join(record)
    record.append([prediction("a", [20], 10.0, SHADOW)], SCHEMA)
    assert actuals.join(record).joined == 1
    assert truths(actuals) == [(0.0, 0.0)] and truths(actuals, "v2") == [(0.0, 1.0)]


def test_a_correction_replaces_and_a_late_older_word_does_not(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0)], SCHEMA)
    assert actuals.take([Actual(id="a", value=3, at=50.0)], now=60.0) == Taken(new=1)
    actuals.join(record)
    assert actuals.take([Actual(id="a", value=3, at=50.0)], now=61.0) == Taken(repeated=1)
    assert actuals.take([Actual(id="a", value=20, at=70.0)], now=71.0) == Taken(corrected=1)
    assert actuals.take([Actual(id="a", value=100, at=65.0)], now=72.0) == Taken(older=1)
    actuals.join(record)
    assert truths(actuals) == [(1.0, 0.0)]
    assert [one.value for one, _ in actuals.history("a")] == [3, 20, 100]
    (rows,) = actuals.labelled(namespace="prod", deployment="cooler")
    assert rows.arrived.tolist() == [60.0]  # a correction does not make the label late


def test_what_does_not_fit_is_counted_and_takes_back_what_did(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0)], SCHEMA)
    actuals.take([Actual(id="a", row=7, value=3, at=1.0)], now=60.0)
    assert actuals.join(record) == Standing(joined=0, unfit=1, waiting=0)
    number = Schema(inputs=(Field(name="a"),), target="wear")
    other = replace(CHAMPION, deployment="wear")
    record.append([replace(prediction("r", [3], 12.0, other), labels=np.array([1.5]), probabilities=None)], number)
    actuals.take([Actual(id="r", value=1.25, at=1.0)], now=60.0)
    actuals.join(record)
    assert [len(one) for one in actuals.labelled(namespace="prod", deployment="wear")] == [1]
    actuals.take([Actual(id="r", value="worn", at=2.0)], now=61.0)
    assert actuals.join(record).unfit == 2
    assert actuals.labelled(namespace="prod", deployment="wear") == []


def test_a_class_that_the_model_was_never_told_of_counts_as_wrong(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0)], SCHEMA)
    actuals.take([Actual(id="a", value=50, at=1.0)], now=60.0)
    actuals.join(record)
    assert truths(actuals) == [(float(UNKNOWN), 0.0)]


def test_an_id_that_is_used_again_means_its_newest_answer(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0), prediction("a", [20], 11.0)], SCHEMA)
    actuals.take([Actual(id="a", value=20, at=1.0)], now=60.0)
    actuals.join(record)
    assert truths(actuals) == [(1.0, 1.0)]


@given(st.randoms(use_true_random=False), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_any_order_ends_alike(tmp_path_factory: pytest.TempPathFactory, shuffled: random.Random, requests: int) -> None:
    """Predictions, truths, repeats and corrections in any order, joined now and then: the last word of each row."""
    said = [
        Actual(id=f"p{n}", row=row, value=shuffled.choice([3, 20, 100]), at=float(at))
        for n in range(requests)
        for row in range(2)
        for at in range(shuffled.randrange(3))
    ]
    events: list[Actual | Prediction] = [*said, *shuffled.sample(said, len(said) // 2)]
    events += [prediction(f"p{n}", [3, 20], 10.0 + n) for n in range(requests)]
    shuffled.shuffle(events)
    folder = tmp_path_factory.mktemp("any")
    with Store(folder / "record.db") as record, ActualStore(folder / "actuals.db") as actuals:
        for event in events:
            if isinstance(event, Actual):
                actuals.take([event], now=99.0)
            else:
                record.append([event], SCHEMA)
            if shuffled.random() < 0.2:
                actuals.join(record)
        actuals.join(record)
        found = actuals.labelled(namespace="prod", deployment="cooler")
        last = {(one.id, one.row): one for one in sorted(said, key=lambda one: one.at)}
        wanted = sorted((int(k[0][1:]), k[1], class_number(SCHEMA, one.value)) for k, one in last.items())
        assert [truth for rows in found for truth in rows.truth.tolist()] == [truth for _, _, truth in wanted]


def test_all_or_none_of_a_batch(actuals: ActualStore) -> None:
    def batch() -> Iterator[Actual]:
        yield Actual(id="a", value=3, at=1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        actuals.take(batch(), now=2.0)
    assert actuals.standing() == Standing(joined=0, unfit=0, waiting=0)


def test_two_at_once_lose_nothing(tmp_path: Path, record: Store) -> None:
    record.append([prediction(f"p{n}", [3], float(n)) for n in range(50)], SCHEMA)
    with ActualStore(tmp_path / "two.db") as one, ActualStore(tmp_path / "two.db") as other:
        one.take([Actual(id=f"p{n}", value=3, at=1.0) for n in range(0, 50, 2)], now=2.0)
        one.join(record)
        other.take([Actual(id=f"p{n}", value=20, at=1.0) for n in range(1, 50, 2)], now=2.0)
        assert one.join(record) == other.join(record) == Standing(joined=50, unfit=0, waiting=0)
        assert truths(other) == [(float(n % 2), 0.0) for n in range(50)]


def test_old_ones_are_forgotten(record: Store, actuals: ActualStore) -> None:
    record.append([prediction("a", [3], 10.0), prediction("b", [3], 20.0)], SCHEMA)
    actuals.take([Actual(id="a", value=3, at=11.0), Actual(id="b", value=3, at=21.0)], now=60.0)
    actuals.join(record)
    assert actuals.prune(15.0) == 1 and truths(actuals) == [(0.0, 0.0)] and actuals.history("a") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 257},
        {"row": -1},
        {"row": 2**70},
        {"at": float("inf")},
        {"at": float("nan")},
        {"value": float("nan")},
    ],
)
def test_a_value_that_says_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Actual(**({"id": "a", "value": 3, "at": 1.0} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "number"), [(3, 0), ("3", 0), (3.0, 0), ("3.0", 0), (" 20 ", 1), ("3.5", -1), (4, -1)]
)
def test_files_know_no_types(value: int | float | str, number: int) -> None:
    assert class_number(SCHEMA, value) == number


def test_another_file_is_not_taken_for_ours(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="hydraulic actuals load"):
        ActualStore(tmp_path / "none.db", make=False)
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(BadData, match="load the true values anew"):
        ActualStore(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table theirs (x)")
    other.close()
    with pytest.raises(BadData, match="something else"):
        ActualStore(tmp_path / "other.db")
