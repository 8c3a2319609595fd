"""The evidence database, on SQLite and on a real PostgreSQL: schema, ledger, lease, memory of failures."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, String, text

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Failed, NotFound, Unavailable
from mlflow_hydraulic.evidence import attempts, database, lease, ledger
from mlflow_hydraulic.evidence.ledger import Event
from mlflow_hydraulic.evidence.recorded import tag_subject
from mlflow_hydraulic.evidence.tables import metadata


def event(n: int, **more: str) -> Event:
    return Event(verb="stage", subject=f"models:/m/{n}", actor="ds1", model="m", before="None", after="Staging", **more)


def fill(engine: Engine, count: int) -> None:
    with engine.begin() as connection:
        ledger.append(connection, [event(n) for n in range(count)])


def verification(engine: Engine, **anchor: object) -> ledger.Verification:
    with engine.connect() as connection:
        return ledger.verify(connection, anchor=anchor or None)


def tamper(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        assert connection.execute(text(sql)).rowcount >= 1


def test_the_migrations_make_what_the_tables_say(evidence: Engine) -> None:
    with evidence.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": database.VERSION_TABLE, "compare_type": True, "include_name": ours}
        )
        assert compare_metadata(context, metadata) == []


def ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name in metadata.tables


def test_an_upgrade_twice_is_one_upgrade(evidence: Engine) -> None:
    fill(evidence, 2)
    assert database.upgrade(evidence) == database.check(evidence) == database.newest()
    assert verification(evidence).rows == 2


def test_rows_of_an_older_schema_survive_the_upgrade(
    evidence: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(evidence, 3)
    was = database.newest()
    migrations = shutil.copytree(database.MIGRATIONS, tmp_path / "migrations")
    (migrations / "versions" / "next.py").write_text(
        f"from alembic import op\nrevision, down_revision = 'next', '{was}'\n"
        "def upgrade(): op.create_index('ix_next', 'hydraulic_lease', ['holder'])\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", migrations)
    with pytest.raises(Failed, match=f"evidence schema is {was}, this package needs next"):
        database.check(evidence)
    assert database.upgrade(evidence) == database.check(evidence) == "next"
    assert (verification(evidence).rows, verification(evidence).holds) == (3, True)


def test_a_ledger_of_the_first_schema_is_upgraded(database_uri: str) -> None:
    engine = database.open_database(database_uri)
    with engine.begin() as connection:
        connection.execute(text("create table registered_models (name varchar(9) primary key)"))
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(database.MIGRATIONS))
        command.upgrade(config, "0001")
    fill(engine, 2)
    with pytest.raises(Failed, match="evidence schema is 0001"):
        database.check(engine)
    assert database.upgrade(engine) == database.newest()
    assert (verification(engine).rows, verification(engine).holds) == (2, True)


def test_the_longest_names_fit(evidence: Engine) -> None:
    model, environments = "m" * 256, ",".join(f"{n:02}" + "e" * 38 for n in range(20))
    subject = tag_subject(model, 2**31 - 1, "t" * 250)
    with evidence.begin() as connection:
        said = Event(verb="delete version", subject=subject, actor="a" * 255, model=model, environment=environments)
        ledger.append(connection, [replace(said, workspace="w" * 63)])
        wanted, now = attempts.fitting("w" * 9999), utc_now()
        failed = attempts.failed(None, key=("e" * 40, model), wanted=wanted, error=Failed("broken"), now=now)
        attempts.remember(connection, "w" * 63, failed)
        assert attempts.known(connection, "w" * 63) == {("e" * 40, model): failed}
    assert lease.take(
        evidence, name=f"{lease.CONTROLLER_LEASE}:{'w' * 63}", holder="h" * 256, now=utc_now(), length=timedelta(1)
    )
    assert verification(evidence).holds


def test_every_index_fits_into_mysqls_limit() -> None:
    for table in metadata.tables.values():
        for columns in (table.primary_key.columns, *(index.columns for index in table.indexes)):
            sizes = [4 * (column.type.length or 0) if isinstance(column.type, String) else 8 for column in columns]
            assert sum(sizes) <= 3072, table.name


def test_no_table_is_made_before_mlflow_made_its_own(database_uri: str) -> None:
    engine = database.open_database(database_uri)
    with pytest.raises(NotFound, match='start "mlflow server" on it once'):
        database.upgrade(engine)
    assert sqlalchemy.inspect(engine).get_table_names() == []


def test_a_missing_schema_is_named_with_the_way_out(database_uri: str) -> None:
    with pytest.raises(Failed, match='run "hydraulic db upgrade"'):
        database.check(database.open_database(database_uri))


def test_a_newer_schema_is_refused_and_left_alone(evidence: Engine) -> None:
    tamper(evidence, f"update {database.VERSION_TABLE} set version_num = '9999'")
    for act in (database.check, database.upgrade, database.ready):
        with pytest.raises(Failed, match="9999 is newer than this package"):
            act(evidence)


def test_a_database_that_is_away_is_worth_a_retry_and_its_password_is_not_told() -> None:
    engine = database.open_database("postgresql+psycopg2://me:secret@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught:
        database.check(engine)
    assert "secret" not in str(caught.value)


def test_rows_follow_each_other_and_read_back(evidence: Engine) -> None:
    fill(evidence, 5)
    with evidence.connect() as connection:
        rows = list(ledger.rows(connection))
        assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
        assert [row.seq for row in ledger.rows(connection, after=3)] == [4, 5]
        assert list(ledger.rows(connection, model="other")) == []
    assert rows[0].prev == ledger.GENESIS
    assert all(later.prev == earlier.hash for earlier, later in pairwise(rows))
    assert verification(evidence).holds


def test_rows_are_read_and_written_in_one_transaction(evidence: Engine) -> None:
    with evidence.begin() as connection:
        ledger.append(connection, [event(0)])
        assert [row.seq for row in ledger.rows(connection)] == [1]
        ledger.append(connection, [event(1)])
        assert [row.seq for row in ledger.rows(connection)] == [1, 2]


def test_a_row_stands_or_falls_with_its_transaction(evidence: Engine) -> None:
    fill(evidence, 1)
    with pytest.raises(RuntimeError), evidence.begin() as connection:
        ledger.append(connection, [event(7)])
        raise RuntimeError
    assert verification(evidence).rows == 1
    assert verification(evidence).holds


@pytest.mark.parametrize(
    ("sql", "seq", "problem"),
    [
        ("update hydraulic_ledger set reason = 'x' where seq = 3", 3, "content was changed"),
        ("update hydraulic_ledger set actor = 'ds2' where seq = 1", 1, "content was changed"),
        ("update hydraulic_ledger set hash = 'x' where seq = 2", 3, "does not follow"),
        ("delete from hydraulic_ledger where seq = 2", 3, "row 2 is missing"),
        ("delete from hydraulic_ledger where seq = 1", 2, "row 1 is missing"),
        ("delete from hydraulic_ledger where seq = 5", 5, "rows were dropped"),
        ("delete from hydraulic_ledger_head", 6, "rows were dropped"),
        ("update hydraulic_ledger set seq = 9 where seq = 5", 9, "row 5 is missing"),
        ("update hydraulic_ledger set seq = 0 where seq = 2", 0, "row 1 is missing"),
        ("update hydraulic_ledger set seq = -7 where seq = 2", -7, "row 1 is missing"),
    ],
)
def test_what_was_tampered_with_is_named(evidence: Engine, sql: str, seq: int, problem: str) -> None:
    fill(evidence, 5)
    tamper(evidence, sql)
    faults = verification(evidence).faults
    assert any(fault.seq == seq and problem in fault.problem for fault in faults), faults


def test_two_rows_that_change_places_are_named(evidence: Engine) -> None:
    fill(evidence, 4)
    for sql in ("seq = 99 where seq = 2", "seq = 2 where seq = 3", "seq = 3 where seq = 99"):
        tamper(evidence, f"update hydraulic_ledger set {sql}")
    assert {fault.seq for fault in verification(evidence).faults} >= {2, 3}


def test_an_anchor_outside_finds_a_chain_that_was_rewritten_whole(evidence: Engine) -> None:
    fill(evidence, 3)
    anchor = {"seq": 3, "hash": verification(evidence).head}
    assert verification(evidence, **anchor).holds
    tamper(evidence, "delete from hydraulic_ledger")
    tamper(evidence, f"update hydraulic_ledger_head set seq = 0, hash = '{ledger.GENESIS}'")
    fill(evidence, 2)
    assert verification(evidence).holds
    assert "anchored row 3 is not there" in verification(evidence, **anchor).faults[-1].problem
    fill(evidence, 1)
    assert "not the anchored one" in verification(evidence, **anchor).faults[0].problem


def test_hostile_text_survives_as_it_is(evidence: Engine) -> None:
    reason = "'; drop table hydraulic_ledger; -- \u202e <script> \\ \n\t é 🙂"
    with evidence.begin() as connection:
        ledger.append(connection, [event(1, reason=reason)])
    with evidence.connect() as connection:
        assert next(iter(ledger.rows(connection))).reason == reason
    assert verification(evidence).holds


def test_eight_writers_lose_nothing(evidence: Engine) -> None:
    def write(_: int) -> None:
        for n in range(25):
            with evidence.begin() as connection:
                ledger.append(connection, [event(n), event(n + 1)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = verification(evidence)
    assert (found.rows, found.faults) == (400, ())


def test_a_chain_is_read_while_it_grows(evidence: Engine) -> None:
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            fill(evidence, 3)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            seen = [verification(evidence)]
            deadline = time.monotonic() + 60
            while len(seen) < 20 or (seen[-1].rows == seen[0].rows and time.monotonic() < deadline):
                seen.append(verification(evidence))
        finally:
            ended.set()
        writer.result()
    assert {found.faults for found in seen} == {()}
    assert seen[-1].rows > seen[0].rows


def test_a_writer_killed_in_the_middle_leaves_a_whole_chain(evidence: Engine, database_uri: str) -> None:
    fill(evidence, 1)
    script = (
        "import os, sys; from mlflow_hydraulic.evidence import database, ledger\n"
        "from mlflow_hydraulic.evidence.ledger import Event\n"
        "connection = database.open_database(sys.argv[1]).connect()\n"
        "ledger.append(connection, [Event(verb='v', subject='s', actor='a')])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, database_uri], check=False, timeout=60)
    assert killed.returncode == -9
    fill(evidence, 1)
    assert (verification(evidence).rows, verification(evidence).holds) == (2, True)


def test_of_two_controllers_one_holds_the_lease(evidence: Engine) -> None:
    now, length = utc_now(), timedelta(seconds=10)

    def take(holder: str, seconds: float = 0) -> lease.Lease | None:
        return lease.take(evidence, name="c", holder=holder, now=now + timedelta(seconds=seconds), length=length)

    first = take("a")
    assert first is not None
    assert take("b") is None
    renewed = take("a", 5)
    assert renewed is not None
    assert renewed.term == first.term
    assert take("b", 14) is None
    stolen = take("b", 15.1)
    assert stolen is not None
    assert stolen.term == first.term + 1
    assert take("a", 15.2) is None
    lease.give_back(evidence, name="c", holder="b")
    assert lease.current(evidence, name="c") is None
    again = take("a", 15.3)
    assert again is not None
    assert again.term == 3


def test_many_controllers_at_once_and_one_wins(evidence: Engine) -> None:
    now = utc_now()

    def take(n: int) -> bool:
        return bool(lease.take(evidence, name="c", holder=f"h{n}", now=now, length=timedelta(seconds=9)))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(16))) == 1


def test_failures_are_remembered_until_something_else_is_wanted(evidence: Engine) -> None:
    now, key = utc_now(), ("prod", "m")
    first = attempts.failed(None, key=key, wanted="update v1", error=Unavailable("away"), now=now)
    with evidence.begin() as connection:
        attempts.remember(connection, "default", first)
        attempts.remember(connection, "default", first)
        known = attempts.known(connection)[key]
    assert known == first
    assert known.bars("update v1", now)
    assert not known.bars("update v1", now + timedelta(seconds=3))
    assert not known.bars("update v2", now)
    second = attempts.failed(known, key=key, wanted="update v1", error=Failed("broken"), now=now)
    assert second.failures == 2
    assert second.bars("update v1", now + timedelta(days=9))
    with evidence.begin() as connection:
        attempts.forget(connection, "default", *key)
        assert attempts.known(connection) == {}


def test_backing_off_has_a_ceiling() -> None:
    now, key = utc_now(), ("prod", "m")
    attempt = None
    for _ in range(40):
        attempt = attempts.failed(attempt, key=key, wanted="w", error=Unavailable("away"), now=now)
    assert attempt is not None
    assert attempt.not_before - now <= timedelta(seconds=attempts.LONGEST_WAIT_S * 1.2)
