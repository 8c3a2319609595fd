"""Opening, upgrading and checking the evidence database. It lives beside MLflow's tables under a version of its own."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, event, func, inspect, select

from mlflow_hydraulic.errors import BadInput, Failed, NotFound, Unavailable
from mlflow_hydraulic.evidence.tables import ledger_head

VERSION_TABLE = "alembic_version_hydraulic"
MIGRATIONS = Path(__file__).parent / "migrations"
MLFLOW_TABLE = "registered_models"
SCHEMES = ("sqlite", "postgresql", "mysql")  # the dialects that a watched registry may be in
PORTS = {"postgresql": "5432", "mysql": "3306"}
READ_ONLY = "; to read a copy in a folder that cannot be written: sqlite:///file:{path}?immutable=1&uri=true"
BUSY_MS = 20_000
PATIENCE_S = 120
UPGRADE_LOCK = 0x68796472  # "hydr": PostgreSQL names such locks by number, within one database
SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)


def open_database(uri: str) -> Engine:
    """An engine for `uri` ("sqlite:///mlflow.db", "postgresql://...", a "hydraulic+" before it is dropped)."""
    try:
        url = sqlalchemy.make_url(plain_uri(uri))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise BadInput(
            f"database {safe_uri(uri)} cannot be read: write it as postgresql://user:password@host/name or "
            f"sqlite:///path, and special characters of a password in per cent: write @ as %40, : as %3A, / as %2F"
        ) from None  # the library's error quotes a part of the URI, which may be one of the password
    try:
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise BadInput(f"database {safe_uri(uri)}: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", prepare_sqlite)
    return engine


def prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """The timeout puts writers in a queue; WAL lets the pages read while a change is written."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    with suppress(sqlite3.OperationalError):  # a file that cannot be written can be read; a busy one has it set already
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def upgrade(engine: Engine) -> str:
    """Bring the schema to this package's version and return it; MLflow must have made its own tables first.

    One of several that do it at once does it, the others wait and find it done. Killed in the middle, nothing was done;
    on MySQL, which keeps each table by itself, what was begun is done anew.
    """
    with _connected(engine) as connection, _alone(connection):
        if not inspect(connection).has_table(MLFLOW_TABLE):
            raise NotFound(
                f'database {safe_uri(engine.url)} holds no MLflow registry yet: start "mlflow server" on it once, '
                f'or run "mlflow db upgrade", and then "hydraulic db upgrade"'
            )
        _refuse_newer(connection)
        config = _config()
        config.attributes["connection"] = connection
        _clear_begun(connection)
        command.upgrade(config, "head")  # looks at the version again, now that nobody else can change it
    return newest()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One transaction, definitions of tables included, that no other upgrade runs beside; committed at the end.

    Python's sqlite3 would commit before each definition: here it is told to leave transactions to us.
    """
    kind = connection.dialect.name
    if kind == "sqlite":
        connection.execution_options(isolation_level="AUTOCOMMIT")  # until the connection goes back to its pool
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_MS}")  # a connection of MLflow's waits less
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sqlalchemy.exc.OperationalError as error:
            raise Unavailable(f"database {safe_uri(connection.engine.url)} is in use: {error.orig}") from error
    elif kind == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    elif kind == "mysql":  # of the server, not of one of its databases
        name = f"{UPGRADE_LOCK} {connection.engine.url.database}"[-64:]
        if not connection.execute(select(func.get_lock(name, PATIENCE_S))).scalar():
            raise Unavailable(f"database {safe_uri(connection.engine.url)}: another upgrade takes its time; try later")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    else:
        connection.commit()
    finally:
        if kind == "mysql":
            with suppress(sqlalchemy.exc.DBAPIError):  # a connection that is lost has let go of it
                connection.execute(select(func.release_lock(name)))


def _clear_begun(connection: Connection) -> None:
    """Drop the tables of the next step that an upgrade killed on MySQL left: nobody has used them yet.

    Raises Failed where tables are there that only later steps make, or that somebody has used: then the version is
    lost, and what is there is evidence.
    """
    steps = list(ScriptDirectory.from_config(_config()).iterate_revisions("head", current(connection) or "base"))
    there = set(inspect(connection).get_table_names())
    begun, later = (
        [name for step in some for name in _made(step) if name in there] for some in (steps[-1:], steps[:-1])
    )
    used = later + [name for name in begun if connection.execute(_use(name)).first()]
    if used:
        raise Failed(
            f"table {used[0]} is there and in use, but {VERSION_TABLE} does not name the schema that made it: restore "
            f"that table from a backup; nothing was changed"
        )
    for name in begun:
        sqlalchemy.Table(name, sqlalchemy.MetaData()).drop(connection)


def _made(step: Script) -> Sequence[str]:
    """The tables that a migration makes."""
    return getattr(step.module, "TABLES", ())


def _use(name: str) -> sqlalchemy.Select[Any]:
    """Asks for a row that shows that the table was used; the head is made with one that has counted nothing."""
    table = sqlalchemy.table(name, sqlalchemy.column("seq"))
    rows = select(sqlalchemy.literal(1)).select_from(table).limit(1)
    return rows.where(table.c.seq > 0) if name == ledger_head.name else rows


def check(engine: Engine) -> str:
    """The schema's version; `Failed` says which side is older and what to do."""
    with _connected(engine) as connection:
        _refuse_newer(connection)
        found = current(connection)
    if found != newest():
        raise Failed(
            f'evidence schema is {found or "not there"}, this package needs {newest()}: run "hydraulic db upgrade"'
        )
    return found


