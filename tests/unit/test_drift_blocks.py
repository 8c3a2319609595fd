"""How long a series remembers, windows drawn from it, the budget of a look, and the reference that holds the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlflow_hydraulic.drift.blocks import block_length, draw_windows, drawn_length, lag_1
from mlflow_hydraulic.drift.budget import Budget, per_look
from mlflow_hydraulic.drift.reference import FEWEST_ROWS, MOST_ROWS, from_arrays, kept_rows, make_reference, to_arrays
from mlflow_hydraulic.drift.stored import pack, read_reference, unpack
from mlflow_hydraulic.errors import BadData, BadInput


def autoregressive(phi: float, n: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=n + 500)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise)[500:])


def test_independent_rows_have_blocks_of_one_and_longer_memories_longer_blocks() -> None:
    assert [block_length(autoregressive(0.0, seed=seed)) for seed in range(20)].count(1.0) >= 18
    lengths = [
        np.median([block_length(autoregressive(phi, seed=seed)) for seed in range(9)]) for phi in (0.3, 0.6, 0.9)
    ]
    assert 2 < lengths[0] < lengths[1] < lengths[2] < 3 * np.sqrt(2000)


def test_the_block_length_is_what_politis_and_white_derive_for_an_autoregression() -> None:
    """For AR(1): b = ((3 G^2 n) / (2 g^2))^(1/3) with G = 2 phi / (1 - phi)^2 * v and g = v (1 + phi) / (1 - phi)."""
    phi, n = 0.5, 50_000
    # Sum of |k| R(k) over both sides is 2 phi / ((1 - phi)^2) R(0), of R(k) it is (1 + phi) / (1 - phi) R(0).
    ratio = (2 * phi / (1 - phi) ** 2) / ((1 + phi) / (1 - phi))
    wanted = (1.5 * ratio**2 * n) ** (1 / 3)
    assert block_length(autoregressive(phi, n)) == pytest.approx(wanted, rel=0.25)


@pytest.mark.parametrize("values", [[], [1.0], [3.0] * 50, [np.nan] * 50, [0.0] * 49 + [np.nan]])
def test_a_constant_an_empty_and_a_short_series_have_blocks_of_one(values: list[float]) -> None:
    assert block_length(np.array(values)) == 1.0
    assert np.isnan(lag_1(np.array(values)))


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e200])
def test_the_scale_of_a_series_does_not_matter(scale: float) -> None:
    assert block_length(autoregressive(0.8) * scale) == pytest.approx(block_length(autoregressive(0.8)), rel=1e-6)


def test_nothing_is_joined_across_a_break() -> None:
    series = np.tile([1.0, -1.0], 100)
    assert lag_1(series) == pytest.approx(-1, abs=0.01)
    assert lag_1(series, np.ones(200, dtype=bool)) == 0.0


@given(
    n=st.integers(2, 200),
    rows=st.integers(1, 300),
    block=st.floats(1, 60),
    at=st.lists(st.integers(1, 199), max_size=4),
)
def test_windows_are_rows_of_the_series_as_long_as_asked(n: int, rows: int, block: float, at: list[int]) -> None:
    breaks = np.zeros(n, dtype=bool)
    breaks[[place for place in at if place < n]] = True
    windows, worth, consecutive = draw_windows(breaks, rows, block, 20, seed=0)
    assert windows.shape[1] == rows and 1 <= len(windows) <= max(20, 2)
    assert windows.min() >= 0 and windows.max() < n
    assert 1 <= worth <= max(len(windows), 2)
    if consecutive:
        assert (np.diff(windows, axis=1) % n == 1 % n).all()


def test_windows_of_a_long_memory_are_consecutive_and_those_of_a_short_one_are_blocks() -> None:
    breaks = np.zeros(1000, dtype=bool)
    assert draw_windows(breaks, 50, 40.0, 100, seed=0)[2]
    windows, worth, consecutive = draw_windows(breaks, 50, 1.0, 100, seed=0)
    assert not consecutive and worth == 100
    assert (np.diff(windows, axis=1) % 1000 == 1).mean() == pytest.approx(1 - 4 / 49)
    assert drawn_length(1.0) == 10


def test_windows_do_not_span_a_break_where_they_need_not() -> None:
    breaks = np.zeros(300, dtype=bool)
    breaks[150] = True
    windows, _, consecutive = draw_windows(breaks, 50, 60.0, 1000, seed=0)
    assert consecutive and not ((windows[:, 0] < 150) & (windows[:, -1] >= 150)).any()


def test_a_budget_is_shared_over_its_looks() -> None:
    budget = Budget(false_reds=1, period_days=90, look_every_s=3600)
    assert budget.level() == pytest.approx(1 / (90 * 24))
    assert budget.level(1800) == pytest.approx(budget.level() / 2)
    assert budget.orange_level() == pytest.approx(20 * budget.level())
    assert per_look(0.05).level() == per_look(0.05).orange_level() == 0.05


@pytest.mark.parametrize(
    "wrong", [{"false_reds": 0}, {"period_days": -1}, {"look_every_s": float("nan")}, {"oranges": 0}]
)
def test_a_budget_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Budget(**wrong)
    with pytest.raises(BadInput, match="elapsed_s"):
        Budget().level(0)


def test_a_long_series_is_kept_in_stretches_of_its_whole_time() -> None:
    keep = kept_rows(100_000, 17)
    assert len(keep) <= MOST_ROWS and keep[0] == 0 and keep[-1] == 99_999
    assert (np.diff(keep) > 1).sum() == 7
    reference = make_reference(np.random.default_rng(0).normal(size=(10_000, 300)), [str(j) for j in range(300)])
    assert reference.rows.size <= 1_000_000 and reference.breaks.sum() == 7


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (np.zeros((FEWEST_ROWS - 1, 2)), "drift needs 30 rows"),
        (np.zeros((100, 3)), "for 2 inputs"),
        (np.full((100, 2), np.inf), "infinity"),
        (np.full((100, 2), np.nan), "without a single number"),
    ],
)
def test_rows_that_cannot_be_a_reference_are_refused(rows: NDArray[np.float64], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        make_reference(rows, ["a", "b"])


def test_a_stored_reference_comes_back_bit_by_bit_and_in_the_same_bytes() -> None:
    random = np.random.default_rng(0)
    made = make_reference(
        random.normal(size=(50, 2)), ["a", "b"], importance=np.array([0.3, 0.1]), probabilities=random.random((50, 3))
    )
    content = pack(to_arrays(made))
    assert content == pack(to_arrays(made))
    again = read_reference(content, ["a", "b"])
    assert all(np.array_equal(value, to_arrays(again)[name]) for name, value in to_arrays(made).items())
    with pytest.raises(BadInput, match="must be"):
        from_arrays(to_arrays(made), ["a", "b", "c"])


@given(st.binary(max_size=300))
def test_bytes_that_are_no_baseline_are_refused(content: bytes) -> None:
    with pytest.raises(BadData, match=r"drift\.npz"):
        unpack(content)


def test_a_damaged_baseline_is_refused() -> None:
    made = make_reference(np.random.default_rng(0).normal(size=(50, 2)), ["a", "b"])
    content = pack(to_arrays(made))
    for cut in (10, len(content) // 2, len(content) - 5):
        with pytest.raises(BadData):
            unpack(content[:cut])
    with pytest.raises(BadInput, match="'rows' is missing"):
        read_reference(pack({"breaks": made.breaks}), ["a", "b"])
    with pytest.raises(BadInput, match="importance"):
        read_reference(pack({**to_arrays(made), "importance": np.array([-1.0, 2.0])}), ["a", "b"])
