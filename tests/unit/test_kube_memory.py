"""What an object remembers of its changes, in annotations: a bounded part of a failure, whatever a cluster said."""

from __future__ import annotations

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.memory import (
    REFUSED_NOTE,
    Refusal,
    change_of,
    previous_of,
    refused_of,
    remembering,
)
from tests.support.kube_values import deployment, predictor

MANIFEST = {"metadata": {"name": "cooler", "annotations": {"team": "rig"}}}


def test_a_failure_of_any_length_fits_and_is_read_back() -> None:
    refused = Refusal(deployment=deployment(predictor("2")), cause="ü" * 300_000, log=("x" * 5000,) * 90)
    made = remembering(MANIFEST, "mark", previous=deployment(), refused=refused)
    notes = made["metadata"]["annotations"]
    assert sum(len(key) + len(text.encode()) for key, text in notes.items()) < 64 * 1024, "of 256 KiB"
    kept = refused_of(made)
    assert kept is not None
    assert (kept.deployment, kept.cause, len(kept.log)) == (refused.deployment, "ü" * 2000, 20)
    assert (change_of(made), previous_of(made), notes["team"]) == ("mark", deployment(), "rig")


def test_a_change_without_failure_forgets_the_one_before() -> None:
    refused = Refusal(deployment=deployment(), cause="no room")
    failed = remembering(MANIFEST, "one", previous=deployment(), refused=refused)
    again = remembering(failed, "two")
    assert (change_of(again), previous_of(again), refused_of(again)) == ("two", None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"cause": "no deployment"}', '{"deployment": 1}'])
def test_what_somebody_edited_is_no_failure(text: str) -> None:
    assert refused_of({"metadata": {"annotations": {REFUSED_NOTE: text}}}) is None
