"""`hydraulic canary`, and a rollback in the middle of one, through MLflow's real store with gate and ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result

from mlflow_hydraulic.cli import main
from tests.integration.test_rollback import Scene, scene

__all__ = ["scene"]  # the fixture
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's, about stages
STEPS = "[environments.prod.canary]\nsteps = [5, 25]\n"
WHERE = ("m", "--env", "prod")


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, words, prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def stepping(scene: Scene, tmp_path: Path) -> Iterator[Scene]:
    """Version 2 serves; version 3 took its stage and has 5 % of the callers."""
    (tmp_path / "hydraulic.toml").write_text(STEPS)
    call("canary", "status", *WHERE, code=4)
    scene.stage(2, "Production")
    assert scene.settle() == "v2"
    call("canary", "abort", *WHERE, "--reason", "none yet", code=5)
    scene.stage(3, "Production", archive=True)
    assert scene.settle() == "v2 95%/v3 5%"
    yield scene


def test_a_rollback_in_the_middle_goes_at_once_to_what_served_and_to_no_step(stepping: Scene) -> None:
    shown = call("rollback", *WHERE, "--reason", "3 is wrong", "--yes").stdout
    assert "-> v2" in shown
    assert stepping.settle() == "v2"
    assert [json.loads(row.after)["phase"] for row in stepping.rows("canary")] == ["begin", "over"]
    stepping.stage(3, "Production", archive=True)
    assert stepping.settle() == "v2 95%/v3 5%", "a new transition is a new try"


def test_status_tells_the_steps_and_what_is_waited_for(stepping: Scene) -> None:
    text = call("canary", "status", *WHERE).stdout
    assert "prod, m: v2 -> v3" in text
    assert "canary step 1 of 3: v3 5 % (v2 95 %)" in text
    said = json.loads(call("canary", "status", *WHERE, "--json").stdout)
    assert (said["from"], said["to"], said["share"], said["under_way"]) == (2, 3, 5, True)


def test_words_go_through_the_gate_and_stand_in_the_ledger(stepping: Scene, tmp_path: Path) -> None:
    call("canary", "abort", *WHERE, "--reason", " ", code=2)
    call("canary", "retry", *WHERE, "--reason", "not yet", code=5)
    (tmp_path / "hydraulic.toml").write_text(STEPS + '[policy.prod]\nallow = ["nobody-here"]\n')
    mlflow.set_registry_uri(f"hydraulic+{mlflow.get_tracking_uri()}?timeout=20")  # another URI: a store that reads anew
    refused = call("canary", "abort", *WHERE, "--reason", "3 is wrong", code=6)
    assert "only nobody-here may change PROD" in refused.stderr
    assert stepping.settle() == "v2 95%/v3 5%"
    (tmp_path / "hydraulic.toml").write_text(STEPS)
    mlflow.set_registry_uri(f"hydraulic+{mlflow.get_tracking_uri()}?timeout=21")
    call("canary", "abort", *WHERE, "--reason", "3 is wrong")
    assert stepping.settle() == "v2"
    (word,) = stepping.rows("tag")
    assert (word.reason, word.environment, "abort in prod" in word.after) == ("3 is wrong", "prod", True)
    assert stepping.rows("canary")[-1].reason == f"aborted by {word.actor}: 3 is wrong"
    assert "rolled the canary of v3 back to v2: aborted by" in call("history", "m").stdout
    call("canary", "promote", *WHERE, "--reason", "late", code=5)
    call("canary", "retry", *WHERE, "--reason", "it was the database")
    assert stepping.settle() == "v2 95%/v3 5%"
    said = json.loads(call("canary", "promote", *WHERE, "--reason", "sure of it", "--json").stdout)
    assert (said["word"], said["version"]) == ("promote", 3)
    assert stepping.settle() == "v3"
    call("rollback", *WHERE, "--reason", "3 is wrong after all", "--yes")
    assert stepping.settle() == "v2", "back to who served before: at once"
