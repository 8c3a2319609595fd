"""`mlflow server --app-name hydraulic` as its users meet it: REST, MLflow's client and command line, real processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
import requests
import sqlalchemy
from mlflow.exceptions import RestException

from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.plugin.caller import REASON_HEADER, why
from tests import services
from tests.servers import QUIET, Server, mlflow_server

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*model.registry.stages:FutureWarning")]
POLICY = """
[policy]
protected_aliases = ["golden"]
protected_by = ["role:operator"]
[policy.prod]
allow = ["role:operator"]
reason_required = true
[roles]
operator = ["ds1"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With basic-auth, a policy, two workers and a static prefix."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "hydraulic.toml").write_text(POLICY, encoding="utf-8")
    with mlflow_server(folder, auth=True, workers=2, prefix="/ml") as server:
        yield server


def call(
    server: Server, verb: str, path: str, body: Mapping[str, object], *, user: str = "", reason: str = ""
) -> requests.Response:
    return requests.request(
        verb,
        f"{server.uri}{server.prefix}/api/2.0/mlflow/{path}",
        json=dict(body),
        auth=server.login(user) if server.auth else None,
        headers={REASON_HEADER: quote(reason)} if reason else {},
        timeout=60,
    )


def move(server: Server, name: str, stage: str, *, user: str = "", reason: str = "") -> requests.Response:
    body = {"name": name, "version": "1", "stage": stage, "archive_existing_versions": False}
    return call(server, "POST", "model-versions/transition-stage", body, user=user, reason=reason)


def register(server: Server, name: str) -> None:
    assert call(server, "POST", "registered-models/create", {"name": name}).status_code == 200
    assert call(server, "POST", "model-versions/create", {"name": name, "source": "s3://models/m"}).ok


def rows(backend: str, model: str = "") -> list[ledger.Row]:
    engine = sqlalchemy.create_engine(backend)
    with engine.connect() as connection:
        assert ledger.verify(connection).holds
        found = list(ledger.rows(connection, model=model or None))
    engine.dispose()
    return found


def as_user(server: Server, user: str, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    for name, value in server.environment(user).items():
        monkeypatch.setenv(name, value)
    return mlflow.MlflowClient(server.uri + server.prefix, server.uri + server.prefix)


def command(server_folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=server_folder,
        env={**kept, **QUIET, **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_moves_over_rest_bear_the_user_and_the_reason(guarded: Server) -> None:
    register(guarded, "rest")
    assert move(guarded, "rest", "Staging", user="ds2").status_code == 200
    assert move(guarded, "rest", "Production", user="ds1", reason="beats it 3:1, très bien").status_code == 200
    said = [(row.actor, row.verb, row.before, row.after, row.reason) for row in rows(guarded.backend, "rest")]
    assert said == [
        ("ds2", "stage", '"None"', '"Staging"', ""),
        ("ds1", "stage", '"Staging"', '"Production"', "beats it 3:1, très bien"),
    ]


def test_the_permission_of_mlflow_is_not_enough_where_the_policy_says_otherwise(guarded: Server) -> None:
    register(guarded, "refused")
    refused = move(guarded, "refused", "Production", user="ds2")
    assert refused.status_code == 403
    assert refused.json()["error_code"] == "PERMISSION_DENIED"
    assert "'ds2'" in refused.json()["message"]
    assert "asks for a reason" in refused.json()["message"]
    found = call(guarded, "GET", "model-versions/get", {"name": "refused", "version": "1"}).json()
    assert found["model_version"]["current_stage"] == "None"
    (row,) = rows(guarded.backend, "refused")
    assert (row.actor, row.verb, row.environment) == ("ds2", "refused", "prod")
    assert json.loads(row.after)["asked"] == "Production"
    assert len(json.loads(row.after)["refused"]) == 2


def test_mlflows_client_sends_the_reason_and_gets_the_refusal(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(guarded, "client")
    client = as_user(guarded, "ds1", monkeypatch)
    with pytest.raises(RestException, match="PROD asks for a reason") as refused:
        client.transition_model_version_stage("client", "1", "Production")
    assert refused.value.get_http_status_code() == 403
    with why("ein Grund ✓\nin two lines"):
        client.transition_model_version_stage("client", "1", "Production")
    assert client.get_model_version("client", "1").current_stage == "Production"
    assert rows(guarded.backend, "client")[-1].reason == "ein Grund ✓\nin two lines"
    with why("🙂" * 5000):
        client.transition_model_version_stage("client", "1", "Archived")
    assert set(rows(guarded.backend, "client")[-1].reason) == {"🙂"}


def test_a_protected_alias_moves_by_its_protectors_only(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(guarded, "alias")
    with pytest.raises(RestException, match="protected alias 'golden'"):
        as_user(guarded, "ds2", monkeypatch).set_registered_model_alias("alias", "golden", "1")
    as_user(guarded, "ds1", monkeypatch).set_registered_model_alias("alias", "golden", "1")
    with pytest.raises(RestException, match="protected alias 'golden'"):
        as_user(guarded, "ds2", monkeypatch).delete_model_version("alias", "1")
    assert [(row.actor, row.verb) for row in rows(guarded.backend, "alias")] == [
        ("ds2", "refused"),
        ("ds1", "alias"),
        ("ds2", "refused"),
    ]


@pytest.mark.parametrize(("user", "reason"), [("ds1", "good"), ("ds1", ""), ("ds2", "good"), ("ds2", "")])
def test_explain_says_what_the_server_does(guarded: Server, user: str, reason: str) -> None:
    name = f"explained-{user}-{reason or 'none'}"
    register(guarded, name)
    for stage in ("Staging", "Production"):
        asked = ("policy", "explain", name, "1", "--to", stage, "--as", user, "--reason", reason, "--json")
        told = command(guarded.folder, "mlflow_hydraulic.cli", *asked, **guarded.environment())
        done = move(guarded, name, stage, user=user, reason=reason)
        assert (told.returncode == 0) == (done.status_code == 200), (told, done.text)
        assert told.returncode in (0, 6), told.stderr
        if done.status_code != 200:
            assert all(why_not in done.json()["message"] for why_not in json.loads(told.stdout)["reasons"])


def test_moves_through_all_workers_at_once_leave_a_whole_chain(guarded: Server) -> None:
    for n in range(4):
        register(guarded, f"busy{n}")

    def back_and_forth(n: int) -> list[int]:
        stages = ("Staging", "Archived", "Staging", "None", "Staging", "Archived")
        return [move(guarded, f"busy{n % 4}", stage, user="ds2").status_code for stage in stages]

    with ThreadPoolExecutor(8) as pool:
        assert {code for codes in pool.map(back_and_forth, range(8)) for code in codes} == {200}
    for n in range(4):
        was = '"None"'
        for row in rows(guarded.backend, f"busy{n}"):
            assert row.before == was
            was = row.after


def test_without_auth_it_serves_and_the_actor_is_anonymous(tmp_path: Path) -> None:
    with mlflow_server(tmp_path, gunicorn=True, workers=2) as server:
        register(server, "m")
        assert move(server, "m", "Production").status_code == 403
        assert move(server, "m", "Production", reason="because").status_code == 200
        assert requests.get(server.uri, timeout=30).text.count(REASON_HEADER) >= 1
        assert [(row.actor, row.verb) for row in rows(server.backend)] == [
            ("anonymous", "refused"),
            ("anonymous", "stage"),
        ]


def test_a_workspace_in_use_is_not_deleted_past_the_gate(tmp_path: Path) -> None:
    with mlflow_server(tmp_path, options=["--enable-workspaces"]) as server:
        there = f"{server.uri}/api/3.0/mlflow/workspaces"
        assert requests.post(there, json={"name": "team"}, timeout=30).ok
        for path, body in (
            ("registered-models/create", {"name": "m"}),
            ("model-versions/create", {"name": "m", "source": "s3://models/m"}),
            ("registered-models/alias", {"name": "m", "alias": "champion", "version": "1"}),
        ):
            made = requests.post(
                f"{server.uri}/api/2.0/mlflow/{path}", json=body, headers={"X-MLFLOW-WORKSPACE": "team"}, timeout=30
            )
            assert made.ok, made.text
        for mode in ("CASCADE", "SET_DEFAULT"):
            refused = requests.delete(f"{there}/team", params={"mode": mode}, timeout=30)
            assert refused.status_code == 403, refused.text
            assert "holds models that are in use ('m')" in refused.json()["message"]


def test_a_database_goes_from_plain_to_ours_and_back_and_mlflow_upgrades_it_still(tmp_path: Path) -> None:
    with mlflow_server(tmp_path, app=None) as server:
        register(server, "m")
        assert move(server, "m", "Production").status_code == 200
    with mlflow_server(tmp_path) as server:
        assert move(server, "m", "Archived").status_code == 403
        assert move(server, "m", "Archived", reason="old").status_code == 200
    upgraded = command(tmp_path, "mlflow", "db", "upgrade", server.backend)
    assert upgraded.returncode == 0, upgraded.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert {"alembic_version", "alembic_version_hydraulic", "hydraulic_ledger"} <= tables
    with mlflow_server(tmp_path, app=None) as server:
        assert move(server, "m", "Production").status_code == 200
    assert [row.after for row in rows(server.backend) if row.verb == "stage"] == ['"Archived"']
    with mlflow_server(tmp_path) as server:
        assert move(server, "m", "Archived").status_code == 403


def test_on_postgresql_and_with_mlflows_own_app_and_our_scheme(tmp_path: Path) -> None:
    with services.postgres() as uri:
        with mlflow_server(tmp_path, backend=uri.replace("+psycopg2", "")) as server:
            register(server, "m")
            assert move(server, "m", "Production").status_code == 403
            assert move(server, "m", "Production", reason="because").status_code == 200
        with mlflow_server(
            tmp_path, app=None, backend=uri, options=["--registry-store-uri", f"hydraulic+{uri}"]
        ) as server:
            assert move(server, "m", "Archived").status_code == 403
        assert [row.verb for row in rows(uri)] == ["refused", "stage", "refused"]


def refuses_to_start(folder: Path, *options: str, **env: str) -> str:
    """What the command says when it ends by itself; it does so before any worker is started."""
    done = command(
        folder, "mlflow", "server", "--app-name", "hydraulic", "--port", str(services.free_port()), *options, **env
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert "Uvicorn running" not in done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error: ")][-1]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's with our tables."""
    folder = tmp_path_factory.mktemp("used")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    script = "import sys; from mlflow_hydraulic.plugin.watched_store import make_store; make_store(sys.argv[1])"
    made = subprocess.run([sys.executable, "-c", script, uri], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


def test_a_newer_schema_is_refused_once(used: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes((used / "mlflow.db").read_bytes())
    with sqlite3.connect(copy) as connection:
        connection.execute("update alembic_version_hydraulic set version_num = '9999'")
    said = refuses_to_start(tmp_path, "--backend-store-uri", f"sqlite:///{copy}")
    assert "evidence schema 9999 is newer than this package" in said


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"MLFLOW_AUTH_ADMIN_PASSWORD": "a long password"}, "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        ({"MLFLOW_FLASK_SERVER_SECRET_KEY": "key"}, "MLFLOW_AUTH_ADMIN_PASSWORD"),
        ({"HYDRAULIC_AUTH": "perhaps"}, "HYDRAULIC_AUTH='perhaps'"),
    ],
)
def test_half_an_auth_is_refused_once(used: Path, env: dict[str, str], message: str) -> None:
    assert message in refuses_to_start(used, "--backend-store-uri", f"sqlite:///{used / 'mlflow.db'}", **env)


def test_a_ledger_in_another_database_is_refused_once(used: Path) -> None:
    elsewhere = {"HYDRAULIC_DATABASE": "postgresql://me:p4ss@db/ledger"}
    said = refuses_to_start(used, "--backend-store-uri", f"sqlite:///{used / 'mlflow.db'}", **elsewhere)
    assert "HYDRAULIC_DATABASE is postgresql://me:***@db/ledger" in said


def test_a_wrong_configuration_is_refused_once(used: Path, tmp_path: Path) -> None:
    (tmp_path / "hydraulic.toml").write_text("[policy.prod]\nallow = 3\n", encoding="utf-8")
    said = refuses_to_start(tmp_path, "--backend-store-uri", f"sqlite:///{used / 'mlflow.db'}")
    assert "policy.prod.allow=3: must be a list" in said


def test_a_registry_in_files_is_refused_once(tmp_path: Path) -> None:
    said = refuses_to_start(tmp_path, "--backend-store-uri", str(tmp_path / "mlruns"), MLFLOW_ALLOW_FILE_STORE="true")
    assert "cannot be watched" in said
