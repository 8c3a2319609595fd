"""What drift tests say to people: every test has words of its own, and none breaks on odd names."""

from __future__ import annotations

import pytest

from mlflow_hydraulic.drift.statistics import TESTS
from mlflow_hydraulic.drift.words import DEVIATES, sentence


def test_every_test_has_its_words() -> None:
    assert set(DEVIATES) == {test.name for test in TESTS}


@pytest.mark.parametrize("test", sorted(DEVIATES))
@pytest.mark.parametrize("features", [[], ["psa_bar"], ["psa_bar", "{who}", "tsa_temp"]])
def test_words_with_any_number_of_inputs(test: str, features: list[str]) -> None:
    said = sentence(test, -0.25, 275, 1e-300, features, deviates=True)
    assert said.endswith("(275 rows, p < 1e-16)") and "{effect" not in said
    assert ("also" in said) == (len(features) > (2 if test == "correlation" else 1))


def test_what_moved_is_named_with_its_amount() -> None:
    said = sentence("location", 2.5, 100, 0.00012, ["tsa_temp", "tsb_temp"], deviates=True)
    assert said == (
        "tsa_temp lies +2.5 training standard deviations from where it was; also tsb_temp (100 rows, p = 0.00012)"
    )
