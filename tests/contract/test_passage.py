"""The registry's gate and projects, on a real store: each change of a model in a project takes its right there.

Requests are Flask's, as in MLflow's server; who is an administrator is said by the test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.words import told
from mlflow_hydraulic.people.members import PROJECT_TAG
from mlflow_hydraulic.people.projects import Office
from mlflow_hydraulic.people.rights import RIGHTS, Right, Role
from mlflow_hydraulic.plugin import users
from mlflow_hydraulic.plugin.watched_store import RefusedMove, make_store
from tests.support.house import add_project, make_engine, uri_of

pytestmark = pytest.mark.filterwarnings("ignore:.*stage:FutureWarning")
MODEL, LOOSE = "cooler", "loose"
MEMBERS = {role.value: role for role in Role}  # users are called as their roles


@dataclass
class Registry:
    """A watched store with a model in project "cooling", one in none, and a member of each role."""

    store: Any

    @contextmanager
    def request(self, user: str, reason: str = "a test") -> Iterator[None]:
        with flask.Flask("mlflow").test_request_context(headers={"X-Hydraulic-Reason": reason}):
            flask.g.mlflow_authenticated_user = user
            yield

    def rows(self) -> list[ledger.Row]:
        with self.store.engine.connect() as connection:
            return list(ledger.rows(connection))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hydraulic.toml").write_text(
        '[policy]\nproject_roles = true\n[policy.prod]\nallow = ["role:operator"]\n'
    )
    monkeypatch.setattr(users, "is_admin", lambda name: name == "admin")
    engine = make_engine(tmp_path)
    add_project(engine, "cooling", MEMBERS)
    add_project(engine, "theirs", {"contributor": Role.OWNER})
    add_project(engine, "other", {"operator": Role.OWNER, "contributor": Role.READER})
    engine.dispose()
    store = make_store(uri_of(engine))
    for model in (MODEL, LOOSE):
        store.create_registered_model(model)
        for _ in range(2):
            store.create_model_version(model, "s3://bucket/model")
    store.set_registered_model_tag(MODEL, RegisteredModelTag(PROJECT_TAG, "cooling"))
    yield Registry(store)
    store.engine.dispose()


Change = Callable[[Any], object]
CHANGES: dict[str, tuple[set[Right], Change]] = {
    "stage of dev": ({Right.DEPLOY}, lambda s: s.transition_model_version_stage(MODEL, 1, "Staging", False)),
    "alias of dev": ({Right.DEPLOY}, lambda s: s.set_registered_model_alias(MODEL, "dev", 1)),
    "stage of nothing": ({Right.TAG}, lambda s: s.transition_model_version_stage(MODEL, 1, "Archived", False)),
    "alias of nothing": ({Right.TAG}, lambda s: s.set_registered_model_alias(MODEL, "tried", 1)),
    "intent tag": ({Right.TAG}, lambda s: s.set_model_version_tag(MODEL, 1, ModelVersionTag("hydraulic.weight", "5"))),
    "tag": ({Right.TAG}, lambda s: s.set_model_version_tag(MODEL, 1, ModelVersionTag("k", "v"))),
    "model's tag": ({Right.TAG}, lambda s: s.set_registered_model_tag(MODEL, RegisteredModelTag("k", "v"))),
    "description": ({Right.TAG}, lambda s: s.update_registered_model(MODEL, "words")),
    "version's description": ({Right.TAG}, lambda s: s.update_model_version(MODEL, 1, "words")),
    "new version": ({Right.MODELS}, lambda s: s.create_model_version(MODEL, "s3://bucket/model")),
    "delete version": ({Right.MODELS}, lambda s: s.delete_model_version(MODEL, 2)),
    "rename": ({Right.MODELS}, lambda s: s.rename_registered_model(MODEL, "cooler-2")),
    "delete": ({Right.MODELS}, lambda s: s.delete_registered_model(MODEL)),
    "leave": ({Right.MODELS}, lambda s: s.delete_registered_model_tag(MODEL, PROJECT_TAG)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_takes_its_right(registry: Registry, name: str) -> None:
    rights, change = CHANGES[name]
    for user in ("stranger", *(role.value for role in Role if not rights <= RIGHTS[role])):
        before = registry.rows()
        with registry.request(user), pytest.raises(RefusedMove) as refused:
            change(registry.store)
        assert refused.value.get_http_status_code() == 403
        last = registry.rows()[-1]
        assert (last.verb, last.actor) == ("refused", user)
        assert {row.verb for row in registry.rows()[len(before) :]} == {"refused"}
        assert user in told(last)
        assert "refused: " + user in told(last), "a sentence, not the raw row"
    with registry.request(next(role.value for role in Role if rights <= RIGHTS[role])):
        change(registry.store)


@pytest.mark.parametrize("user", ["admin", "", None])
def test_administrators_and_servers_without_a_login_are_free(registry: Registry, user: str | None) -> None:
    """None: no request at all, but a process of one's own."""
    for name in CHANGES:
        with registry.request(user) if user is not None else nullcontext():
            if name not in ("rename", "delete"):
                CHANGES[name][1](registry.store)


