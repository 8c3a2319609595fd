"""Drift on the rig's real measurements: no false red on unseen blocks, and faults found in each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.drift_streams import NAMES, WINDOW, faulty_cases, levels, quiet_cases, stretches, warm_ups
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.budget import Budget
from mlflow_hydraulic.drift.check import check_window
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.drift.rows import RowCheck
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.train import train

pytestmark = pytest.mark.needs_real_data
BUDGET = Budget(look_every_s=600)
SOME = {2, 7, 11}  # one held-out stretch of each cooler level


@pytest.fixture(scope="module")
def cycles(rig_data: Path) -> Cycles:
    return load_cycles(rig_data)


def test_unseen_blocks_at_one_cooler_level_raise_no_red(cycles: Cycles) -> None:
    for case in quiet_cases(cycles, 50, step=25):
        if case.stretch in SOME and case.group == "held out":
            baseline = Baseline(make_reference(case.reference, NAMES))
            for window in case.windows:
                worst = check_window(baseline, window, budget=BUDGET)[0]
                assert worst.colour != "red", worst.cause


def test_every_fault_is_found_in_every_held_out_stretch(cycles: Cycles) -> None:
    baselines: dict[bytes, Baseline] = {}
    for case in faulty_cases(cycles):
        if case.stretch not in SOME:
            continue
        key = case.reference.tobytes()
        baseline = baselines.setdefault(key, Baseline(make_reference(case.reference, NAMES)))
        colours = [check_window(baseline, window, budget=BUDGET)[0].colour for window in case.windows]
        before = [colour for colour, after in zip(colours, case.after, strict=True) if after <= 0]
        assert "red" not in before, case.name
        assert "red" in colours, f"{case.name} in stretch {case.stretch} was not found: {colours}"


def test_single_rows_of_a_season_are_flagged_and_those_of_unseen_blocks_are_not(cycles: Cycles) -> None:
    x, stretch = cycles.means[list(NAMES)].to_numpy(dtype=np.float64), stretches(cycles)
    for number in SOME:
        check = RowCheck(make_reference(x[stretch != number], NAMES))
        rows = x[stretch == number]
        assert check.flags(rows).mean() <= 0.02
        warmer = rows + 5.0 * np.isin(NAMES, ["tsa_temp", "tsb_temp", "tsc_temp", "tsd_temp"])
        assert check.flags(warmer).mean() > 0.95


def test_the_streams_are_what_they_say(cycles: Cycles) -> None:
    assert len(np.unique(stretches(cycles))) == 14 and warm_ups(cycles) == {0, 4, 9}
    for case in quiet_cases(cycles, WINDOW):
        if case.group == "held out":
            assert len(np.unique(levels(cycles)[stretches(cycles) == case.stretch])) == 1


def test_training_keeps_what_drift_needs(cycles: Cycles) -> None:
    result = train(cycles, target="cool_cond_y", candidates=("lda",), nested_choice=False)
    reference = result.model.reference
    assert reference is not None and len(reference) == len(cycles) and reference.block > 50
    unseen = result.evaluations["unseen_runs"].probabilities
    assert np.array_equal(reference.probabilities, unseen), "predictions of rows that the model had not seen"
    assert reference.importance.sum() == pytest.approx(1)
