"""MLflow's own SQL registry store and ours on twin databases: the same calls, the same answers, and the ledger besides.

On SQLite and on a real PostgreSQL, with workspaces and without.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.entities.workspace import Workspace, WorkspaceDeletionMode
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.tracking._model_registry.utils import _get_store_registry
from mlflow.utils.workspace_context import WorkspaceContext
from sqlalchemy import text

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.configuration import read_configuration
from mlflow_hydraulic.evidence import ledger, recorded
from mlflow_hydraulic.plugin.asked import Asked, AskedVersion
from mlflow_hydraulic.plugin.caller import Caller, why
from mlflow_hydraulic.plugin.watched_store import RefusedMove, WatchedStore, make_store
from mlflow_hydraulic.plugin.workspaces import open_workspaces
from mlflow_hydraulic.policy import judge_all
from mlflow_hydraulic.registry import INTENT_TAGS, RegisteredModel, Registry, Version
from mlflow_hydraulic.settings import read_tables
from tests import services

pytestmark = pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")
TIMES = ("creation_timestamp", "last_updated_timestamp", "creation_time", "last_updated_time")
Call = tuple[str, tuple[Any, ...]]


@dataclass
class Twins:
    """MLflow's store and ours, each on a database of its own."""

    plain: SqlAlchemyStore
    ours: Any

    def both(self, name: str, *arguments: Any) -> object:
        """Call both and compare; the answer, or the error's code and text."""
        theirs, our = answer(self.plain, name, arguments), answer(self.ours, name, arguments)
        assert our == theirs, f"{name}{arguments}"
        return our

    def rows(self, after: int = 0) -> list[ledger.Row]:
        with self.ours.engine.connect() as connection:
            return list(ledger.rows(connection, after=after))

    def said(self, after: int = 0) -> list[tuple[str, str, object, object]]:
        """(verb, subject, before, after) of each row."""
        return [(row.verb, row.subject, json.loads(row.before), json.loads(row.after)) for row in self.rows(after)]


def answer(store: Any, name: str, arguments: Sequence[Any]) -> object:
    try:
        with why("a test"):
            return plain_value(getattr(store, name)(*arguments))
    except MlflowException as error:
        return error.error_code, error.message.split("[SQL")[0].split("(Background")[0]


