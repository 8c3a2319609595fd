"""Values of the prediction record for tests: a schema, entries, a journal's folder, and what is stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import structs

from mlflow_hydraulic.record.entries import Entry, Head, head_of
from mlflow_hydraulic.record.journal import Journal
from mlflow_hydraulic.record.ship import Local, Shipped, ship_once
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Field, Schema

SCHEMA = Schema(inputs=(Field(name="PS1"), Field(name="TS1")), target="cool", labels=(3, 20, 100))
SERVED = Served(
    target="seldon-local",
    namespace="prod",
    deployment="cooler",
    predictor="default",
    model="hydraulic-cooler",
    version="7",
    digest="d" * 64,
)
ROOMY = 10**9
START_NS = 1_700_000_000 * 10**9  # any time: nothing compares it with now


def head(replica: str = "s1", *, served: Served = SERVED, schema: Schema = SCHEMA) -> Head:
    return head_of(served, schema, replica)


def entry(number: int, *, rows: int = 1, size: int = 0, ns: int | None = None) -> Entry:
    """Entry `number`, a second after the one before; its first cell is its number."""
    cells = np.full((rows, 2), float(number))
    cells[:, 1] = np.arange(rows)
    return Entry(
        START_NS + number * 10**9 if ns is None else ns,
        f"id-{number}",
        "/invocations",
        200,
        0.001,
        rows=rows,
        inputs=cells.tobytes(),
        label_type="<i8",
        labels=np.full(rows, 20, "<i8").tobytes(),
        probabilities=np.tile([0.1, 0.7, 0.2], (rows, 1)).tobytes(),
        request=b'{"inputs": [[%d]]}' % number + b" " * size,
        answer=b'{"predictions": [20]}',
    )


def journal(folder: Path, replica: str = "s1", **limits: int) -> Journal:
    return Journal(folder, head(replica), **{"max_bytes": ROOMY, **limits})


def append(to: Journal, entries: Sequence[Entry]) -> list[bool]:
    """Each in a write of its own; whether it could be."""
    done = []
    for one in entries:
        to.held.append(structs.astuple(one))
        done.append(to.flush())
    return done


def ship(folder: Path, store: Store) -> Shipped:
    return ship_once(folder, Local(store))


def ids(store: Store) -> list[str]:
    """Every id that is stored, as often as it is, in order of arrival."""
    with store.reading() as sql:
        return [row[0] for row in sql.execute("select id from predictions order by seq")]
