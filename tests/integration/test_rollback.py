"""A rollback through MLflow's real store with gate and ledger, and passes of the controller: whole, refused, killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import mlflow
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from sqlalchemy import Engine

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.cli.world import open_world
from mlflow_hydraulic.controller import Controller, Pace
from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.plugin.caller import why
from mlflow_hydraulic.world import World
from tests.integration.conftest import Registry
from tests.servers import PASSWORDS, mlflow_server
from tests.unit.worlds import MemoryTarget

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's, about stages
CALL = ("rollback", "m", "--env", "prod", "--reason", "3 is worse")


@dataclass
class Scene:
    """A registry with three versions, targets in memory, and a controller that is called by hand."""

    client: MlflowClient
    sources: Path
    evidence: Engine
    targets: dict[str, MemoryTarget] = field(
        default_factory=lambda: {env.name: MemoryTarget(environment=env.name) for env in preset("stages")}
    )

    @property
    def world(self) -> World:
        opened = open_world()
        return World(
            registry=opened.registry,
            environments=opened.environments,
            targets=self.targets,
            database=self.evidence,
        )

    def settle(self) -> str:
        """Let the controller act; what prod runs then."""
        Controller(self.world, Pace()).once()
        return self.serving

    @property
    def serving(self) -> str:
        return "".join(str(one.wanted) for one in self.targets["prod"].deployments.values())

    def stage(self, version: int, stage: str, *, archive: bool = False) -> None:
        with why("a test"):
            self.client.transition_model_version_stage("m", str(version), stage, archive_existing_versions=archive)

    def tag(self, version: int, key: str, value: str) -> None:
        with why("a test"):
            self.client.set_model_version_tag("m", str(version), key, value)

    def intent(self) -> tuple[dict[int, str], dict[str, int], dict[int, dict[str, str]]]:
        """Stages, aliases, and the tags that say intent."""
        found = open_world().registry.read().model("m")
        assert found
        tags = {
            v.number: {k: t for k, t in v.tags.items() if k in ("hydraulic.weight", "hydraulic.replicas")}
            for v in found.versions
        }
        return {v.number: v.stage for v in found.versions}, dict(found.aliases), tags

    def rows(self, verb: str) -> list[ledger.Row]:
        with self.evidence.connect() as connection:
            assert ledger.verify(connection).holds
            return [row for row in ledger.rows(connection) if row.verb == verb]


@pytest.fixture
def scene(registry: Registry, small_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    (tmp_path / "hydraulic.toml").write_text("")
    mlflow.set_registry_uri(f"hydraulic+{registry.uri}")
    client = MlflowClient()
    client.create_registered_model("m")
    for number in (1, 2, 3):
        source = shutil.copytree(small_saved, tmp_path / "sources" / str(number))
        (source / "note.txt").write_text(f"version {number}")
        client.create_model_version("m", str(source))
    evidence = database.open_database(registry.uri)
    yield Scene(client=client, sources=tmp_path / "sources", evidence=evidence)
    evidence.dispose()


def call(*more: str, code: int = 0, words: tuple[str, ...] = CALL) -> Result:
    result = CliRunner().invoke(main, [*words, *more], prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_back_to_the_version_before_with_the_reason_on_record(scene: Scene) -> None:
    scene.stage(2, "Production")
    assert scene.settle() == "v2"
    scene.stage(3, "Production", archive=True)
    assert scene.settle() == "v3"
    shown = call("--dry-run").stdout
    assert "prod, m: v3 -> v2" in shown
    assert scene.intent()[0] == {1: "None", 2: "Archived", 3: "Production"}
    call(code=2)
    said = json.loads(call("--yes", "--json").stdout)
    assert (said["target"], said["done"], len(said["moves"])) == ("v2", True, 1)
    assert scene.intent()[0] == {1: "None", 2: "Production", 3: "Archived"}
    assert {row.reason for row in scene.rows("stage")[-2:]} == {"rollback to v2 in prod: 3 is worse"}
    assert "nothing to move" in call("--yes").stdout
    assert scene.settle() == "v2"
    assert "name a version with --to" in call("--yes", code=5).stderr
    assert "nothing to move" in call("--yes", "--to", "2").stdout
    call("--yes", "--to", "3")
    assert scene.settle() == "v3"
    told = call(words=("history", "m", "--env", "prod")).stdout
    assert "moved version 2 from Archived to Production: rollback to v2 in prod: 3 is worse" in told
    assert "prod now runs v2 (was v3)" in told


def test_it_asks_before_it_moves(scene: Scene) -> None:
    scene.stage(2, "Production")
    scene.settle()
    scene.stage(3, "Production", archive=True)
    scene.settle()
    before = scene.intent()
    terminal = patch("mlflow_hydraulic.cli.rollback.at_terminal", return_value=True)
    with terminal:
        no = CliRunner().invoke(main, CALL, input="n\n")
    assert (no.exit_code, scene.intent()) == (1, before)
    with terminal:
        yes = CliRunner().invoke(main, CALL, input="y\n")
    assert yes.exit_code == 0, yes.output
    assert scene.settle() == "v2"


def split_then_champion(scene: Scene) -> None:
    """A/B of 1 and 2 with three replicas and weights; then version 3 alone, with a stale weight of its own."""
    scene.tag(1, "hydraulic.weight", "30")
    scene.tag(2, "hydraulic.weight", "70")
    scene.tag(1, "hydraulic.replicas", "3")
    scene.stage(1, "Production")
    scene.stage(2, "Production")
    assert scene.settle() == "v1 30% x3/v2 70%"
    scene.tag(3, "hydraulic.weight", "70")
    scene.stage(3, "Production", archive=True)
    scene.tag(3, "hydraulic.replicas", "1")
    assert scene.settle() == "v3"
    scene.tag(2, "hydraulic.weight", "30")


def test_a_split_comes_back_with_weights_and_replicas(scene: Scene) -> None:
    split_then_champion(scene)
    call("--yes")
    assert scene.settle() == "v1 30% x3/v2 70%"


def test_killed_anywhere_it_holds_what_serves_and_finishes_when_repeated(scene: Scene) -> None:
    split_then_champion(scene)
    kill = 0
    while (kill := kill + 1) < len(json.loads(call("--dry-run", "--json").stdout)["moves"]):
        with killed_at(kill), pytest.raises(Killed):
            CliRunner().invoke(main, [*CALL, "--yes"])
        assert scene.settle() == "v3", f"after {kill} moves"
        call("--yes")
        assert scene.settle() == "v1 30% x3/v2 70%"
        scene.stage(3, "Production", archive=True)
        scene.tag(2, "hydraulic.weight", "30")
        assert scene.settle() == "v3"
    assert kill > 4


class Killed(BaseException):
    """Ends the process's work as a kill would: nothing is taken back."""


