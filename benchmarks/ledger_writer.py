"""One writer of the ledger benchmark, a process of its own: rows into the chain, or plain inserts for comparison.

`python -m benchmarks.ledger_writer URI chain|plain NUMBER ROWS`: waits for a line on stdin, then writes ROWS rows,
each in a transaction of its own as a transition is.
"""

from __future__ import annotations

import sys

from sqlalchemy import Engine, insert

from mlflow_hydraulic.evidence import database, ledger, tables
from mlflow_hydraulic.evidence.ledger import GENESIS, Event


def main(uri: str, kind: str, number: int, count: int) -> None:
    engine = database.open_database(uri)
    with engine.connect():
        print("ready", flush=True)
        sys.stdin.readline()
    for n in range(count):
        event = Event(
            verb="stage",
            subject=f"models:/m{number}/{n}",
            actor=f"writer{number}",
            model=f"m{number}",
            environment="prod",
            before="Staging",
            after="Production",
            reason="beats the version before on last week's cycles",
        )
        if kind == "chain":
            with engine.begin() as connection:
                ledger.append(connection, [event])
        else:
            _plain(engine, event, seq=number * 10_000_000 + n + 1)


def _plain(engine: Engine, event: Event, *, seq: int) -> None:
    """The same columns and indexes, without head row, lock and hash."""
    row = ledger.Row(
        seq=seq,
        at="2026-01-01T00:00:00.000000+00:00",
        workspace=event.workspace,
        actor=event.actor,
        verb=event.verb,
        model=event.model,
        subject=event.subject,
        environment=event.environment,
        before='"Staging"',
        after='"Production"',
        reason=event.reason,
        prev=GENESIS,
        hash=GENESIS,
    )
    with engine.begin() as connection:
        connection.execute(
            insert(tables.ledger), {column.name: getattr(row, column.name) for column in tables.ledger.c}
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
