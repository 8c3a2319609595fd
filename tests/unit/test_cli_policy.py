"""`hydraulic policy explain` as it is typed: one change at a time, judged with all that it brings along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from mlflow_hydraulic.cli.policy import policy
from mlflow_hydraulic.errors import NotFound, Refused

pytestmark = pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two versions of "m", the first in Production and with the alias `golden`."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'm.db'}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("m")
    for _ in range(2):
        client.create_model_version("m", "s3://models/m")
    client.transition_model_version_stage("m", "1", "Production")
    client.set_registered_model_alias("m", "golden", "1")
    return uri


@pytest.fixture(autouse=True)
def there(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hydraulic.toml").write_text('[policy]\nprotected_aliases = ["golden"]\nprotected_by = ["ds9"]\n')
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    monkeypatch.setattr("mlflow_hydraulic.plugin.client.open_client", lambda: MlflowClient(registry, registry))


@pytest.mark.parametrize(
    ("asked", "allowed", "environments"),
    [
        (["2", "--to", "Staging"], True, ["dev"]),
        (["2", "--to", "Production"], False, ["prod"]),
        (["2", "--to", "Production", "--archive-existing", "--reason", "better"], True, ["prod"]),
        (["1", "--to", "Production"], True, []),
        (["2", "--alias", "golden", "--as", "ds1"], False, []),
        (["2", "--alias", "golden", "--as", "ds9"], True, []),
        (["1", "--alias", "golden", "--as", "ds1"], True, []),
        (["1", "--tag", "hydraulic.weight=20"], False, ["prod"]),
        (["2", "--tag", "hydraulic.weight=20"], True, []),
        (["2", "--tag", "mlflow.prompt.is_prompt=true"], False, []),
        (["1", "--delete", "--reason", "bad", "--as", "ds1"], False, ["prod"]),
        (["1", "--delete", "--reason", "bad", "--as", "ds9"], True, ["prod"]),
        (["2", "--delete"], True, []),
    ],
)
def test_each_change_is_explained(asked: list[str], allowed: bool, environments: list[str]) -> None:
    done = CliRunner().invoke(policy, ["explain", "m", *asked, "--json"])
    said = json.loads(done.stdout)
    assert (said["allowed"], said["environments"]) == (allowed, environments)
    assert isinstance(done.exception, Refused) is not allowed
    words = CliRunner().invoke(policy, ["explain", "m", *asked])
    assert f"touches {', '.join(environments) or 'no environment'}" in words.stdout
    assert words.stdout.endswith("allowed\n") is allowed


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["--to", "Staging", "--delete"],
        ["--alias", "a", "--tag", "b=c"],
        ["--delete", "--archive-existing"],
        ["--tag", "weight"],
        ["--alias", ""],
    ],
)
def test_one_change_is_asked_for_and_whole(asked: list[str]) -> None:
    assert CliRunner().invoke(policy, ["explain", "m", "1", *asked]).exit_code == 2


def test_a_version_that_is_not_there_is_named() -> None:
    done = CliRunner().invoke(policy, ["explain", "m", "9", "--delete"])
    assert isinstance(done.exception, NotFound)
    assert "models:/m/9" in str(done.exception)
