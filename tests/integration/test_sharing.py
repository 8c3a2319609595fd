"""MLflow's own API under the roles of projects: a real server with a log-in, ds1 who owns a project, and ds2.

MLflow's default permission is READ, so that by MLflow alone ds2 would see all of ds1's and change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.servers import Server, mlflow_server

pytestmark = pytest.mark.slow
MLFLOW, OURS = "/api/2.0/mlflow", "/api/2.0/hydraulic"
SECRET, OPEN, NOWHERE = "secret-cooler", "open-cooler", "no-such-cooler"
GRAPHQL = """query Q($data: MlflowSearchModelVersionsInput!) {
  mlflowSearchModelVersions(input: $data) { modelVersions { name } } }"""


@dataclass(frozen=True)
class Person:
    """One user of the server, over HTTP."""

    server: Server
    name: str

    def ask(self, method: str, path: str, value: Any = None, reason: str = "") -> requests.Response:
        """value: the query of a GET, the JSON body of all others."""
        return requests.request(
            method,
            self.server.uri + path,
            auth=self.server.login(self.name),
            headers={"X-Hydraulic-Reason": reason} if reason else {},
            params=value if method == "GET" else None,
            json=value if method != "GET" else None,
            timeout=60,
        )

    def done(self, method: str, path: str, value: Any = None, reason: str = "") -> Any:
        answer = self.ask(method, path, value, reason)
        assert answer.ok, f"{self.name}: {method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def models(self) -> set[str]:
        found = self.done("GET", f"{MLFLOW}/registered-models/search").get("registered_models", [])
        return {model["name"] for model in found}

    def versions(self) -> set[str]:
        found = self.done("GET", f"{MLFLOW}/model-versions/search").get("model_versions", [])
        return {version["name"] for version in found}

    def graph(self) -> set[str]:
        asked = {"operationName": "Q", "query": GRAPHQL, "variables": {"data": {}}}
        found = self.done("POST", "/graphql", asked)["data"]["mlflowSearchModelVersions"]["modelVersions"]
        return {version["name"] for version in found}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sharing")
    config = folder / "read_only.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'basic_auth.db'}\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 600\n",
        encoding="utf-8",
    )
    with mlflow_server(folder, auth=True, env={"MLFLOW_AUTH_CONFIG_PATH": str(config)}) as running:
        ds1 = Person(running, "ds1")
        for model in (SECRET, OPEN):
            ds1.done("POST", f"{MLFLOW}/registered-models/create", {"name": model})
            ds1.done("POST", f"{MLFLOW}/model-versions/create", {"name": model, "source": "s3://bucket/model"})
            alias = {"name": model, "alias": "tried", "version": "1"}
            ds1.done("POST", f"{MLFLOW}/registered-models/alias", alias)
        ds1.done("POST", f"{OURS}/projects", {"name": "cooling"})
        ds1.done("POST", f"{OURS}/projects/cooling/models", {"model": SECRET}, "they belong together")
        yield running


@pytest.fixture
def ds1(server: Server) -> Person:
    return Person(server, "ds1")


@pytest.fixture
def ds2(server: Server) -> Iterator[Person]:
    """A user with whom nothing is shared, before and after."""
    yield Person(server, "ds2")
    Person(server, "ds1").ask("DELETE", f"{OURS}/projects/cooling/members/ds2")


READS = {
    "registered-models/get": {},
    "registered-models/alias": {"alias": "tried"},
    "model-versions/get": {"version": "1"},
    "model-versions/get-download-uri": {"version": "1"},
    "registered-models/get-latest-versions": {},
}
WRITES: list[tuple[str, str, dict[str, str]]] = [
    ("PATCH", "registered-models/update", {"description": "mine"}),
    ("POST", "registered-models/rename", {"new_name": "mine"}),
    ("DELETE", "registered-models/delete", {}),
    ("POST", "registered-models/set-tag", {"key": "hydraulic.project", "value": "other"}),
    ("DELETE", "registered-models/delete-tag", {"key": "hydraulic.project"}),
    ("POST", "registered-models/alias", {"alias": "champion", "version": "1"}),
    ("DELETE", "registered-models/alias", {"alias": "tried"}),
    ("POST", "model-versions/create", {"source": "s3://bucket/other"}),
    ("PATCH", "model-versions/update", {"version": "1", "description": "mine"}),
    ("POST", "model-versions/set-tag", {"version": "1", "key": "k", "value": "v"}),
    ("POST", "model-versions/set-tag", {"version": "1", "key": "hydraulic.weight", "value": "10"}),
    ("POST", "model-versions/transition-stage", {"version": "1", "stage": "Staging", "archive_existing_versions": ""}),
    ("DELETE", "model-versions/delete", {"version": "1"}),
]


def share(ds1: Person, role: str) -> None:
    answer = ds1.ask("POST", f"{OURS}/projects/cooling/members", {"user": "ds2", "role": role})
    if answer.status_code == 409:
        ds1.done("PUT", f"{OURS}/projects/cooling/members/ds2", {"role": role})


def told(answer: requests.Response, model: str) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(model, "NAME")


def test_who_has_no_role_finds_nothing_of_the_project(ds1: Person, ds2: Person) -> None:
    assert ds1.models() == ds1.versions() == ds1.graph() == {SECRET, OPEN}
    assert ds2.models() == ds2.versions() == ds2.graph() == {OPEN}
    assert ds2.done("GET", f"{OURS}/projects") == {"items": [], "there": 0}
    assert ds2.ask("GET", f"{OURS}/projects/cooling").status_code == 404
    assert ds2.ask("GET", "/hydraulic/projects/cooling").status_code == 404
    assert SECRET not in ds2.ask("GET", "/hydraulic/models").text


def test_what_is_hidden_is_answered_as_what_is_not_there(ds2: Person) -> None:
    for path, more in READS.items():
        hidden = ds2.ask("GET", f"{MLFLOW}/{path}", {"name": SECRET, **more})
        missing = ds2.ask("GET", f"{MLFLOW}/{path}", {"name": NOWHERE, **more})
        assert told(hidden, SECRET) == told(missing, NOWHERE), path
        assert hidden.status_code in (403, 404), path


def test_its_artifacts_are_hidden(ds2: Person) -> None:
    for path in ("/model-versions/get-artifact", "/ajax-api/2.0/mlflow/model-versions/get-artifact"):
        hidden = ds2.ask("GET", path, {"name": SECRET, "version": "1", "path": "MLmodel"})
        missing = ds2.ask("GET", path, {"name": NOWHERE, "version": "1", "path": "MLmodel"})
        assert told(hidden, SECRET) == told(missing, NOWHERE), path
        assert hidden.status_code in (403, 404), path


@pytest.mark.parametrize("role", ["", "reader", "validator"])
def test_who_may_not_change_it_does_not(ds1: Person, ds2: Person, role: str) -> None:
    if role:
        share(ds1, role)
    for method, path, value in WRITES:
        answer = ds2.ask(method, f"{MLFLOW}/{path}", {"name": SECRET, **value}, "because")
        assert answer.status_code in ((403,) if role else (403, 404)), f"{path}: {answer.text}"


def test_roles_are_in_force_with_the_next_request(ds1: Person, ds2: Person) -> None:
    move = {"name": SECRET, "version": "1", "archive_existing_versions": False}
    staging, production = {**move, "stage": "Staging"}, {**move, "stage": "Production"}
    transition = f"{MLFLOW}/model-versions/transition-stage"
    share(ds1, "reader")
    assert ds2.models() == {SECRET, OPEN}
    assert ds2.done("GET", f"{MLFLOW}/model-versions/get", {"name": SECRET, "version": "1"})
    assert ds2.ask("POST", transition, staging, "tried it").status_code == 403
    share(ds1, "contributor")
    ds2.done("POST", transition, staging, "tried it")
    refused = ds2.ask("POST", transition, production, "good enough")
    assert refused.status_code == 403
    assert "contributor of project 'cooling'" in refused.text
    share(ds1, "operator")
    ds2.done("POST", transition, production, "good enough")
    ds2.done("POST", transition, {**move, "stage": "None"}, "not after all")
    ds1.done("DELETE", f"{OURS}/projects/cooling/members/ds2")
    assert ds2.ask("POST", transition, staging, "again").status_code in (403, 404)
    assert ds2.models() == {OPEN}


def test_mlflow_permissions_hold_for_what_is_in_no_project(ds1: Person, ds2: Person) -> None:
    described = {"name": OPEN, "description": "a word"}
    assert ds2.ask("PATCH", f"{MLFLOW}/registered-models/update", described).status_code == 403
    ds1.done("PATCH", f"{MLFLOW}/registered-models/update", described)
    stolen = {"model": OPEN}
    ds2.done("POST", f"{OURS}/projects", {"name": "elsewhere"})
    assert ds2.ask("POST", f"{OURS}/projects/elsewhere/models", stolen).status_code == 404
    ds2.done("DELETE", f"{OURS}/projects/elsewhere")


def test_nobody_forges_what_runs(ds1: Person, server: Server) -> None:
    tag = {"name": SECRET, "version": "1", "key": "hydraulic.prod.state", "value": "healthy"}
    refused = ds1.ask("POST", f"{MLFLOW}/model-versions/set-tag", tag)
    assert refused.status_code == 403
    assert "told by the controller" in refused.text
    Person(server, "").done("POST", f"{MLFLOW}/model-versions/set-tag", tag)


def test_a_version_of_a_hidden_one_is_not_made(ds2: Person) -> None:
    ds2.done("POST", f"{MLFLOW}/registered-models/create", {"name": "mine-of-ds2"})
    copied = {"name": "mine-of-ds2", "source": f"models:/{SECRET}/1"}
    assert ds2.ask("POST", f"{MLFLOW}/model-versions/create", copied).status_code == 403
    assert "mine-of-ds2" not in ds2.versions()


def test_a_logged_model_does_not_name_the_hidden_ones_made_of_it(ds1: Person, ds2: Person) -> None:
    """MLflow lists them in a tag of the logged model, which whoever may read the experiment sees."""
    experiment = ds1.done("POST", f"{MLFLOW}/experiments/create", {"name": "logged"})["experiment_id"]
    made = ds1.done("POST", f"{MLFLOW}/logged-models", {"experiment_id": experiment, "name": "logged"})
    logged = made["model"]["info"]["model_id"]
    for model in (SECRET, OPEN):
        version = {"name": model, "source": f"models:/{logged}", "model_id": logged}
        ds1.done("POST", f"{MLFLOW}/model-versions/create", version)
    for person, told_of in ((ds1, {SECRET, OPEN}), (ds2, {OPEN})):
        one = person.done("GET", f"{MLFLOW}/logged-models/{logged}")
        found = person.done("POST", f"{MLFLOW}/logged-models/search", {"experiment_ids": [experiment]})
        for said in (one["model"], found["models"][0]):
            tags = {tag["key"]: tag["value"] for tag in said["info"]["tags"]}
            assert {version["name"] for version in json.loads(tags["mlflow.modelVersions"])} == told_of, person.name


def test_who_gets_the_name_of_a_deleted_user_gets_nothing_else(ds1: Person, server: Server) -> None:
    admin, users, member = Person(server, ""), "/api/2.0/mlflow/users", {"username": "ds9"}
    for seen in (True, False):
        admin.done("POST", f"{users}/create", {**member, "password": "a password of ds9"})
        if seen:
            ds1.done("POST", f"{OURS}/projects/cooling/members", {"user": "ds9", "role": "owner"})
        login = ("ds9", "a password of ds9")
        answer = requests.get(f"{server.uri}{OURS}/projects/cooling", auth=login, timeout=60)
        assert answer.status_code == (200 if seen else 404)
        admin.done("DELETE", f"{users}/delete", member)
    rows = ds1.done("GET", f"{OURS}/projects/cooling/events", {"verb": "member"})["events"]
    assert (rows[0]["actor"], rows[0]["before"]["user"], rows[0]["after"]) == ("admin", "ds9", None)
