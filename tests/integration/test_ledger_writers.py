"""Eight processes write the ledger at once, on SQLite and on a real PostgreSQL: the chain is whole, no row is lost."""

from __future__ import annotations

import pytest

from benchmarks.ledger import databases, write


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("rows", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_eight_processes_lose_nothing(kind: str, rows: int) -> None:
    with databases(kind) as fresh:
        written = write(fresh(), "chain", 8, rows)
    assert (written.rows, written.faults) == (rows, 0)
