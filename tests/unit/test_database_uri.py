"""What is said of a database's URI: never its password, whatever shape it has; and when two name one database."""

from __future__ import annotations

import pytest

from mlflow_hydraulic.cli.rollback import require_gate
from mlflow_hydraulic.cli.world import evidence_uri
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.settings import Settings

SECRET = [
    "postgresql://mlflow:p4ss:w0rd@db/mlflow",
    "postgresql://mlflow:p4ss@w0rd@db/mlflow",
    "postgresql://mlflow:p4@ss:w0rd@db/mlflow",
    "postgresql://mlflow:p4ss/w0rd@db/mlflow",
    "postgresql://mlflow:p4@ss/w0rd@db/mlflow",
    "postgresql://mlflow:p4ssw0rd",
    "postgresql://db/mlflow?user=mlflow&password=p4ssw0rd",
    "hydraulic+postgresql+psycopg2://mlflow:p4ssw0rd@db/mlflow",
    "nonsense+driver://mlflow:p4ssw0rd@db/mlflow",
    "mlflow:p4ssw0rd@db/mlflow",
    "https://mlflow:p4ssw0rd@host/path",
    "https://p4ssw0rd@host:5000",
    "http://mlflow:p4ss@w0rd@[host/path",
]


@pytest.mark.parametrize("uri", SECRET)
def test_no_password_is_told(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    said = [database.safe_uri(uri)]
    for act in (lambda: require_gate(uri), lambda: evidence_uri(Settings()), lambda: database.open_database(uri)):
        try:
            act()
        except BadInput as error:
            said.append(str(error))
    assert not [words for words in said if "p4" in words or "w0rd" in words]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://mlflow:secret@db:5433/mlflow", "postgresql://mlflow:***@db:5433/mlflow"),
        ("hydraulic+sqlite:////var/a@b@c/mlflow.db", "sqlite:////var/a@b@c/mlflow.db"),
        ("https://me:pw@host:5000/ml?x=1", "https://host:5000/ml?x=1"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("./mlruns", "./mlruns"),
        ("databricks", "databricks"),
        ("file:///tmp/mlruns", "file:///tmp/mlruns"),
    ],
)
def test_what_is_no_secret_is_told(uri: str, shown: str) -> None:
    assert database.safe_uri(uri) == shown


def test_a_uri_that_cannot_be_parsed_is_one_clear_error() -> None:
    with pytest.raises(BadInput, match="write @ as %40"):
        database.open_database("postgresql://mlflow:p@ss:word@db/mlflow")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("hydraulic+sqlite:///a/../mlflow.db", "sqlite:///mlflow.db", True),
        ("sqlite:///mlflow.db", "sqlite:///file:mlflow.db?mode=ro&uri=true", True),
        ("sqlite:///mlflow.db", "sqlite:///other.db", False),
        ("sqlite:///mlflow.db", "postgresql://db/mlflow", False),
        ("postgresql://me:one@db/mlflow", "postgresql+psycopg://you:two@DB:5432/mlflow?sslmode=require", True),
        ("postgresql://db/mlflow", "postgresql://db:5433/mlflow", False),
        ("postgresql://db/mlflow", "postgresql://other/mlflow", False),
        ("postgresql://db/mlflow", "postgresql://db/ledger", False),
        ("postgresql:///mlflow?host=/run/pg", "postgresql:///mlflow?host=/run/other", False),
        ("mysql+pymysql://db/mlflow", "mysql://db:3306/mlflow", True),
    ],
)
def test_two_uris_of_one_database(one: str, other: str, same: bool) -> None:
    assert database.same_database(one, other) is database.same_database(other, one) is same


def test_a_ledger_elsewhere_than_the_registrys_is_refused() -> None:
    database.require_same("sqlite:///mlflow.db", "")
    database.require_same("sqlite:///mlflow.db", "hydraulic+sqlite:///mlflow.db")
    with pytest.raises(BadInput, match="HYDRAULIC_DATABASE is sqlite:///ledger") as refused:
        database.require_same("postgresql://me:p4ssw0rd@db/mlflow", "sqlite:///ledger.db")
    assert "p4ss" not in str(refused.value)
