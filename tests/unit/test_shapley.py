"""Shapley values: they add up, they are exact where that is asked, and the same question has the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mlflow_hydraulic.scoring.shapley import EXACT_INPUTS, shapley_values

Matrix = NDArray[np.float64]


def interacting(cells: Matrix) -> Matrix:
    """Two outputs; the first depends on a product, so that the order of inputs matters."""
    first = cells[:, 0] * cells[:, 1] + np.sin(cells).sum(axis=1)
    return np.column_stack([first, 1.0 - first])


def rows(count: int, inputs: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, inputs))


@pytest.mark.parametrize("inputs", [3, EXACT_INPUTS, EXACT_INPUTS + 1, 17])
def test_values_and_base_add_up_to_the_output(inputs: int) -> None:
    cells, background = rows(4, inputs), rows(90, inputs, seed=1)
    values = shapley_values(interacting, cells, background)
    assert values.shape == (4, 2, inputs + 1)
    np.testing.assert_allclose(values.sum(axis=2), interacting(cells), rtol=0, atol=1e-12)
    np.testing.assert_allclose(values[:, :, -1], np.tile(interacting(background).mean(axis=0), (4, 1)), atol=1e-12)


@pytest.mark.parametrize("inputs", [4, 17])
def test_of_a_linear_model_they_are_weight_times_distance_from_the_mean(inputs: int) -> None:
    weights = np.arange(1.0, inputs + 1)
    cells, background = rows(2, inputs), rows(64, inputs, seed=1)
    values = shapley_values(lambda part: (part @ weights)[:, None], cells, background)
    expected = weights * (cells - background.mean(axis=0))
    np.testing.assert_allclose(values[:, 0, :-1], expected, atol=1e-9)


def test_sampling_comes_close_to_the_exact_values() -> None:
    wide = np.column_stack([rows(1, 3), np.zeros((1, 9))])
    background = np.column_stack([rows(64, 3, seed=1), np.zeros((64, 9))])
    exact = shapley_values(interacting, wide[:, :3], background[:, :3])
    sampled = shapley_values(interacting, wide, background, pairs=512)
    np.testing.assert_allclose(sampled[0, :, :3], exact[0, :, :3], atol=0.1)
    np.testing.assert_allclose(sampled[0, :, 3:12], 0.0, atol=1e-12)


def test_the_same_row_has_the_same_values_whatever_is_asked_with_it() -> None:
    cells, background = rows(3, 17), rows(50, 17, seed=1)
    together = shapley_values(interacting, cells, background, seed=7)
    alone = shapley_values(interacting, cells[1:2], background, seed=7)
    assert together[1].tobytes() == alone[0].tobytes()
    assert shapley_values(interacting, cells[1:2], background, seed=8).tobytes() != alone.tobytes()