def plain_value(value: Any) -> object:
    """An entity as data, its timestamps left out."""
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value], getattr(value, "token", None)
    if hasattr(value, "__dict__"):
        return type(value).__name__, {
            key.lstrip("_"): plain_value(item) for key, item in vars(value).items() if key.lstrip("_") not in TIMES
        }
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    return value


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def new_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes the URI of a database of MLflow's, fresh at each call: a copy, since MLflow's migrations take seconds."""
    folder = tmp_path_factory.mktemp("stores")
    if request.param == "sqlite":
        first = folder / "first.db"
        SqlAlchemyStore(f"sqlite:///{first}").engine.dispose()
        return lambda: f"sqlite:///{copied(first)}"
    server: str = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mysql_server"}[request.param])
    uri = services.new_database(server)
    SqlAlchemyStore(uri).engine.dispose()
    SqlAlchemyStore._engine_map.pop(uri)
    return lambda: services.new_database(server, uri.rsplit("/", 1)[1])


def copied(first: Path) -> Path:
    copy = first.with_name(f"{len(list(first.parent.iterdir()))}.db")
    copy.write_bytes(first.read_bytes())
    return copy


@contextmanager
def opened(new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, *, workspaces: bool = False) -> Iterator[Twins]:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true" if workspaces else "false")
    kind = WorkspaceAwareSqlAlchemyStore if workspaces else SqlAlchemyStore
    twins = Twins(plain=kind(new_uri()), ours=make_store(new_uri()))
    try:
        with WorkspaceContext("default") if workspaces else nullcontext():
            yield twins
    finally:
        twins.plain.engine.dispose()
        twins.ours.engine.dispose()


@pytest.fixture(params=[False, True], ids=["plain", "workspaces"])
def twins(
    request: pytest.FixtureRequest, new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Twins]:
    with opened(new_uri, monkeypatch, workspaces=request.param) as both:
        yield both


@pytest.fixture
def one(new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Twins]:
    with opened(new_uri, monkeypatch) as both:
        yield both


STORY: tuple[tuple[Call, tuple[tuple[str, str, object, object], ...]], ...] = (
    (("create_registered_model", ("m", [RegisteredModelTag("a", "b")], "text")), ()),
    (("create_registered_model", ("m",)), ()),
    (("create_registered_model", ("a/b",)), ()),
    (("create_model_version", ("m", "s1", "run1")), ()),
    (("create_model_version", ("m", "s2", None, [ModelVersionTag("hydraulic.weight", "50")])), (
        ("tag", "models:/m/2#hydraulic.weight", None, "50"),
    )),
    (("create_model_version", ("m", "s3", None, [ModelVersionTag("hydraulic.prod.state", "healthy")])), ()),
    (("create_model_version", ("gone", "s1")), ()),
    (("transition_model_version_stage", ("m", "1", "production", False)), (
        ("stage", "models:/m/1", "None", "Production"),
    )),
    (("transition_model_version_stage", ("m", "1", "Production", False)), ()),
    (("transition_model_version_stage", ("m", "2", "Production", True)), (
        ("stage", "models:/m/1", "Production", "Archived"),
        ("stage", "models:/m/2", "None", "Production"),
    )),
    (("transition_model_version_stage", ("m", "2", "None", True)), ()),
    (("transition_model_version_stage", ("m", "9", "Staging", False)), ()),
    (("transition_model_version_stage", ("m", "2", "Nowhere", False)), ()),
    (("set_registered_model_alias", ("m", "champion", "1")), (("alias", "models:/m@champion", None, 1),)),
    (("set_registered_model_alias", ("m", "champion", "1")), ()),
    (("set_registered_model_alias", ("m", "champion", 3)), (("alias", "models:/m@champion", 1, 3),)),
    (("set_registered_model_alias", ("m", "v1", 3)), ()),
    (("set_registered_model_alias", ("m", "other", 3)), (("alias", "models:/m@other", None, 3),)),
    (("get_model_version_by_alias", ("m", "champion")), ()),
    (("get_model_version_by_alias", ("m", "none")), ()),
    (("delete_registered_model_alias", ("m", "other")), (("alias", "models:/m@other", 3, None),)),
    (("delete_registered_model_alias", ("m", "other")), ()),
    (("set_model_version_tag", ("m", "2", ModelVersionTag("hydraulic.weight", "60"))), (
        ("tag", "models:/m/2#hydraulic.weight", "50", "60"),
    )),
    (("set_model_version_tag", ("m", "2", ModelVersionTag("hydraulic.weight", "60"))), ()),
    (("set_model_version_tag", ("m", "2", ModelVersionTag("note", "x"))), ()),
    (("set_model_version_tag", ("m", "2", ModelVersionTag("hydraulic.prod.endpoint", "http://x"))), ()),
    (("set_model_version_tag", ("m", 1, ModelVersionTag("hydraulic.replicas", "2"))), (
        ("tag", "models:/m/1#hydraulic.replicas", None, "2"),
    )),
    (("delete_model_version_tag", ("m", "2", "note")), ()),
    (("delete_model_version_tag", ("m", "2", "hydraulic.weight")), (
        ("tag", "models:/m/2#hydraulic.weight", "60", None),
    )),
    (("set_registered_model_tag", ("m", RegisteredModelTag("hydraulic.weight", "1"))), ()),
    (("delete_registered_model_tag", ("m", "hydraulic.weight")), ()),
    (("update_model_version", ("m", "2", "words")), ()),
    (("update_registered_model", ("m", "words")), ()),
    (("get_latest_versions", ("m",)), ()),
    (("get_latest_versions", ("m", ["Production"])), ()),
    (("get_model_version", ("m", "2")), ()),
    (("get_registered_model", ("m",)), ()),
    (("search_registered_models", ()), ()),
    (("search_model_versions", ("name='m'",)), ()),
    (("search_model_versions", ("nonsense",)), ()),
    (("create_registered_model", ("taken",)), ()),
    (("rename_registered_model", ("m", "taken")), ()),
    (("rename_registered_model", ("m", "n")), (("rename model", "models:/m", "m", "n"),)),
    (("get_registered_model", ("n",)), ()),
    (("get_registered_model", ("m",)), ()),
    (("get_model_version_by_alias", ("n", "champion")), ()),
    (("get_model_version_download_uri", ("n", "1")), ()),
    (("delete_model_version", ("n", "3")), (
        ("alias", "models:/n@champion", 3, None),
        ("delete version", "models:/n/3", "None", None),
    )),
    (("delete_model_version", ("n", "3")), ()),
    (("transition_model_version_stage", ("n", "3", "Staging", False)), ()),
    (("delete_registered_model", ("n",)), (
        ("delete model", "models:/n", "n", None),
        ("delete version", "models:/n/1", "Archived", None),
        ("delete version", "models:/n/2", "Production", None),
        ("tag", "models:/n/1#hydraulic.replicas", "2", None),
    )),
    (("delete_registered_model", ("n",)), ()),
)  # fmt: skip


def test_a_story_of_calls_is_answered_alike_and_written_down(twins: Twins) -> None:
    for (name, arguments), rows in STORY:
        before = len(twins.rows())
        twins.both(name, *arguments)
        assert sorted(twins.said(before), key=str) == sorted(rows, key=str), (name, arguments)
        nothing_is_unrecorded(twins)
    assert {(row.actor != "unknown", row.reason) for row in twins.rows()} == {(True, "a test")}


MODELS = st.sampled_from(["a", "b"])
VERSIONS = st.integers(1, 3)
ALIASES = st.sampled_from(["champion", "dev"])
TAGS = st.sampled_from(["hydraulic.weight", "hydraulic.replicas", "hydraulic.dev.state", "note"])
STAGES = st.sampled_from(["None", "Staging", "Production", "Archived"])
VALUES = st.sampled_from(["1", "2", "é\u202e'\";--"])
CALLS: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("create_registered_model"), st.tuples(MODELS)),
    st.tuples(st.just("create_model_version"), st.tuples(MODELS, st.just("s"))),
    st.tuples(
        st.just("create_model_version"),
        st.tuples(MODELS, st.just("s"), st.none(), st.builds(lambda k, v: [ModelVersionTag(k, v)], TAGS, VALUES)),
    ),
    st.tuples(st.just("transition_model_version_stage"), st.tuples(MODELS, VERSIONS, STAGES, st.booleans())),
    st.tuples(st.just("set_registered_model_alias"), st.tuples(MODELS, ALIASES, VERSIONS)),
    st.tuples(st.just("delete_registered_model_alias"), st.tuples(MODELS, ALIASES)),
    st.tuples(st.just("set_model_version_tag"), st.tuples(MODELS, VERSIONS, st.builds(ModelVersionTag, TAGS, VALUES))),
    st.tuples(st.just("delete_model_version_tag"), st.tuples(MODELS, VERSIONS, TAGS)),
    st.tuples(st.just("delete_model_version"), st.tuples(MODELS, VERSIONS)),
    st.tuples(st.just("rename_registered_model"), st.tuples(MODELS, MODELS)),
    st.tuples(st.just("delete_registered_model"), st.tuples(MODELS)),
    st.tuples(st.just("get_model_version_by_alias"), st.tuples(MODELS, ALIASES)),
    st.tuples(st.just("get_latest_versions"), st.tuples(MODELS, st.lists(STAGES, max_size=2))),
    st.tuples(st.just("search_model_versions"), st.just(())),
)
FIRST: tuple[Call, ...] = (
    ("create_registered_model", ("a",)),
    ("create_model_version", ("a", "s")),
    ("create_model_version", ("a", "s")),
)


@pytest.fixture(scope="module")
def lasting(new_uri: Callable[[], str]) -> Iterator[Twins]:
    """Twins for many generated stories, which empty the registry after themselves."""
    with pytest.MonkeyPatch.context() as patch, opened(new_uri, patch) as both:
        yield both


@settings(
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(calls=st.lists(CALLS, min_size=4, max_size=14))
def test_any_sequence_of_calls_is_answered_alike_and_nothing_is_unrecorded(lasting: Twins, calls: list[Call]) -> None:
    for name, arguments in (*FIRST, *calls):
        lasting.both(name, *arguments)
    nothing_is_unrecorded(lasting)
    assert all(before != after for _, _, before, after in lasting.said())
    for name in ("a", "b"):
        lasting.both("delete_registered_model", name)


def intent(twins: Twins) -> Registry:
    """All that can be intent, as the controller would see it."""
    plain = twins.ours.search_model_versions(None, 10_000)
    models = twins.ours.search_registered_models(max_results=1000)
    return Registry(
        tuple(
            RegisteredModel(
                name=model.name,
                versions=tuple(
                    Version(
                        model=v.name,
                        number=int(v.version),
                        stage=v.current_stage,
                        tags={key: value for key, value in v.tags.items() if key in INTENT_TAGS},
                    )
                    for v in sorted(plain, key=lambda v: int(v.version))
                    if v.name == model.name
                ),
                aliases={alias: int(number) for alias, number in model.aliases.items()},
            )
            for model in models
        )
    )


def nothing_is_unrecorded(twins: Twins) -> None:
    with twins.ours.engine.connect() as connection:
        assert recorded.unrecorded(intent(twins), recorded.registry_said(connection)) == []
        assert ledger.verify(connection).holds


def test_each_workspace_is_written_down_as_its_own(new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(new_uri, monkeypatch, workspaces=True) as twins:
        for space in ("default", "other"):
            with WorkspaceContext(space):
                for name, arguments in FIRST:
                    twins.both(name, *arguments)
                twins.both("transition_model_version_stage", "a", 1, "Staging", False)
        assert [row.workspace for row in twins.rows()] == ["default", "other"]


@pytest.mark.parametrize("mode", [WorkspaceDeletionMode.CASCADE, WorkspaceDeletionMode.SET_DEFAULT])
def test_a_workspace_whose_models_are_in_use_is_not_deleted(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, mode: WorkspaceDeletionMode
) -> None:
    with opened(new_uri, monkeypatch, workspaces=True) as twins:
        workspaces = open_workspaces(twins.ours.engine.url.render_as_string(hide_password=False))
        uses: dict[str, Callable[[], object]] = {
            "staged": lambda: twins.ours.transition_model_version_stage("a", 1, "Archived", False),
            "aliased": lambda: twins.ours.set_registered_model_alias("a", "champion", 1),
            "tagged": lambda: twins.ours.set_model_version_tag("a", 1, ModelVersionTag("hydraulic.weight", "1")),
        }
        for space, use in uses.items():
            workspaces.create_workspace(Workspace(name=space))
            with WorkspaceContext(space):
                start(twins.ours, 1)
                use()
                said = len(twins.rows())
                with pytest.raises(MlflowException, match=rf"'{space}' holds models that are in use \('a'\)") as error:
                    workspaces.delete_workspace(space, mode)
                assert error.value.get_http_status_code() == 403
                assert len(twins.ours.search_registered_models()) == 1
                twins.ours.delete_registered_model("a")
                assert len(twins.rows()) > said
                twins.ours.create_registered_model(f"p{space}", [RegisteredModelTag("mlflow.prompt.is_prompt", "true")])
                twins.ours.create_model_version(f"p{space}", "s")
                twins.ours.set_registered_model_alias(f"p{space}", "champion", 1)
                twins.ours.create_registered_model(f"idle{space}")
                twins.ours.create_model_version(f"idle{space}", "s")
            workspaces.delete_workspace(space, mode)
            assert space not in {one.name for one in workspaces.list_workspaces()}
        workspaces._engine.dispose()


def test_what_happens_to_prompts_is_no_concern_of_ours(one: Twins) -> None:
    one.both("create_registered_model", "p", [RegisteredModelTag("mlflow.prompt.is_prompt", "true")])
    one.both("create_model_version", "p", "s", None, [ModelVersionTag("hydraulic.weight", "1")])
    one.both("set_registered_model_alias", "p", "champion", 1)
    one.both("rename_registered_model", "p", "q")
    one.both("delete_registered_model", "q")
    assert one.rows() == []


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "yes"])
def test_no_tag_makes_a_model_a_prompt_that_the_gate_would_pass_by(one: Twins, value: str) -> None:
    start(one.ours, 1)
    with pytest.raises(RefusedMove, match="is_prompt"):
        one.ours.set_registered_model_tag("a", RegisteredModelTag("mlflow.prompt.is_prompt", value))
    with pytest.raises(RefusedMove, match="is_prompt"):
        one.ours.set_model_version_tag("a", 1, ModelVersionTag("mlflow.prompt.is_prompt", "true"))
    with pytest.raises(RefusedMove, match="PROD asks for a reason"):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    assert len(one.ours.search_model_versions("name='a'", 10)) == 1
    assert [row.verb for row in one.rows()] == ["refused"] * 3
    nothing_is_unrecorded(one)


def test_a_prompt_stays_one(one: Twins) -> None:
    prompt = RegisteredModelTag("mlflow.prompt.is_prompt", "true")
    one.both("create_registered_model", "a", [prompt])
    one.both("create_model_version", "a", "s", None, [ModelVersionTag("mlflow.prompt.is_prompt", "true")])
    one.both("set_registered_model_tag", "a", prompt)
    one.both("set_registered_model_alias", "a", "champion", 1)
    with pytest.raises(RefusedMove, match="is_prompt"):
        one.ours.delete_registered_model_tag("a", "mlflow.prompt.is_prompt")
    with pytest.raises(RefusedMove, match="is_prompt"):
        one.ours.set_registered_model_tag("a", RegisteredModelTag("mlflow.prompt.is_prompt", "false"))
    one.both("delete_model_version_tag", "a", "1", "mlflow.prompt.is_prompt")
    one.both("rename_registered_model", "a", "b")
    one.both("delete_registered_model", "b")
    assert [row.verb for row in one.rows()] == ["refused"] * 2


def test_what_only_looks_like_a_prompt_is_guarded_like_a_model(one: Twins) -> None:
    one.ours.create_registered_model("a", [RegisteredModelTag("mlflow.prompt.is_prompt", "True")])
    one.ours.create_model_version("a", "s")
    with pytest.raises(RefusedMove, match="PROD asks for a reason"):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    nothing_is_unrecorded(one)


def test_a_refusal_changes_nothing_and_is_written_down(one: Twins) -> None:
    start(one.ours, 2)
    with why("first"):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    before, said = intent(one), len(one.rows())
    calls: tuple[Callable[[], object], ...] = (
        lambda: one.ours.transition_model_version_stage("a", 2, "Production", True),
        lambda: one.ours.transition_model_version_stage("a", 1, "None", False),
        lambda: one.ours.set_model_version_tag("a", 1, ModelVersionTag("hydraulic.weight", "5")),
        lambda: one.ours.delete_model_version("a", 1),
        lambda: one.ours.delete_registered_model("a"),
        lambda: one.ours.rename_registered_model("a", "b"),
    )
    for call in calls:
        with pytest.raises(RefusedMove, match="PROD asks for a reason") as refused:
            call()
        assert refused.value.get_http_status_code() == 403
        assert refused.value.json_kwargs["reason_wanted"] is True
        assert intent(one) == before
        rows = one.rows(said)
        assert {row.verb for row in rows} == {"refused"}
        assert all("asks for a reason" in row.after for row in rows)
        said += len(rows)
    nothing_is_unrecorded(one)


def start(store: Any, versions: int) -> None:
    store.create_registered_model("a")
    for _ in range(versions):
        store.create_model_version("a", "s")


def policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str) -> None:
    (tmp_path / "policy.toml").write_text(toml, encoding="utf-8")
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "policy.toml"))


def test_all_reasons_are_told_and_a_reason_alone_would_not_do(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy_file(tmp_path, monkeypatch, '[policy.prod]\nallow = ["nobody-here"]\nreason_required = true\n')
    with opened(new_uri, monkeypatch) as twins:
        start(twins.ours, 1)
        with pytest.raises(RefusedMove, match=r"nobody-here.*; PROD asks for a reason") as refused:
            twins.ours.transition_model_version_stage("a", 1, "Production", False)
    assert "reason_wanted" not in refused.value.json_kwargs


def test_behind_an_alias_tags_and_names_are_guarded_too(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy_file(tmp_path, monkeypatch, 'bindings = "aliases"\n[policy]\nprotected_aliases = ["golden"]\n')
    with opened(new_uri, monkeypatch) as twins:
        start(twins.ours, 2)
        with why("first"):
            twins.ours.set_registered_model_alias("a", "champion", 1)
        twins.ours.set_model_version_tag("a", 2, ModelVersionTag("hydraulic.replicas", "2"))
        calls: tuple[Callable[[], object], ...] = (
            lambda: twins.ours.set_registered_model_alias("a", "champion", 2),
            lambda: twins.ours.delete_registered_model_alias("a", "champion"),
            lambda: twins.ours.set_model_version_tag("a", 1, ModelVersionTag("hydraulic.replicas", "2")),
            lambda: twins.ours.delete_model_version("a", 1),
            lambda: twins.ours.rename_registered_model("a", "b"),
            lambda: twins.ours.set_registered_model_alias("a", "golden", 2),
        )
        for call in calls:
            with pytest.raises(RefusedMove):
                call()
        assert twins.ours.get_registered_model("a").aliases == {"champion": 1}


TRAINED = """
insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,
  deleted_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
