"""`hydraulic deploy`, `end` and `verdict` through MLflow's real store with gate and ledger."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from mlflow_hydraulic.cli import main
from tests.integration.conftest import Registry

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's, about stages


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words), prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_from_one_version_to_a_split_and_the_end(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    (tmp_path / "hydraulic.toml").write_text("")
    mlflow.set_registry_uri(f"hydraulic+{registry.uri}")
    client = MlflowClient()
    client.create_registered_model("m")
    for _ in range(3):
        client.create_model_version("m", "s3://models/m")

    def stages() -> list[str]:
        return [client.get_model_version("m", str(number)).current_stage for number in (1, 2, 3)]

    prod = ("deploy", "m", "--env", "prod")
    assert "gets an address" in call("deploy", "m", "--env", "dev", "--version", "3", "--yes").stdout
    assert "PROD asks for a reason" in call(*prod, "--version", "3", "--yes", code=6).stderr
    assert stages() == ["None", "None", "Staging"]
    shown = call(*prod, "--version", "3", "--challenger", "2", "--reason", "x", "--dry-run").stdout
    assert "prod, m: nothing -> v3 + challenger v2" in shown
    assert stages() == ["None", "None", "Staging"]
    said = json.loads(call(*prod, "--split", "3:80,2:20", "--reason", "x", "--yes", "--json").stdout)
    assert said["done"]
    assert stages() == ["None", "Production", "Production"]
    assert "nothing to move" in call(*prod, "--split", "3:80,2:20", "--yes").stdout
    for options, words in (
        (("--split", "3:80,2:x"), "such as 3:80,4:20"),
        (("--split", "3:80,2:30"), "add up to 110"),
        (("--version", "1", "--split", "3:100"), "one of them"),
        (("--version", "1"), "nobody can be asked here"),
    ):
        yes = () if "nobody" in words else ("--yes",)
        assert words in call(*prod, *options, *yes, code=2).stderr
    assert "say why" in call("end", "m", "--env", "prod", "--yes", code=2).stderr
    call("end", "m", "--env", "prod", "--reason", "sold", "--yes")
    assert stages() == ["None", "Archived", "Archived"]

    assert "nobody has given a verdict" in call("verdict", "m", "1").stdout
    assert "approved by" in call("verdict", "m", "1", "approved", "--reason", "back-tested").stdout
    assert json.loads(call("verdict", "m", "1", "--json").stdout)[0]["reason"] == "back-tested"
    assert "no version 9" in call("verdict", "m", "9", "approved", "--reason", "x", code=4).stderr
