"""One look at one window: false alarms within the level, faults found, odd windows judged without a fall."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from mlflow_hydraulic.drift import calibration as calibrations
from mlflow_hydraulic.drift.baseline import Baseline, baseline_from
from mlflow_hydraulic.drift.budget import Budget, per_look
from mlflow_hydraulic.drift.check import DriftResult, check_window, no_baseline
from mlflow_hydraulic.drift.faults import Fault, inject
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.errors import BadInput

K = 8
NAMES = tuple(f"f{column}" for column in range(K))


def series(phi: float, n: int, seed: int, k: int = K) -> NDArray[np.float64]:
    noise = np.random.default_rng([seed, n]).normal(size=(n + 500, k))
    return np.asarray(lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], noise, axis=0)[500:])


def baseline_of(phi: float, seed: int = 0, n: int = 1500) -> Baseline:
    return Baseline(make_reference(series(phi, n, seed), NAMES))


PLAIN = baseline_of(0.0)


def alarms(phi: float, rows: int, level: float, *, references: int = 4, looks: int = 50) -> tuple[int, int]:
    """False oranges and reds on streams like the training series, and looks."""
    found = 0
    for seed in range(references):
        baseline = baseline_of(phi, seed)
        stream = series(phi, rows * looks, 1000 + seed).reshape(looks, rows, K)
        found += sum(worst(baseline, window, level).colour in ("orange", "red") for window in stream)
    return found, references * looks


def worst(baseline: Baseline, window: NDArray[np.float64], level: float = 0.05) -> DriftResult:
    return check_window(baseline, window, budget=per_look(level))[0]


@pytest.mark.parametrize(("phi", "rows"), [(0.0, 50), (0.0, 200), (0.8, 50), (0.95, 50)])
def test_false_alarms_keep_the_level_on_independent_and_on_autocorrelated_streams(phi: float, rows: int) -> None:
    found, looks = alarms(phi, rows, 0.05)
    assert stats.binomtest(found, looks, 0.05, alternative="greater").pvalue > 0.001, f"{found} of {looks}"


def test_without_blocks_an_autocorrelated_stream_cries_wolf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: drawn row by row, as plain tests assume, nearly every look alarms."""
    monkeypatch.setattr("mlflow_hydraulic.drift.reference.longest_block", lambda rows, breaks: 1.0)
    found, looks = alarms(0.95, 50, 0.05, references=2)
    assert found > 0.8 * looks


def test_without_the_correction_for_inputs_there_would_be_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations.Tail, "p_value", lambda _, deviation: float(2 * stats.norm.sf(deviation)))
    found, looks = alarms(0.0, 50, 0.3, references=2)
    assert stats.binomtest(found, looks, 0.3, alternative="greater").pvalue < 0.001