values ('r', 'r', 'LOCAL', '', '', '{user}', 'FINISHED', 0, 0, null, '', 'active', '', null)
"""


def test_the_trainer_takes_their_version_out_but_not_in(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy_file(
        tmp_path, monkeypatch, 'bindings = "both"\n[policy.prod]\nnot_the_trainer = true\nreason_required = false\n'
    )
    monkeypatch.setattr("getpass.getuser", lambda: "ds1")
    with opened(new_uri, monkeypatch) as twins:
        twins.ours.create_registered_model("a")
        for run in ("r", "r2", ""):
            twins.ours.create_model_version("a", "s", run or None)
        with twins.ours.engine.begin() as connection:
            connection.execute(text(TRAINED.format(user="ds2")))
            connection.execute(text(TRAINED.format(user="ds1").replace("'r', 'r'", "'r2', 'r2'")))
        twins.ours.transition_model_version_stage("a", 1, "Production", False)
        with pytest.raises(RefusedMove, match="'ds1' trained version 2"):
            twins.ours.transition_model_version_stage("a", 2, "Production", True)
        with pytest.raises(RefusedMove, match="'ds1' trained version 2"):
            twins.ours.set_registered_model_alias("a", "champion", 2)
        with pytest.raises(RefusedMove, match="who trained version 3 is not known"):
            twins.ours.transition_model_version_stage("a", 3, "Production", False)
        monkeypatch.setattr("getpass.getuser", lambda: "ds2")
        with pytest.raises(RefusedMove, match="'ds2' trained version 1"):
            twins.ours.rename_registered_model("a", "b")
        twins.ours.transition_model_version_stage("a", 2, "Production", True)  # archives their own version 1
        twins.ours.set_registered_model_alias("a", "champion", 2)
        monkeypatch.setattr("getpass.getuser", lambda: "ds1")
        twins.ours.set_model_version_tag("a", 2, ModelVersionTag("hydraulic.replicas", "2"))
        twins.ours.delete_registered_model_alias("a", "champion")
        twins.ours.transition_model_version_stage("a", 2, "Archived", False)


EXPLAINED: tuple[tuple[Asked, str, Call], ...] = (
    (Asked(stage="Production"), "'ds1' trained version 2", (
        "transition_model_version_stage", ("a", 2, "Production", False)
    )),
    (Asked(stage="Staging"), "", ("transition_model_version_stage", ("a", 2, "Staging", False))),
    (Asked(stage="Staging", archive_existing=True), "", ("transition_model_version_stage", ("a", 2, "Staging", True))),
    (Asked(alias="dev"), "", ("set_registered_model_alias", ("a", "dev", 2))),
    (Asked(alias="champion"), "'ds1' trained version 2", ("set_registered_model_alias", ("a", "champion", 2))),
    (Asked(alias="golden"), "protected alias 'golden'", ("set_registered_model_alias", ("a", "golden", 2))),
    (Asked(tag=("hydraulic.weight", "5")), "", (
        "set_model_version_tag", ("a", 2, ModelVersionTag("hydraulic.weight", "5"))
    )),
    (Asked(tag=("note", "5")), "", ("set_model_version_tag", ("a", 2, ModelVersionTag("note", "5")))),
    (Asked(tag=("mlflow.prompt.is_prompt", "x")), "stays one", (
        "set_model_version_tag", ("a", 2, ModelVersionTag("mlflow.prompt.is_prompt", "x"))
    )),
    (Asked(delete=True), "protected alias 'mine'", ("delete_model_version", ("a", 2))),
)  # fmt: skip
EXPLAINED_POLICY = """
bindings = "both"
[policy]
protected_aliases = ["golden", "mine"]
protected_by = ["ds9"]
[policy.prod]
not_the_trainer = true
reason_required = false
"""


@pytest.mark.parametrize(("asked", "why_not", "call"), EXPLAINED)
@pytest.mark.parametrize("user", ["ds1", "ds9"])
def test_explain_says_what_the_store_does(
    new_uri: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    user: str,
    asked: Asked,
    why_not: str,
    call: Call,
) -> None:
    policy_file(tmp_path, monkeypatch, EXPLAINED_POLICY)
    with opened(new_uri, monkeypatch) as twins:
        twins.ours.create_registered_model("a")
        for run in ("r", "r2"):
            twins.ours.create_model_version("a", "s", run)
        with twins.ours.engine.begin() as connection:
            connection.execute(text(TRAINED.format(user="ds2")))
            connection.execute(text(TRAINED.format(user="ds1").replace("'r', 'r'", "'r2', 'r2'")))
        monkeypatch.setattr("getpass.getuser", lambda: "ds9")
        twins.ours.transition_model_version_stage("a", 1, "Staging", False)
        twins.ours.set_registered_model_alias("a", "mine", 2)
        uri = twins.ours.engine.url.render_as_string(hide_password=False)
        who = Caller(user=user)
        moves, forbidden = AskedVersion(MlflowClient(uri, uri), "a", 2).moves(asked, "default", who, utc_now())
        configuration = read_configuration(read_tables())
        verdict = judge_all(moves, configuration.environments, configuration.policy)
        reasons = (forbidden,) if forbidden else verdict.reasons
        monkeypatch.setattr("getpass.getuser", lambda: user)
        said = len(twins.rows())
        try:
            getattr(twins.ours, call[0])(*call[1])
        except RefusedMove as error:
            assert error.message == f"Not allowed: {'; '.join(reasons)}"
        else:
            assert reasons == ()
            assert {row.environment for row in twins.rows(said)} <= {"", *verdict.environments}
            assert len(twins.rows(said)) == len(moves)
        assert why_not in "".join(reasons) or user != "ds1"


def test_a_model_is_not_renamed_into_an_environment_past_its_gate(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy_file(tmp_path, monkeypatch, 'bindings = "model-per-environment"\n')
    with opened(new_uri, monkeypatch) as twins:
        twins.ours.create_registered_model("dev.a")
        twins.ours.create_model_version("dev.a", "s")
        twins.ours.set_registered_model_alias("dev.a", "champion", 1)
        with pytest.raises(RefusedMove, match="PROD asks for a reason"):
            twins.ours.rename_registered_model("dev.a", "prod.a")
        twins.ours.rename_registered_model("dev.a", "dev.b")


def test_a_refusal_that_cannot_be_written_down_is_one_all_the_same(
    one: Twins, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(one.ours, 1)
    with one.ours.engine.begin() as connection:
        connection.execute(text("alter table hydraulic_ledger rename to elsewhere"))
    with pytest.raises(RefusedMove):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    assert one.ours.get_model_version("a", 1).current_stage == "None"
    assert "not in the ledger" in caplog.text
    with pytest.raises(MlflowException), why("allowed, but it cannot be recorded"):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    assert one.ours.get_model_version("a", 1).current_stage == "None"


def test_a_ledger_without_its_head_says_how_to_mend_it(one: Twins) -> None:
    start(one.ours, 1)
    with one.ours.engine.begin() as connection:
        connection.execute(text("delete from hydraulic_ledger_head"))
    with pytest.raises(MlflowException, match="hydraulic db upgrade") as error:
        one.ours.transition_model_version_stage("a", 1, "Staging", False)
    assert error.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert one.ours.get_model_version("a", 1).current_stage == "None"


def test_of_moves_at_once_each_knows_what_it_leaves(one: Twins) -> None:
    start(one.ours, 1)
    stages, barrier = ("Staging", "Production", "Archived", "None"), Barrier(4)

    def move(stage: str) -> None:
        barrier.wait(timeout=60)
        for turn in range(6):
            with why("at once"):
                one.ours.transition_model_version_stage("a", 1, stages[(stages.index(stage) + turn) % 4], False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, stages))
    was: object = "None"
    for verb, _, before, after in one.said():
        assert (verb, before) == ("stage", was)
        was = after
    assert was == one.ours.get_model_version("a", 1).current_stage
    nothing_is_unrecorded(one)


def test_many_writers_of_all_kinds_neither_block_each_other_nor_lose_a_row(one: Twins) -> None:
    start(one.ours, 3)

    def work(n: int) -> None:
        version = n % 3 + 1
        for turn in range(4):
            with why("many"):
                one.ours.set_registered_model_alias("a", f"alias{n}", version)
                one.ours.transition_model_version_stage("a", version, ("Production", "Staging")[turn % 2], True)
                one.ours.create_model_version("a", "s", None, [ModelVersionTag("hydraulic.weight", str(n))])
                one.ours.set_model_version_tag("a", version, ModelVersionTag("hydraulic.weight", f"{n}{turn}"))
                one.ours.delete_registered_model_alias("a", f"alias{n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(one.ours.search_model_versions("name='a'", 1000)) == 3 + 8 * 4
    nothing_is_unrecorded(one)


KILLED = """
import os, sys
from sqlalchemy import event
from mlflow_hydraulic.plugin.caller import why
from mlflow_hydraulic.plugin.watched_store import make_store
store = make_store(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), 9)
event.listen(store.engine, sys.argv[2], die)
with why("killed"):
    store.transition_model_version_stage("a", 1, "Production", False)