def killed_at(step: int):  # type: ignore[no-untyped-def]  # a patch
    from mlflow_hydraulic.plugin import moves

    done = [0]
    do = moves._do

    def counted(*given: object) -> None:
        if done[0] == step:
            raise Killed
        done[0] += 1
        do(*given)  # type: ignore[arg-type]

    return patch("mlflow_hydraulic.plugin.moves._do", counted)


def test_refused_half_way_it_takes_everything_back(scene: Scene, tmp_path: Path) -> None:
    scene.stage(2, "Production")
    with why("a test"):
        scene.client.set_registered_model_alias("m", "challenger", "1")
    assert scene.settle() == "v2 + challenger v1"
    with why("a test"):
        scene.client.delete_registered_model_alias("m", "challenger")
    scene.stage(3, "Production", archive=True)
    assert scene.settle() == "v3"
    before = scene.intent()
    (tmp_path / "hydraulic.toml").write_text(
        '[policy]\nprotected_aliases = ["challenger"]\nprotected_by = ["somebody-else"]\n'
    )
    mlflow.set_registry_uri(f"hydraulic+{mlflow.get_tracking_uri()}?timeout=20")  # another URI: a store that reads anew
    refused = call("--yes", code=6)
    assert "challenger" in refused.stderr
    assert "taken back" in refused.stderr
    assert scene.intent() == before
    assert scene.settle() == "v3"
    assert scene.rows("refused")[-1].reason.startswith("rollback to v2 + challenger v1 in prod")


