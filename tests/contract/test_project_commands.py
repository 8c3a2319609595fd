"""`hydraulic projects`, each command, on SQLite and a real PostgreSQL: what is shown, refused and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.evidence.words import told
from tests import services
from tests.support.house import make_engine


@pytest.fixture(params=["sqlite"])
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    """An empty registry with our tables, for ds1; on PostgreSQL, too, where a test asks for it."""
    engine = make_engine(tmp_path)
    if request.param == "postgresql":
        engine = database.open_database(services.new_database(request.getfixturevalue("postgres_server")))
        SqlAlchemyStore(engine.url.render_as_string(hide_password=False)).engine.dispose()
        database.upgrade(engine)
    uri = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("HYDRAULIC_DATABASE", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"hydraulic+{uri}")
    monkeypatch.setenv("LOGNAME", "ds1")
    monkeypatch.chdir(tmp_path)
    yield engine
    engine.dispose()


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["projects", *words], prog_name="hydraulic")
    assert result.exit_code == code, (result.output, result.exception)
    return result


def said(*words: str) -> Any:
    return json.loads(call(*words, "--json").stdout)


def story(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [told(row) for row in ledger.rows(connection)]


@pytest.mark.parametrize("there", ["sqlite", "postgresql"], indirect=True)
def test_a_project_from_its_making_to_its_end(there: Engine) -> None:
    assert "there is no project" in call("list").stdout
    call("add", " cooling ", "--description", "the rig's cooler")
    call("share", "cooling", "ds2", "--role", "operator", "--reason", "she is on call")
    assert call("list").stdout.splitlines()[1].split()[:6] == ["cooling", "ds1", "0", "none", "none", "2"]
    assert [one["name"] for one in said("list", "RIG")] == ["cooling"]
    assert said("list", "pump") == []
    assert {one["user"]: one["role"] for one in said("show", "cooling")["members"]} == {
        "ds1": "owner",
        "ds2": "operator",
    }
    assert "ds2     operator" in call("show", "cooling").stdout
    call("restrict", "cooling", "ds2", "--role", "owner")
    call("leave", "cooling")
    call("delete", "cooling", "--reason", "merged")
    assert story(there) == [
        "ds1 made project cooling",
        "ds1 shared project cooling with ds2 as operator: she is on call",
        "ds1 made ds2 owner of project cooling (was operator)",
        "ds1 left project cooling (was owner)",
        "ds1 removed project cooling: merged",
    ]


def test_what_cannot_be_has_its_exit_code(there: Engine) -> None:
    call("add", "a/b", code=2)
    call("add", "cooling", "--owner", "ds2")
    call("add", "COOLING", code=5)
    call("share", "cooling", "ds2", code=5)
    call("restrict", "cooling", "ds2", "--role", "reader", code=5)
    call("remove", "cooling", "ds2", code=5)
    call("leave", "cooling", code=4)
    call("remove", "cooling", "nobody", code=4)
    call("share", "cooling", "ds3", "--role", "king", code=2)
    call("show", "nothing", code=4)
    call("delete", "nothing", "--reason", "x", code=4)
    call("delete", "cooling", code=2)
    call("join", "cooler", "nothing", code=4)
    call("join", "cooler", "--out", code=4)
    call("join", "cooler", code=2)
    assert story(there) == ["ds1 made project cooling"]


def test_models_join_and_leave(there: Engine) -> None:
    from mlflow import MlflowClient

    MlflowClient().create_registered_model("cooler")
    call("add", "cooling")
    call("join", "cooler", "cooling", "--reason", "they belong together")
    assert said("show", "cooling")["models"] == ["cooler"]
    call("join", "cooler", "--out")
    assert said("show", "cooling")["models"] == []
    assert story(there)[1:] == [
        "ds1 brought model cooler into project cooling: they belong together",
        "ds1 took model cooler out of project cooling",
    ]