"""


@pytest.mark.parametrize("moment", ["commit", "before_cursor_execute"])
def test_a_kill_between_change_and_commit_leaves_neither(one: Twins, moment: str) -> None:
    start(one.ours, 1)
    uri = one.ours.engine.url.render_as_string(hide_password=False)
    script = KILLED
    if moment == "before_cursor_execute":  # the ledger's own row is about to be written, the change is already
        script = KILLED.replace("def die(*_):", "def die(_c, _cu, sql, *_):\n  if 'INTO hydraulic_ledger' in sql:")
    killed = subprocess.run([sys.executable, "-c", script, uri, moment], check=False, timeout=120, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert one.ours.get_model_version("a", 1).current_stage == "None"
    assert one.rows() == []
    with why("after it"):
        one.ours.transition_model_version_stage("a", 1, "Production", False)
    assert len(one.rows()) == 1
    nothing_is_unrecorded(one)


def test_mlflows_own_store_in_the_same_process_is_left_alone(one: Twins) -> None:
    start(one.ours, 1)
    plain = SqlAlchemyStore(one.ours.engine.url.render_as_string(hide_password=False))
    plain.transition_model_version_stage("a", 1, "Production", False)
    assert one.rows() == []


def test_a_read_replica_is_not_asked(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "false")
    store = make_store(new_uri(), new_uri())
    assert "not from the read replica" in caplog.text
    start(store, 1)
    store.transition_model_version_stage("a", 1, "Staging", False)
    assert store.get_model_version("a", 1).current_stage == "Staging"
    store.engine.dispose()


def test_a_ledger_in_another_database_is_refused(
    new_uri: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = new_uri()
    monkeypatch.setenv("HYDRAULIC_DATABASE", f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(MlflowException, match="the registry's own database"):
        make_store(uri)
    monkeypatch.setenv("HYDRAULIC_DATABASE", f"hydraulic+{uri}")
    make_store(uri).engine.dispose()


def test_the_scheme_of_ours_is_mlflows_entry_point(new_uri: Callable[[], str]) -> None:
    uri = new_uri()
    driver = uri.partition(":")[0].partition("+")[2]
    short = uri if driver == "pymysql" else uri.replace(f"+{driver}", "")  # "mysql" alone means another driver
    for scheme in {uri, short}:
        store = _get_store_registry().get_store(f"hydraulic+{scheme}", None)
        assert isinstance(store, WatchedStore)
        store.engine.dispose()