def test_what_cannot_come_back_is_said_and_nothing_is_moved(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "having run healthily" in call("--yes", code=4).stderr
    for version in (1, 2, 3):
        scene.stage(version, "Production", archive=True)
        assert scene.settle() == f"v{version}"
    before = scene.intent()
    (scene.sources / "2" / "note.txt").write_text("somebody was here")
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path / "another-home"))
    assert "was changed after registration" in call("--yes", code=7).stderr
    shutil.rmtree(scene.sources / "2")
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path / "a-third-home"))
    assert "artefact is missing or unfit" in call("--yes", code=4).stderr
    assert scene.intent() == before
    scene.client.delete_model_version("m", "2")
    assert "version 2 was deleted" in call("--yes", code=4).stderr
    assert "never ran healthily in prod" in call("--yes", "--to", "9", code=4).stderr
    call("--yes", "--to", "1")
    assert scene.settle() == "v1"


def test_bad_calls_are_said(scene: Scene) -> None:
    scene.stage(1, "Production")
    assert "no model 'x'" in call("--yes", words=("rollback", "x", *CALL[2:]), code=4).stderr
    assert "known are dev, prod" in call("--yes", "--env", "moon", code=2).stderr
    assert "say why" in call("--yes", "--reason", " ", code=2).stderr
    mlflow.set_registry_uri(mlflow.get_tracking_uri())
    assert "without gate and ledger" in call("--yes", code=2).stderr


def test_aliases_go_back_where_aliases_bind(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "hydraulic.toml").write_text('bindings = "both"\n')
    mlflow.set_registry_uri(f"hydraulic+{mlflow.get_tracking_uri()}?timeout=21")
    for version in (2, 3):
        with why("a test"):
            scene.client.set_registered_model_alias("m", "champion", str(version))
        scene.stage(version, "Production", archive=True)
        assert scene.settle() == f"v{version}"
    call("--yes")
    assert scene.intent()[:2] == ({1: "None", 2: "Production", 3: "Archived"}, {"champion": 2})
    assert scene.settle() == "v2"


@pytest.mark.slow
def test_over_rest_as_the_user_who_asks(small_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "hydraulic.toml").write_text('[policy.prod]\nallow = ["ds1"]\n')
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(folder / "hydraulic.toml"))
    with mlflow_server(folder, auth=True) as server:
        for name, value in (server.environment("ds1") | {"HYDRAULIC_DATABASE": server.backend}).items():
            monkeypatch.setenv(name, value)
        mlflow.set_tracking_uri(server.uri)
        mlflow.set_registry_uri(None)
        client = MlflowClient()
        client.create_registered_model("m")
        for _ in range(3):
            run = client.create_run("0")
            client.log_artifacts(run.info.run_id, str(small_saved), "model")
            client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id)
        evidence = database.open_database(server.backend)
        scene = Scene(client=client, sources=tmp_path, evidence=evidence)
        for version in (2, 3):
            scene.stage(version, "Production", archive=True)
            assert scene.settle() == f"v{version}"
        before = scene.intent()
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ds2")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORDS["ds2"])
        assert "PROD" in call("--yes", code=6).stderr
        assert scene.intent() == before
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ds1")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORDS["ds1"])
        call("--yes")
        assert scene.settle() == "v2"
        assert scene.rows("refused")[-1].actor == "ds2"
        assert {row.actor for row in scene.rows("stage")[-2:]} == {"ds1"}
        evidence.dispose()
    mlflow.set_tracking_uri(None)