def test_who_makes_a_project_does_not_make_the_policys_operators(registry: Registry, tmp_path: Path) -> None:
    """Unless it is configured so, a role that anybody can give in a project of their own meets no `allow`."""
    (tmp_path / "hydraulic.toml").write_text('[policy.prod]\nallow = ["role:operator"]\n')
    store = make_store(str(registry.store.engine.url))
    with registry.request("operator"), pytest.raises(RefusedMove, match="only the role operator may change PROD"):
        store.transition_model_version_stage(MODEL, 1, "Production", False)


def test_prod_takes_promote_and_the_role_counts_for_the_policy(registry: Registry) -> None:
    def promote() -> None:
        registry.store.transition_model_version_stage(MODEL, 1, "Production", False)

    with registry.request("contributor"), pytest.raises(RefusedMove, match="deploy to every environment") as refused:
        promote()
    assert "only the role operator may change PROD" in str(refused.value)
    with registry.request("owner"), pytest.raises(RefusedMove, match="only the role operator"):
        promote()
    with registry.request("operator", reason=""), pytest.raises(RefusedMove, match="asks for a reason") as asked:
        promote()
    assert asked.value.json_kwargs["reason_wanted"] is True
    with registry.request("operator"):
        promote()
    with registry.request("contributor"), pytest.raises(RefusedMove, match="deploy to every environment"):
        registry.store.set_model_version_tag(MODEL, 1, ModelVersionTag("hydraulic.canary", "promote"))


def test_a_reason_is_not_asked_for_where_the_right_is_missing(registry: Registry) -> None:
    with registry.request("reader", reason=""), pytest.raises(RefusedMove) as refused:
        registry.store.transition_model_version_stage(MODEL, 1, "Production", False)
    assert "reason_wanted" not in refused.value.json_kwargs


def test_a_role_in_another_project_is_none_here(registry: Registry) -> None:
    registry.store.set_registered_model_tag(LOOSE, RegisteredModelTag(PROJECT_TAG, "other"))
    with registry.request("contributor"), pytest.raises(RefusedMove, match="contributor' is reader of project 'other'"):
        registry.store.set_model_version_tag(LOOSE, 1, ModelVersionTag("k", "v"))
    with registry.request("reader"), pytest.raises(RefusedMove, match="not shared with 'reader'"):
        registry.store.set_model_version_tag(LOOSE, 1, ModelVersionTag("k", "v"))


def test_a_model_moves_between_projects_of_ones_own(registry: Registry) -> None:
    def move(project: str) -> None:
        registry.store.set_registered_model_tag(MODEL, RegisteredModelTag(PROJECT_TAG, project))

    for user, why in (("owner", "not shared with 'owner'"), ("contributor", "reader of project 'other'")):
        with registry.request(user), pytest.raises(RefusedMove, match=why):
            move("other")
    with registry.request("operator", reason="it belongs there"):
        move("other")
    said = [(row.subject, json.loads(row.after)["what"], row.model, row.reason) for row in registry.rows()[-2:]]
    assert said == [
        ("projects:/cooling", "left", MODEL, "it belongs there"),
        ("projects:/other", "joined", MODEL, "it belongs there"),
    ]
    assert told(registry.rows()[-1]) == "operator brought model cooler into project other: it belongs there"


def test_what_is_asked_for_in_prod_leaves_a_project_only_with_who_may_change_that(registry: Registry) -> None:
    """Else a contributor takes it into a project of their own, owns it there, and does to PROD what they like."""
    with registry.request("operator"):
        registry.store.transition_model_version_stage(MODEL, 1, "Production", False)
    with registry.request("contributor"), pytest.raises(RefusedMove, match="deploy to every environment"):
        registry.store.set_registered_model_tag(MODEL, RegisteredModelTag(PROJECT_TAG, "theirs"))
    with registry.request("contributor"), pytest.raises(RefusedMove, match="deploy to every environment"):
        registry.store.delete_registered_model_tag(MODEL, PROJECT_TAG)
    with registry.request("operator"):
        registry.store.delete_registered_model_tag(MODEL, PROJECT_TAG)
    with registry.request("contributor"):  # what joins is nobody's loss
        registry.store.set_registered_model_tag(MODEL, RegisteredModelTag(PROJECT_TAG, "cooling"))


