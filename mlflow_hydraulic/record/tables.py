"""The tables of the record's SQLite file, and how it is opened. Used by `store` and its neighbours only.

sqlite3 itself and no SQLAlchemy: a million rows an hour go through `executemany`, and the file is nobody else's.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlflow_hydraulic.errors import BadData, Failed, NotFound, Unavailable

FORMAT = 2  # PRAGMA user_version; 1 had no feedback
BUSY_MS = 30_000
CACHE_KIB = 65_536

FEEDBACK = """create table feedback (
    seq integer primary key autoincrement,  -- in order of arrival: `accuracy` goes by it
    ns integer not null,
    id text not null,  -- the prediction's, whoever answered it
    truth blob not null,  -- msgpack: one value a row, nil where it is not known
    reward real
)"""
SCHEMA = """
create table sources (
    source integer primary key,
    target text not null, namespace text not null, deployment text not null, predictor text not null,
    model text not null, version text not null, digest text not null, replica text not null,
    schema text not null,
    dictionary blob not null,  -- what bodies are compressed with: a request and its answer
    bins text not null default '[]',
    unique (target, namespace, deployment, predictor, model, version, digest, replica, schema, bins)
);
create table predictions (
    seq integer primary key autoincrement,  -- in order of arrival, never given twice: sinks go by it
    source integer not null references sources,
    ns integer not null,  -- since 1970, UTC; [ns, ns + rows) is this prediction's alone within its source
    id text not null,
    rows integer not null,
    status integer not null,
    latency_s real not null,
    path text not null,
    caller text not null,
    input_type text not null,  -- "<f8", or "" for msgpack lists; as label_type
    inputs blob not null,
    label_type text not null,
    labels blob not null,
    probabilities blob,
    anomalous blob
);
create unique index predictions_by_time on predictions (source, ns);
create index predictions_by_id on predictions (id);
create table bodies (
    seq integer primary key,
    request blob not null, answer blob not null  -- deflated with the source's dictionary
);
create table minutes (
    seq integer primary key autoincrement,
    source integer not null references sources,
    since_ns integer not null,
    minute blob not null,
    unique (source, since_ns)
);
create table gaps (
    gap integer primary key,
    source integer references sources,
    since_ns integer not null, until_ns integer not null, answers integer not null, bytes integer not null,
    reason text not null
);
create table segments (name text primary key, stored integer not null) without rowid;
create table sinks (
    name text primary key,
    seq integer not null, minute integer not null,  -- up to which prediction and minute it has sent
    dropped integer not null
) without rowid;
create table events (event text primary key, at_ns integer not null) without rowid;
create table halves (
    half integer primary key,
    key text not null, kind text not null, at_ns integer not null, about text not null, body blob not null
);
create index halves_by_key on halves (key);
create table pruned (at_ns integer primary key, predictions integer not null, minutes integer not null,
    before_ns integer not null, reason text not null);
"""


def connect(path: Path, *, make: bool) -> sqlite3.Connection:
    """The record's file, made where `make` says so. `NotFound`, `BadData` (no record of ours), `Unavailable`."""
    if not make and not path.exists():
        raise NotFound(f"{path}: nothing is recorded here yet; is HYDRAULIC_RECORD on, and is this its HYDRAULIC_HOME?")
    try:
        if make:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # requests may be nobody else's business
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
        _prepare(connection)
        _check_format(connection, path)
    except sqlite3.DatabaseError as error:
        raise problem(path, error) from error
    except OSError as error:
        raise Unavailable(f"{path}: the record cannot be opened: {error}") from error
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writer at a time, all or nothing."""
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    connection.execute("commit")


def problem(path: Path, error: sqlite3.Error) -> BadData | Failed | Unavailable:
    """SQLite's error in our words: a full disk and a busy file pass, a damaged file does not."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return BadData(str(path), f"{text}: move the file away, and a new one is made; a copy may be read by sqlite3")
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(f"{path}: {text}")
    return Failed(f"{path}: {text}")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma busy_timeout={BUSY_MS}")
    if not connection.execute("pragma page_count").fetchone()[0]:
        connection.execute("pragma auto_vacuum=incremental")  # before the first table; pruned pages go back to the disk
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")
    connection.execute(f"pragma cache_size=-{CACHE_KIB}")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("pragma user_version").fetchone()[0] == 0:
        with transaction(connection):
            if connection.execute("pragma user_version").fetchone()[0] == 0:  # nobody else made it meanwhile
                if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
                    raise BadData(str(path), "a SQLite file of something else: name another HYDRAULIC_RECORD_FOLDER")
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
                connection.execute(FEEDBACK)
                connection.execute(f"pragma user_version={FORMAT}")
    if connection.execute("pragma user_version").fetchone()[0] == 1:
        with transaction(connection):
            if connection.execute("pragma user_version").fetchone()[0] == 1:
                connection.execute(FEEDBACK)
                connection.execute(f"pragma user_version={FORMAT}")
    found = connection.execute("pragma user_version").fetchone()[0]
    if found != FORMAT:
        raise Failed(f"{path}: its format is {found}, this package reads {FORMAT}: install the version that made it")
