"""Making the evidence tables: by many at once, killed in the middle, and read where nothing may be written."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy import Engine, text

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.evidence.ledger import Event
from mlflow_hydraulic.evidence.tables import metadata

START = (
    "import sys; from mlflow_hydraulic.evidence import database\n"
    "import alembic.command, logging.config\n"
    "print('ready', flush=True); sys.stdin.readline()\n"
    "engine = database.open_database(sys.argv[1]); database.ready(engine)\n"
)
DIE = (
    "import os, sys; from sqlalchemy import event\n"
    "from mlflow_hydraulic.evidence import database\n"
    "engine = database.open_database(sys.argv[1])\n"
    "@event.listens_for(engine, 'after_cursor_execute')\n"
    "def die(connection, cursor, statement, *rest):\n"
    "    if 'CREATE TABLE ' + sys.argv[2] in statement: os.kill(os.getpid(), 9)\n"
    "database.upgrade(engine)\n"
)


@pytest.fixture
def plain(database_uri: str) -> Iterator[Engine]:
    """A database with a table that stands for MLflow's, and none of ours; in SQLite without WAL, as MLflow makes it."""
    engine = sqlalchemy.create_engine(database_uri)
    with engine.begin() as connection:
        connection.execute(text("create table registered_models (name varchar(9) primary key)"))
    yield engine
    engine.dispose()


def test_six_processes_that_start_at_once_make_one_schema(plain: Engine, database_uri: str) -> None:
    command = [sys.executable, "-c", START, database_uri]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen(command, text=True, **pipes) for _ in range(6)]  # type: ignore[call-overload]
    for one in started:
        assert one.stdout.readline() == "ready\n"
    for one in started:
        one.stdin.write("go\n")
        one.stdin.flush()
    ended = [(one.communicate(timeout=120)[1], one.returncode) for one in started]
    assert ended == [("", 0)] * 6
    assert database.check(plain) == database.newest()
    with plain.begin() as connection:
        ledger.append(connection, [Event(verb="v", subject="s", actor="a")])
        assert ledger.verify(connection).holds


@pytest.mark.parametrize("table", ["hydraulic_lease", "hydraulic_members", "hydraulic_ended_sessions"])
def test_an_upgrade_killed_in_the_middle_is_repeated(plain: Engine, database_uri: str, table: str) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE, database_uri, table], check=False, timeout=60)
    assert killed.returncode == -9
    database.ready(plain)
    assert database.check(plain) == database.newest()
    assert set(metadata.tables) <= set(sqlalchemy.inspect(plain).get_table_names())
    with plain.begin() as connection:
        ledger.append(connection, [Event(verb="v", subject="s", actor="a")])
        assert ledger.verify(connection).holds


@pytest.mark.parametrize("database_uri", ["mysql"], indirect=True)  # elsewhere it is done as a whole, or not at all
def test_a_half_done_upgrade_of_a_ledger_in_use_is_for_people_to_end(plain: Engine, database_uri: str) -> None:
    subprocess.run([sys.executable, "-c", DIE, database_uri, "hydraulic_members"], check=False, timeout=60)
    with plain.begin() as connection:
        ledger.append(connection, [Event(verb="v", subject="s", actor="a")])
    with pytest.raises(Failed, match="hydraulic db upgrade"):
        database.ready(plain)
    assert database.upgrade(plain) == database.newest()
    with plain.connect() as connection:
        assert ledger.verify(connection).rows == 1


@pytest.mark.parametrize("lost", ["", "delete from hydraulic_ledger", "drop table hydraulic_ended_sessions"])
def test_a_ledger_whose_version_is_lost_is_left_alone(evidence: Engine, lost: str) -> None:
    """lost: what somebody lets go besides."""
    with evidence.begin() as connection:
        ledger.append(connection, [Event(verb="v", subject="s", actor="a")])
        connection.execute(text(f"drop table {database.VERSION_TABLE}"))
        if lost:
            connection.execute(text(lost))
        before = ledger.verify(connection)
    with pytest.raises(Failed, match=r"is there and in use.*restore that table"):
        database.ready(evidence)
    with evidence.connect() as connection:
        assert ledger.verify(connection) == before


def test_an_upgrade_leaves_the_connection_as_it_was(evidence: Engine) -> None:
    with pytest.raises(RuntimeError), evidence.begin() as connection:
        connection.execute(text("delete from hydraulic_ledger_head"))
        raise RuntimeError
    with evidence.connect() as connection:
        assert connection.execute(text("select count(*) from hydraulic_ledger_head")).scalar() == 1


def test_a_database_that_somebody_holds_is_away_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 50)
    file = tmp_path / "held.db"
    with sqlite3.connect(file) as holder:
        holder.execute("create table registered_models (name text)")
        holder.commit()
        holder.execute("begin immediate")
        with pytest.raises(Unavailable, match="in use"):
            database.upgrade(database.open_database(f"sqlite:///{file}"))
    holder.close()


@pytest.mark.parametrize(("mode", "how"), [("wal", "mode=ro"), ("delete", "mode=ro"), ("wal", "immutable=1")])
def test_an_auditor_verifies_a_ledger_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, how: str
) -> None:
    file = tmp_path / "mlflow.db"
    engine = database.open_database(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("create table registered_models (name varchar(9) primary key)"))
    database.upgrade(engine)
    with engine.begin() as connection:
        ledger.append(connection, [Event(verb="v", subject="s", actor="a")])
    engine.dispose()
    with sqlite3.connect(file) as plain:
        plain.execute(f"pragma journal_mode={mode}")
    plain.close()
    monkeypatch.setenv("HYDRAULIC_DATABASE", f"sqlite:///file:{file}?{how}&uri=true")
    verified = CliRunner().invoke(main, ["ledger", "verify"], prog_name="hydraulic")
    assert "1 rows, intact" in verified.stdout or "1 row, intact" in verified.stdout, (
        verified.output,
        verified.exception,
    )
