"""Aggregates: the same moments and counts as of all rows at once, and no figure that tells a single row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.record.aggregates import FEWEST_ROWS, MINUTE_NS, Aggregator, edges_of
from mlflow_hydraulic.record.recorder import SERVED, Place, Recorder, open_recorder
from mlflow_hydraulic.record.ship import Local, ship_once
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.scoring.values import Scores
from mlflow_hydraulic.settings import Settings
from tests.scorers import MIXED, MIXED_ROWS
from tests.support.recorded import SCHEMA

SECOND_NS = 10**9
BACKGROUND = np.random.default_rng(0).normal(100, 20, (300, 2))


def answered(recorder: Recorder, cells: np.ndarray, number: int = 0) -> bool:
    return recorder.answered(
        prediction_id=f"id-{number}",
        path="/invocations",
        status=200,
        latency_s=0.001,
        headers={b"x-hydraulic-caller": b"anna"},
        bodies=(b"a secret request", b"a secret answer"),
        cells=cells,
        scores=Scores(np.full(len(cells), 20), np.tile([0.1, 0.7, 0.2], (len(cells), 1))),
    )


def recorder(home: Path) -> Recorder:
    made = open_recorder(
        Settings(home=home, record="aggregates"),
        model="m",
        version="1",
        digest="d",
        schema=SCHEMA,
        background=BACKGROUND,
        environ={SERVED: Place(target="seldon", namespace="prod", deployment="cooler", predictor="p").written()},
    )
    assert made is not None
    return made


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.integers(0, 2**31))
def test_moments_and_bins_are_those_of_all_rows(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    counted = Aggregator(SCHEMA, edges_of(SCHEMA, BACKGROUND))
    parts = [random.normal(100, 30, (size, 2)) for size in sizes]
    parts[0][0, 0] = np.nan
    for number, cells in enumerate(parts):
        labels = np.full(len(cells), 20)
        counted.add(number + 1, failed=False, latency_s=0.01, cells=cells, labels=labels)
    rows = np.concatenate(parts)
    minute = counted.take()
    for column in range(2):
        values = rows[:, column][~np.isnan(rows[:, column])]
        assert minute.count[column] == len(values) == sum(minute.bins[column])
        if len(values):
            assert minute.mean[column] == pytest.approx(values.mean())
            assert minute.m2[column] == pytest.approx(values.var() * len(values), abs=1e-6)
        edges = edges_of(SCHEMA, BACKGROUND)[column]
        assert minute.bins[column][0] == (values < edges[0]).sum(), "what lies below all training rows"
    assert minute.missing == [1, 0]
    assert minute.labels == [(20, len(rows))]
    assert (minute.rows, minute.answers, minute.latency[-1]) == (len(rows), len(sizes), len(sizes))


def test_columns_that_are_no_numbers_are_counted_only() -> None:
    cells = np.array(MIXED_ROWS * 20, dtype=object)
    counted = Aggregator(MIXED, edges_of(MIXED, cells))
    counted.add(1, failed=False, latency_s=0.01, cells=cells, labels=np.zeros(len(cells)))
    minute = counted.take()
    names = [field.name for field in MIXED.inputs]
    assert minute.count[names.index("string")] == 0
    assert minute.missing[names.index("maybe")] == 20
    assert minute.labels == [], "a regression's values are no labels: each may be one row's"


def test_a_minute_of_too_few_rows_waits_for_more() -> None:
    counted = Aggregator(SCHEMA, edges_of(SCHEMA, BACKGROUND))
    for number in range(FEWEST_ROWS):
        assert not counted.due(MINUTE_NS + SECOND_NS)
        counted.add(SECOND_NS + number, failed=False, latency_s=0.01, cells=BACKGROUND[:1], labels=np.full(1, 20))
    assert not counted.due(MINUTE_NS)
    assert counted.due(MINUTE_NS + SECOND_NS)


def test_no_row_no_body_and_no_caller_leaves_the_scorer(tmp_path: Path) -> None:
    counting = recorder(tmp_path)
    cells = np.array([[123.456789, 98.7654321]])
    for number in range(FEWEST_ROWS):
        assert answered(counting, cells + number, number)
    counting.close()
    (segment,) = (tmp_path / "record" / "journal").glob("*.seg")
    written = segment.read_bytes()
    for secret in (b"secret", b"anna", b"id-0", cells.tobytes()[:8], cells.astype(">f8").tobytes()[:8]):
        assert secret not in written
    with Store(tmp_path / "record.db") as store:
        ship_once(segment.parent, Local(store))
        ((source, minute),) = store.minutes(namespace="prod", deployment="cooler")
        assert minute.rows == FEWEST_ROWS and len(source.bins) == 2
        assert minute.mean[0] == pytest.approx(123.456789 + (FEWEST_ROWS - 1) / 2)
        assert store.missing() == []


def test_too_few_rows_at_the_end_are_not_told_but_that_is(tmp_path: Path) -> None:
    counting = recorder(tmp_path)
    answered(counting, BACKGROUND[: FEWEST_ROWS - 1])
    counting.close()
    with Store(tmp_path / "record.db") as store:
        ship_once(tmp_path / "record" / "journal", Local(store))
        (gap,) = store.missing()
        assert gap.answers == 1 and "too few" in gap.reason
        assert store.minutes(namespace="prod", deployment="cooler") == []
