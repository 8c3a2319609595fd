"""Faults put into rows on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlflow_hydraulic.drift.faults import KINDS, Fault, fault_from, inject, shift_labels
from mlflow_hydraulic.errors import BadInput

NAMES = ("a", "b", "c")
ROWS = np.random.default_rng(0).normal(10, 2, size=(500, 3))


def made(kind: str, amount: float | None = None, start: int = 100) -> NDArray[np.float64]:
    return inject(ROWS, NAMES, Fault(kind=kind, inputs=("b",), amount=amount, start=start), spread=np.full(3, 2.0))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_named_input_changes_and_only_from_its_start(kind: str) -> None:
    rows, before = made(kind), ROWS.copy()
    assert np.array_equal(rows[:100], before[:100])
    assert np.array_equal(rows[:, [0, 2]], before[:, [0, 2]])
    assert not np.array_equal(rows[100:, 1], before[100:, 1])
    assert np.array_equal(made(kind), rows, equal_nan=True), "the same seed gives the same rows"
    assert np.array_equal(ROWS, before), "the rows that were given stay as they are"


def test_each_kind_does_what_it_says() -> None:
    was = ROWS[100:, 1]
    assert made("season", 5.0)[100:, 1] == pytest.approx(was + 5)
    assert made("offset", 1.5)[100:, 1] == pytest.approx(was + 3)
    gained = made("gain", 0.1)[100:, 1] / was
    assert (gained[0], gained[-1]) == (1.0, pytest.approx(1.1))
    assert made("noise", 2.0)[100:, 1].std() == pytest.approx(2 * 2.0, rel=0.15)
    assert (made("stuck")[100:, 1] == was[0]).all()
    assert made("unit", 14.5)[100:, 1] == pytest.approx(was * 14.5)
    assert np.isnan(made("missing", 0.2)[100:, 1]).mean() == pytest.approx(0.2, abs=0.06)
    spiked = np.abs(made("spikes", 10.0)[100:, 1] - was)
    assert set(np.round(spiked).tolist()) == {0.0, 20.0} and 0 < (spiked > 0).mean() < 0.05
    assert sorted(made("correlation")[100:, 1]) == sorted(was)


def test_a_shift_of_labels_draws_rows_of_their_class_in_time_order() -> None:
    true = np.array([3] * 50 + [100] * 150)
    rows = shift_labels([3, 100], true, 0.8)
    assert len(rows) == 200 and (np.diff(rows) >= 0).all()
    assert (true[rows] == 3).mean() == 0.8
    with pytest.raises(BadInput, match="must be a share"):
        shift_labels([3, 100], true, 1.2)
    with pytest.raises(BadInput, match="a label that some rows have"):
        shift_labels([20, 100], true, 0.5)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault(kind="rust"), "choose one of season"),
        (Fault(kind="offset", inputs=("d",)), "there is no input 'd'"),
        (Fault(kind="missing", amount=2.0), "a share must be between 0 and 1"),
        (Fault(kind="offset", amount=float("nan")), "must be a number"),
        (Fault(kind="offset", start=500), "there are the rows 0 to 499"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(fault: Fault, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        inject(ROWS, NAMES, fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("season", Fault(kind="season")),
        ("offset:-2.5", Fault(kind="offset", amount=-2.5)),
        ("gain:0.1@a,b", Fault(kind="gain", amount=0.1, inputs=("a", "b"))),
        ("stuck@a+40", Fault(kind="stuck", inputs=("a",), start=40)),
        ("noise:1e+2", Fault(kind="noise", amount=100.0)),
    ],
)
def test_faults_are_read_as_the_command_line_gives_them(text: str, fault: Fault) -> None:
    assert fault_from(text) == fault


@given(st.text(max_size=30))
def test_other_text_is_a_fault_or_refused(text: str) -> None:
    try:
        assert fault_from(text).kind in (*KINDS, "labels")
    except BadInput as error:
        assert "fault" in str(error)