def test_nobody_tags_for_a_project_that_is_not_there(registry: Registry) -> None:
    with registry.request("owner"), pytest.raises(RefusedMove, match="there is no project 'to come'"):
        registry.store.set_registered_model_tag(LOOSE, RegisteredModelTag(PROJECT_TAG, "to come"))
    with registry.request("owner"), pytest.raises(RefusedMove):
        registry.store.create_registered_model("new", [RegisteredModelTag(PROJECT_TAG, "other")])
    with registry.request("owner"):
        registry.store.create_registered_model("new", [RegisteredModelTag(PROJECT_TAG, "cooling")])


def test_a_new_project_takes_nobodys_models(registry: Registry, tmp_path: Path) -> None:
    registry.store.set_registered_model_tag(LOOSE, RegisteredModelTag(PROJECT_TAG, "to come"))
    mine = Office(engine=registry.store.engine, workspace="default", by="reader", now=utc_now(), everywhere=False)
    with pytest.raises(Exception, match="bear the tag"):
        mine.create("to come")


def test_facts_are_the_controllers(registry: Registry) -> None:
    fact = ModelVersionTag("hydraulic.prod.state", "healthy")
    for user in ("owner", "stranger"):
        with registry.request(user), pytest.raises(RefusedMove, match="told by the controller"):
            registry.store.set_model_version_tag(MODEL, 1, fact)
    with registry.request("stranger"):  # of a model in no project MLflow's own permission decides
        registry.store.set_model_version_tag(LOOSE, 1, fact)
    with registry.request("admin"):
        registry.store.set_model_version_tag(MODEL, 1, fact)
    with registry.request("owner"), pytest.raises(RefusedMove, match="told by the controller"):
        registry.store.delete_model_version_tag(MODEL, 1, fact.key)
    with registry.request("owner"), pytest.raises(RefusedMove, match="told by the controller"):
        registry.store.create_model_version(MODEL, "s3://bucket/model", tags=[fact])
    with registry.request("owner"):  # MLflow copies a version with all of its tags
        registry.store.create_model_version(MODEL, f"models:/{MODEL}/1", tags=[fact])
        registry.store.delete_registered_model(MODEL)


def test_a_copy_takes_leave_to_see_the_original(registry: Registry) -> None:
    with registry.request("stranger"), pytest.raises(MlflowException, match="not there, or not shared"):
        registry.store.create_model_version(LOOSE, f"models:/{MODEL}/1")
    for source in (f"models:///{MODEL}/1", f"MODELS:/{MODEL}/1"):  # MLflow reads these alike
        with registry.request("stranger"), pytest.raises(MlflowException, match="not there, or not shared"):
            registry.store.create_model_version(LOOSE, source)
    with registry.request("reader"):
        registry.store.create_model_version(LOOSE, f"models:/{MODEL}/1")


def test_the_name_of_a_hidden_model_is_nobody_elses_when_it_is_free(registry: Registry) -> None:
    """What is on record under it, its requests among that, would be whose it is."""
    with registry.request("owner"):
        registry.store.rename_registered_model(MODEL, "renamed")
        registry.store.create_registered_model("deleted", [RegisteredModelTag(PROJECT_TAG, "cooling")])
        registry.store.delete_registered_model("deleted")
    for name in (MODEL, "deleted"):
        for user in ("stranger", "reader"):
            with registry.request(user), pytest.raises(RefusedMove, match="take another name"):
                registry.store.create_registered_model(name)
            with registry.request(user), pytest.raises(RefusedMove, match="take another name"):
                registry.store.rename_registered_model(LOOSE, name)
    assert told(registry.rows()[-1]).startswith("refused: reader asked rename model of models:/loose, but the name")
    with registry.request("contributor"):
        registry.store.create_registered_model("deleted")
    with registry.request("stranger"):
        registry.store.delete_registered_model("deleted")  # it was in no project this time
        registry.store.create_registered_model("deleted")
    Office(engine=registry.store.engine, workspace="default", by="owner", now=utc_now()).delete("cooling")
    Office(engine=registry.store.engine, workspace="default", by="stranger", now=utc_now()).create("cooling")
    with registry.request("stranger"), pytest.raises(RefusedMove, match="take another name"):
        registry.store.create_registered_model(MODEL)
    with registry.request("owner"):  # who gave the name up takes it again
        registry.store.create_registered_model(MODEL)


def test_a_role_that_ends_ends_at_once(registry: Registry) -> None:
    office = Office(engine=registry.store.engine, workspace="default", by="owner", now=utc_now())
    with registry.request("contributor"):
        CHANGES["tag"][1](registry.store)
    office.restrict("cooling", "contributor", Role.READER)
    with registry.request("contributor"), pytest.raises(RefusedMove, match="is reader"):
        CHANGES["description"][1](registry.store)
    office.remove("cooling", "contributor")
    with registry.request("contributor"), pytest.raises(RefusedMove, match="not shared"):
        CHANGES["description"][1](registry.store)
