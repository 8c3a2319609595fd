"""The tables of the file of true values, and how it is opened. Used by `store` only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from mlflow_hydraulic.errors import BadData, Failed, NotFound, Unavailable

FORMAT = 2  # PRAGMA user_version; 1 had no cursor of feedback
BUSY_MS = 30_000

# `latest` holds for each (id, row) the value that counts; `state`: 0 to be joined, 1 joined, 2 unfit for the
# prediction (no such row, or no number for a regression), 3 waits for a prediction that is not in the record yet.
SCHEMA = """
create table history (
    seq integer primary key autoincrement,
    id text not null, row integer not null, value text not null,  -- JSON
    at_ns integer not null, arrived_ns integer not null, source text not null
);
create index history_by_id on history (id, row);
create table latest (
    id text not null, row integer not null, value text not null, at_ns integer not null, first_ns integer not null,
    state integer not null,
    primary key (id, row)
) without rowid;
create index latest_to_join on latest (id, row) where state = 0;
create table subjects (
    subject integer primary key,
    target text not null, namespace text not null, deployment text not null, predictor text not null,
    model text not null, version text not null, digest text not null, schema text not null,
    unique (target, namespace, deployment, predictor, model, version, digest, schema)
);
create table labelled (
    subject integer not null references subjects, id text not null, row integer not null,
    at_ns integer not null, arrived_ns integer not null,
    truth real not null, predicted real not null, probabilities blob,
    primary key (subject, id, row)
) without rowid;
create index labelled_by_time on labelled (subject, at_ns);
create table cursor (
    one integer primary key check (one = 1), seq integer not null,
    feedback integer not null default 0  -- up to which the record's feedback was taken
);
insert into cursor (one, seq) values (1, 0);
"""


def connect(path: Path, *, make: bool) -> sqlite3.Connection:
    """The file of true values, made where `make` says so. `NotFound`, `BadData` (another file), `Unavailable`."""
    if not make and not path.exists():
        raise NotFound(f'{path}: no true values are here yet; bring some with "hydraulic actuals load FILE"')
    try:
        if make:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute(f"pragma busy_timeout={BUSY_MS}")
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=normal")
        _make(connection, path)
    except sqlite3.Error as error:
        raise problem(path, error) from error
    except OSError as error:
        raise Unavailable(f"{path}: the true values cannot be opened: {error}") from error
    return connection


def problem(path: Path, error: sqlite3.Error) -> BadData | Failed | Unavailable:
    """SQLite's error in our words: a full disk and a busy file pass, a damaged file does not."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return BadData(str(path), f"{text}: move the file away, and load the true values anew")
    return Unavailable(f"{path}: {text}") if isinstance(error, sqlite3.OperationalError) else Failed(f"{path}: {text}")


def _make(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("pragma user_version").fetchone()[0]
    if found == 0:
        connection.execute("begin immediate")
        try:
            if connection.execute("pragma user_version").fetchone()[0] == 0:  # nobody else made it meanwhile
                if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
                    raise BadData(str(path), "a SQLite file of something else: move it away")
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute(f"pragma user_version={FORMAT}")
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
        found = FORMAT
    if found == 1:
        connection.execute("begin immediate")
        try:
            if connection.execute("pragma user_version").fetchone()[0] == 1:
                connection.execute("alter table cursor add column feedback integer not null default 0")
                connection.execute(f"pragma user_version={FORMAT}")
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
        found = FORMAT
    if found != FORMAT:
        raise Failed(f"{path}: its format is {found}, this package reads {FORMAT}: install the version that made it")