FAULTS = {
    "offset": (Fault(kind="offset", inputs=("f3",), amount=1.0), {"f3"}),
    "noise": (Fault(kind="noise", inputs=("f3",), amount=2.0), {"f3"}),
    "stuck": (Fault(kind="stuck", inputs=("f3",)), {"f3"}),
    "missing": (Fault(kind="missing", inputs=("f3",), amount=0.2), {"f3"}),
    "unit": (Fault(kind="unit", inputs=("f3",), amount=14.5), {"f3"}),
    "all missing": (Fault(kind="missing", inputs=("f3",), amount=1.0), {"f3"}),
    "season": (Fault(kind="season", inputs=("f1", "f2"), amount=1.0), {"f1", "f2"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_red_and_name_their_inputs(name: str) -> None:
    fault, inputs = FAULTS[name]
    for seed in range(5):
        window = inject(series(0.0, 100, 50 + seed), NAMES, fault, spread=np.ones(K), seed=seed)
        found = worst(PLAIN, window, 1e-3)
        assert found.colour == "red", found.cause
        assert set(found.features[: len(inputs)]) == inputs
        assert found.p_value <= 1e-3 and found.picture is not None and found.picture.feature in inputs


def test_a_broken_correlation_is_found_though_every_input_is_as_before() -> None:
    def correlated(n: int, seed: int) -> NDArray[np.float64]:
        rows = series(0.0, n, seed)
        rows[:, 3] = 0.9 * rows[:, 4] + math.sqrt(1 - 0.81) * rows[:, 3]
        return rows

    baseline = Baseline(make_reference(correlated(1500, 0), NAMES))
    assert worst(baseline, correlated(100, 1), 1e-3).colour == "green"
    for seed in range(5):
        broken = inject(correlated(100, 2 + seed), NAMES, Fault(kind="correlation", inputs=("f3",)), seed=seed)
        found = worst(baseline, broken, 1e-3)
        assert found.colour == "red" and found.family == "together"
        assert set(found.features) & {"f3", "f4"}


def test_a_window_of_one_kind_is_normal_where_training_came_in_blocks_and_a_new_kind_is_not() -> None:
    """The rig's trap: every window differs from all training rows together, and none is odd."""
    random = np.random.default_rng(0)
    kinds = np.repeat(np.tile([0, 10, 20], 10), 60)
    rows = kinds[:, None] * np.linspace(1, 2, K) + random.normal(size=(len(kinds), K))
    baseline = Baseline(make_reference(rows[:-180], NAMES))
    budget = Budget(look_every_s=3600)
    for kind in (0, 1, 2):
        window = rows[-180:][60 * kind : 60 * kind + 50]
        assert check_window(baseline, window, budget=budget)[0].colour in ("green", "orange")
        shifted = inject(window, NAMES, Fault(kind="offset", inputs=("f3",), amount=5.0), spread=np.ones(K))
        found = check_window(baseline, shifted, budget=budget)[0]
        assert found.colour == "red" and found.features[0] == "f3", found.cause


def test_predictions_are_judged_too() -> None:
    random = np.random.default_rng(0)
    rows = series(0.0, 1500, 0)

    def said(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        first = 1 / (1 + np.exp(-3 * rows[:, 0] + 3 * random.normal(size=len(rows))))
        return np.column_stack([first, 1 - first])

    baseline = Baseline(make_reference(rows, NAMES, probabilities=said(rows)))
    window = series(0.0, 100, 1)
    budget = per_look(1e-3)
    normal = check_window(baseline, window, probabilities=said(window), labels=(3, 100), budget=budget)
    assert {result.colour for result in normal} == {"green"}
    assert {"class share", "probability", "prediction by kind"} <= {result.test for result in normal}
    always = np.tile([0.99, 0.01], (100, 1))
    found = check_window(baseline, window, probabilities=always, labels=(3, 100), budget=budget)[0]
    assert (found.colour, found.family) == ("red", "predictions")
    assert found.features[0] in ("class 3", "class 100", "largest probability")


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_are_grey_and_say_how_many_it_takes(rows: int) -> None:
    (result,) = check_window(PLAIN, np.zeros((rows, K)))
    assert result.colour == "grey" and "from 10 rows on" in result.cause


def test_a_model_without_a_baseline_is_grey_with_the_reason() -> None:
    assert (no_baseline("train anew").colour, no_baseline("train anew").cause) == ("grey", "train anew")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0])
def test_windows_of_odd_cells_are_judged(value: float) -> None:
    results = check_window(PLAIN, np.full((40, K), value))
    assert results[0].colour == "red"
    for result in results:
        assert math.isfinite(result.p_value) and math.isfinite(result.deviation) and math.isfinite(result.effect)
    window = series(0.0, 40, 3)
    window[::2, 2] = value
    assert check_window(PLAIN, window)[0].colour == "red" or value == 0


@pytest.mark.parametrize("n", [30, 45, 2500])
@pytest.mark.parametrize("k", [1, 2])
def test_small_and_narrow_references_work(n: int, k: int) -> None:
    baseline = Baseline(make_reference(series(0.9, n, 0, k), NAMES[:k]))
    for rows in (10, 60, 3000):
        results = check_window(baseline, series(0.9, rows, 1, k))
        assert Counter(result.colour for result in results)["grey"] == 0
        assert results[0].rows <= rows


def test_ties_and_constants_are_no_alarm_and_a_constant_that_moves_is() -> None:
    def tied(n: int, seed: int) -> NDArray[np.float64]:
        rows = series(0.0, n, seed)
        rows[:, 0] = np.round(rows[:, 0])
        rows[:, 1] = np.where(rows[:, 1] > 0, rows[:, 1], 0.0)  # one value in half of the rows, as PS4 has
        rows[:, 2] = 7.0
        return rows

    baseline = Baseline(make_reference(tied(1500, 0), NAMES))
    assert sum(worst(baseline, tied(100, seed), 0.01).colour != "green" for seed in range(1, 41)) <= 3
    moved = tied(100, 50)
    moved[:, 2] = 7.1
    found = worst(baseline, moved, 1e-4)
    assert found.colour == "red" and "f2" in found.features


def test_importance_moves_thresholds_but_hides_nothing() -> None:
    important = np.zeros(K)
    important[0] = 1.0
    baseline = Baseline(make_reference(series(0.0, 1500, 0), NAMES, importance=important))
    window = series(0.0, 100, 1)
    for name in ("f0", "f5"):
        shifted = inject(window, NAMES, Fault(kind="offset", inputs=(name,), amount=1.0), spread=np.ones(K))
        assert worst(baseline, shifted, 1e-3).features[0] == name
    alike = {result.test: result.deviation for result in check_window(baseline, shifted)}
    plain = {result.test: result.deviation for result in check_window(PLAIN, shifted)}
    assert alike["location"] == pytest.approx(0.75 * plain["location"], rel=1e-6)


def test_an_effect_that_does_not_matter_is_orange_at_most() -> None:
    window = series(0.0, 1500, 1) + 0.12
    results = check_window(PLAIN, window, budget=per_look(0.05))
    location = next(result for result in results if result.test == "location")
    assert location.deviation > location.red_from and location.colour == "orange"


def test_the_same_arguments_give_the_same_results_and_stored_calibrations_too() -> None:
    window = series(0.0, 100, 1)
    made = Baseline(make_reference(series(0.3, 600, 0), NAMES))
    made.prepare([50, 100])
    again = baseline_from(made.to_arrays(), NAMES)
    assert check_window(made, window) == check_window(again, window)
    assert again.calibration(100).tails["location"].slope == made.calibration(100).tails["location"].slope


def test_a_longer_window_is_judged_by_its_last_rows() -> None:
    blocky = Baseline(make_reference(np.repeat(series(0.0, 40, 0), 50, axis=0) + series(0.0, 2000, 1) / 10, NAMES))
    assert blocky.most == 250 and 225 <= blocky.judged(1000) <= 250
    assert PLAIN.judged(1000) > 900


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="must have the 8 inputs"):
        check_window(PLAIN, np.zeros((20, 3)))
    with pytest.raises(BadInput, match="as many"):
        check_window(PLAIN, np.zeros((20, K)), probabilities=np.zeros((3, 2)))