def ready(engine: Engine) -> None:
    """For a server that starts: make the tables where there are none, refuse where they are of another version."""
    with _connected(engine) as connection:
        if engine.dialect.name == "sqlite":
            with suppress(sqlalchemy.exc.OperationalError):  # busy: somebody else reads or sets it at this moment
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # kept in the file, whoever opens it next
        found = current(connection)
    if found is None:
        upgrade(engine)
    elif found != newest() and engine.dialect.name == "mysql" and _is_new(engine):
        upgrade(engine)  # the first one is under way, or was killed: MySQL shows its steps one by one
    check(engine)


def _is_new(engine: Engine) -> bool:
    """Whether the ledger has counted nothing yet."""
    with _connected(engine) as connection:
        return connection.execute(select(ledger_head.c.seq)).scalar() == 0


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None where it has no table of ours."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def newest() -> str:
    """The revision that this package knows last."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return head or ""


def plain_uri(uri: str) -> str:
    """The URI as SQLAlchemy takes it."""
    return uri.removeprefix("hydraulic+")


def safe_uri(uri: object) -> str:
    """The URI for people: without its password, and without any user where it is a web address."""
    text = plain_uri(str(uri))
    scheme, _, rest = text.partition("://")
    if text.startswith("sqlite:///"):
        return text
    if scheme in ("http", "https") or rest.count("@") > 1:  # more than one: nobody knows where the password ends
        hidden = "***@" if scheme not in ("http", "https") else ""
        return f"{scheme}://{hidden}{rest.rpartition('@')[2]}"
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return text if not set(text) & set(":@") else "(unreadable URI)"
    secrets = {key: "***" for key in url.query if SECRET.search(key)}
    return url.update_query_dict(secrets).render_as_string(hide_password=True)


def same_database(one: str, other: str) -> bool:
    """Whether both URIs name one database, whoever signs in to it and by whatever driver."""
    return _place(one) == _place(other)


def require_same(registry_uri: str, named: str) -> None:
    """Refuse a `named` (HYDRAULIC_DATABASE, "" where it is unset) that is not the database of the registry.

    The server writes a change and its row in one transaction; a ledger elsewhere would be a second one.
    """
    if named and not same_database(registry_uri, named):
        raise BadInput(
            f"HYDRAULIC_DATABASE is {safe_uri(named)}, and the registry is in {safe_uri(registry_uri)}: the ledger is "
            f"kept in the registry's own database; unset HYDRAULIC_DATABASE here, or name that one with the same host"
        )


def _place(uri: str) -> tuple[str, str, str, str]:
    """(dialect, host, port, database): what makes a database another one."""
    try:
        url = sqlalchemy.make_url(plain_uri(uri))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise BadInput(f"database {safe_uri(uri)} cannot be read") from None  # as in `open_database`
    dialect, name = url.get_backend_name(), url.database or ""
    if dialect == "sqlite":
        path = name.removeprefix("file:").partition("?")[0]
        return dialect, "", "", path if path in ("", ":memory:") else str(Path(path).resolve())
    host = str(url.query.get("host", url.host or "localhost")).lower()
    port = str(url.query.get("port", url.port or PORTS.get(dialect, "")))
    return dialect, "localhost" if host in ("127.0.0.1", "::1") else host, port, name


def _refuse_newer(connection: Connection) -> None:
    found = current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise Failed(
            f"evidence schema {found} is newer than this package ({newest()}): "
            f"install the version of mlflow-hydraulic that made it; nothing was changed"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection whose failure to open is `Unavailable`, naming the database without its password."""
    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        hint = READ_ONLY.format(path=engine.url.database) if "readonly" in str(error.orig) else ""
        raise Unavailable(f"database {safe_uri(engine.url)} cannot be reached: {error.orig}{hint}") from error
    with connection:
        yield connection
