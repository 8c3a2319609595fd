"""The ledger under 8 writer processes, 10 000 rows on SQLite and PostgreSQL: is the chain whole, and what does it cost?

The peer is the same insert into the same table without head row, lock and hash, each row in a transaction of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from benchmarks.report import Row, run, say
from mlflow_hydraulic.evidence import database, ledger, tables
from tests import services

WRITERS, ROWS = 8, 10_000


@dataclass(frozen=True, kw_only=True)
class Written:
    """What the writers left: rows that are there, faults of the chain, and how long it took."""

    rows: int
    faults: int
    seconds: float
    verify_s: float = 0.0


def measure() -> list[Row]:
    """Per database: rows a second in the chain over plain inserts, and rows lost or faulty."""
    return [row for kind in ("sqlite", "postgresql") for row in _measure(kind)]


def _measure(kind: str) -> Iterator[Row]:
    try:
        with databases(kind) as fresh:
            plain = write(fresh(), "plain", WRITERS, ROWS)
            chain = write(fresh(), "chain", WRITERS, ROWS)
    except pytest.skip.Exception as missing:  # PostgreSQL is not installed
        say(f"{kind}: left out: {missing}")
        return
    detail = {
        "chain_rows_per_s": round(chain.rows / chain.seconds),
        "plain_rows_per_s": round(plain.rows / plain.seconds),
        "verify_s": round(chain.verify_s, 2),
    }
    setting = f"{WRITERS} writers, {ROWS:,} rows, {kind}"
    yield Row(what=f"ledger, {setting}: rows/s against plain inserts", measured=ratio(chain, plain), detail=detail)
    lost = float(ROWS - chain.rows + chain.faults)
    yield Row(what=f"ledger, {setting}: lost or faulty", measured=lost, asked=0, unit="rows", at_most=True)


def ratio(chain: Written, plain: Written) -> float:
    return (chain.rows / chain.seconds) / (plain.rows / plain.seconds)


@contextmanager
def databases(kind: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases of one kind: a file each, or a database each on a server of our own."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(services.postgres()) if kind == "postgresql" else ""

        def fresh() -> str:
            if not server:
                return f"sqlite:///{Path(folder) / uuid.uuid4().hex}.db"
            return services.new_database(server)

        yield fresh


def write(uri: str, kind: str, writers: int, rows: int) -> Written:
    """Let `writers` processes write `rows` rows into the empty database `uri`, from the same moment on."""
    engine = database.open_database(uri)
    with engine.begin() as connection:
        connection.execute(text("create table registered_models (name varchar(9) primary key)"))
    database.upgrade(engine)
    command = [sys.executable, "-m", "benchmarks.ledger_writer", uri, kind]
    shares = [rows // writers + (n < rows % writers) for n in range(writers)]
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [
            stack.enter_context(subprocess.Popen([*command, str(n), str(share)], **pipes))  # type: ignore[call-overload]
            for n, share in enumerate(shares)
        ]
        for process in processes:
            process.stdout.readline()
        started = time.perf_counter()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.wait() for process in processes]
        seconds = time.perf_counter() - started
    if any(ended):
        raise RuntimeError(f"writers ended with {ended}")
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(tables.ledger)).scalar_one()
        before = time.perf_counter()
        faults = len(ledger.verify(connection).faults) if kind == "chain" else 0
        verify_s = time.perf_counter() - before
    engine.dispose()
    return Written(rows=count, faults=faults, seconds=seconds, verify_s=verify_s)


if __name__ == "__main__":
    run(measure)
