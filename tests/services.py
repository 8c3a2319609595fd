"""Real servers for tests, from Debian's packages: started on free ports, ended by id, skipped loudly where absent."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy

WORKERS = 64  # of pytest-xdist, at most: each has ports of its own
_given: set[int] = set()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago and is given to no other test of this run.

    It is below those that systems give out by themselves, to connections for example: a server that takes seconds to
    start still finds it free.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    chance = random.SystemRandom()  # hypothesis and tests seed the usual one
    while True:
        port = chance.randrange(10_240 + worker % WORKERS, 32_768, WORKERS)
        if port in _given:
            continue
        with socket.socket() as listener, suppress(OSError):  # taken: another
            listener.bind(("127.0.0.1", port))
            _given.add(port)
            return port


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own; yields a URI whose last part, the database, is "postgres"."""
    initdb = _postgres_program("initdb")
    folder = Path(tempfile.mkdtemp(prefix="hydraulic-pg-"))
    user = _not_root("postgres")
    if user:
        shutil.chown(folder, user, user)
    port = free_port()
    data = folder / "data"
    _run(user, [initdb, "-D", str(data), "-U", "tests", "-A", "trust", "--no-sync"])
    log = (folder / "log").open("wb")
    options = [
        "-D",
        str(data),
        "-p",
        str(port),
        "-k",
        str(folder),
        "-c",
        "fsync=off",
        "-c",
        "listen_addresses=127.0.0.1",
    ]
    server = subprocess.Popen(_as(user, [_postgres_program("postgres"), *options]), stdout=log, stderr=log)
    try:
        _wait_for_port(port, server, folder / "log")
        uri = f"postgresql+psycopg2://tests@127.0.0.1:{port}/postgres"
        _wait_for_answers(uri)
        yield uri
    finally:
        subprocess.run(
            _as(user, [_postgres_program("pg_ctl"), "-D", str(data), "-m", "immediate", "stop"]), check=False
        )
        server.wait(timeout=30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mariadb() -> Iterator[str]:
    """A MariaDB server of our own, which speaks MySQL's protocol; yields a URI whose last part is its "mysql"."""
    install, program = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if not install or not program:
        pytest.skip("MariaDB is not installed: apt-get install mariadb-server")
    folder = Path(tempfile.mkdtemp(prefix="hydraulic-my-"))
    user = _not_root("mysql")
    if user:
        shutil.chown(folder, user, user)
    data, port = folder / "data", free_port()
    made = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", f"--datadir={data}"]
    _run(user, [install, *made])
    options = ["--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"]
    options += [f"--socket={folder / 'socket'}", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(_as(user, [program, *options]), stdout=log, stderr=log)
    try:
        uri = f"mysql+pymysql://root@127.0.0.1:{port}/mysql"
        _wait_for_port(port, server, folder / "log")
        _wait_for_answers(uri)
        yield uri
    finally:
        end = ["mariadb-admin", "--no-defaults", f"--socket={folder / 'socket'}", "--user=root", "shutdown"]
        subprocess.run(end, check=False, timeout=60)
        server.wait(timeout=60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, like: str = "") -> str:
    """The URI of a new database on the server whose URI `postgres` or `mariadb` gave: empty, or with what is in the one
    named by `like`."""
    name = f"t{uuid.uuid4().hex}"
    mysql = server.startswith("mysql")
    how = "character set utf8mb4" if mysql else f"template {like or 'template1'}"
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"create database {name} {how}"))
    engine.dispose()
    if mysql and like:
        _copy(int(engine.url.port or 3306), like, name)
    return server.rsplit("/", 1)[0] + f"/{name}"


def _copy(port: int, one: str, other: str) -> None:
    at = ["--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=root"]
    said = subprocess.run(["mariadb-dump", *at, one], stdout=subprocess.PIPE, check=True)
    subprocess.run(["mariadb", *at, other], input=said.stdout, check=True)


def _postgres_program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")) or [Path(p) for p in [shutil.which(name)] if p]
    if not found:
        pytest.skip(f"PostgreSQL's {name} is not installed: apt-get install postgresql")
    return str(found[-1])


def _not_root(user: str) -> str:
    """Databases refuse to run as root: the `user` of theirs to run one as, or "" to run it as we are."""
    if os.geteuid() != 0:
        return ""
    try:
        pwd.getpwnam(user)
    except KeyError:
        pytest.skip(f"a database does not run as root and there is no user {user}")
    return user


def _as(user: str, command: list[str]) -> list[str]:
    return ["runuser", "-u", user, "--", *command] if user else command


def _run(user: str, command: list[str]) -> None:
    done = subprocess.run(_as(user, command), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _wait_for_port(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the server on port {port} did not start:\n{log.read_text(errors='replace')}")


def _wait_for_answers(uri: str) -> None:
    """PostgreSQL opens its port before it lets anyone in: "the database system is starting up"."""
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
