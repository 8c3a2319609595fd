"""The ledger: append-only rows, each with the hash of the row before it. Who, when, what, before, after, why.

`append` writes through the caller's connection, so that a row stands or falls with the change that it records.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence.tables import ledger, ledger_head

GENESIS = "0" * 64
BEFORE_ALL = -(2**62)  # a forged row may have any number
UNKNOWN_ACTOR = "unknown"
CONTROLLER_ACTOR = "hydraulic-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, before it has a place in the chain.

    actor: the user; "anonymous" where nobody needs to log in, "unknown" for what was done behind our back.
    verb: "stage", "alias", "tag", "delete version", "refused", "deployed", "ended", ... ; subject: what it was done to.
    before, after: JSON values. environment: "" where none is touched.
    """

    verb: str
    subject: str
    actor: str
    model: str = ""
    environment: str = ""
    before: object = None
    after: object = None
    reason: str = ""
    workspace: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as it is stored; `before` and `after` are JSON text."""

    seq: int
    at: str
    workspace: str
    actor: str
    verb: str
    model: str
    subject: str
    environment: str
    before: str
    after: str
    reason: str
    prev: str
    hash: str = ""

    def computed_hash(self) -> str:
        """sha256, hex, over every column but `hash` itself, as canonical JSON."""
        said = {column.name: getattr(self, column.name) for column in fields(self) if column.name != "hash"}
        return hashlib.sha256(json_text(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the chain, at or just before row `seq`."""

    seq: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` found: rows read, the head's hash, and every fault, first one first."""

    rows: int
    head: str
    faults: tuple[Fault, ...] = field(default=())

    @property
    def holds(self) -> bool:
        return not self.faults


def append(connection: Connection, events: Iterable[Event], now: datetime | None = None) -> list[Row]:
    """Add `events` in their order, in the caller's transaction; the head row's lock puts writers in a queue."""
    events = list(events)
    if not events:
        return []
    last, prev = _take_places(connection, len(events))
    at = (now or utc_now()).isoformat(timespec="microseconds")
    rows = []
    for seq, event in enumerate(events, start=last - len(events) + 1):
        row = _chained(event, seq=seq, at=at, prev=prev)
        rows.append(row)
        prev = row.hash
    connection.execute(insert(ledger), [_columns(row) for row in rows])
    connection.execute(update(ledger_head).where(ledger_head.c.id == 1).values(hash=prev))
    return rows


def _take_places(connection: Connection, count: int) -> tuple[int, str]:
    """The last of `count` numbers that are ours now, and the hash before them; locks the head row until the commit.

    In one statement where the database can: while the lock is held, every other writer waits for each round trip.
    """
    where, columns = ledger_head.c.id == 1, (ledger_head.c.seq, ledger_head.c.hash)
    taking = update(ledger_head).where(where).values(seq=ledger_head.c.seq + count)
    if connection.dialect.update_returning:
        found = connection.execute(taking.returning(*columns)).one_or_none()
    else:
        connection.execute(taking)
        found = connection.execute(select(*columns).where(where)).one_or_none()
    if found is None:
        raise Unavailable('the ledger has no head row: run "hydraulic db upgrade" on this database')
    return int(found.seq), str(found.hash)


def rows(connection: Connection, *, model: str | None = None, after: int = 0, until: str = "") -> Iterator[Row]:
    """Rows oldest first, one page of memory at a time; `until` is an ISO time, exclusive.

    Read them to the end before anything else is asked on the connection: on MySQL that ends them early.
    """
    query = select(ledger).where(ledger.c.seq > after).order_by(ledger.c.seq)
    if model is not None:
        query = query.where(ledger.c.model == model)
    if until:
        query = query.where(ledger.c.at < until)
    for found in connection.execute(query.execution_options(yield_per=1000)).mappings():
        yield Row(**found)


def verify(connection: Connection, *, anchor: Mapping[str, object] | None = None) -> Verification:
    """Read the whole chain and name every row that was changed, dropped, added or moved; writers may go on meanwhile.

    anchor: {"seq": ..., "hash": ...} kept outside the database; it finds a chain that was rewritten to its very head.
    """
    chain = Chain(anchor)
    head = None
    for round_ in itertools.count():
        before = chain.rows
        for row in rows(connection, after=chain.last if chain.rows else BEFORE_ALL):
            chain.take(row)
        if round_ and chain.rows == before:  # the head is ahead and no row follows: they were dropped
            break
        head = said_head(connection)
        if head == (chain.last, chain.hash):
            break  # else rows may have been written since we read: look once more
    return chain.verification(head)


def said_head(connection: Connection) -> tuple[int, str] | None:
    """The seq and hash in the head row; None where there is no head row."""
    found = connection.execute(select(ledger_head.c.seq, ledger_head.c.hash).where(ledger_head.c.id == 1)).one_or_none()
    return (int(found.seq), str(found.hash)) if found else None


class Chain:
    """A check of rows that come one by one, oldest first, from a database or from an exported file."""

    def __init__(self, anchor: Mapping[str, object] | None = None) -> None:
        self.rows, self.last, self.hash = 0, 0, GENESIS
        self._faults: list[Fault] = []
        self._anchor = anchor
        self._anchored = anchor is None
        self._check_anchor()

    def take(self, row: Row) -> None:
        self.rows += 1
        self._faults += _faults(row, self.hash, self.last + 1)
        self.last, self.hash = row.seq, row.hash
        self._check_anchor()

    def _check_anchor(self) -> None:
        if self._anchor is None or self.last != self._anchor.get("seq"):
            return
        self._anchored = True
        if self.hash != self._anchor.get("hash"):
            problem = "its hash is not the anchored one: the chain was rewritten up to here"
            self._faults.append(Fault(self.last, problem))

    def verification(self, head: tuple[int, str] | None) -> Verification:
        """What was found; `head` is what the head row says, None where it is missing."""
        faults = list(self._faults)
        if head != (self.last, self.hash):
            stored = "missing" if head is None else f"seq {head[0]}"
            problem = f"the head ({stored}) is not the last row ({self.last}): rows were dropped"
            faults.append(Fault(self.last + 1, problem))
        if self._anchor is not None and not self._anchored:
            problem = f"the anchored row {self._anchor.get('seq')} is not there: rows were dropped"
            faults.append(Fault(self.rows, problem))
        return Verification(rows=self.rows, head=self.hash, faults=tuple(faults))


def _faults(row: Row, prev: str, expected: int) -> Iterator[Fault]:
    if row.seq != expected:
        yield Fault(row.seq, f"row {expected} is missing before it")
    if row.prev != prev:
        yield Fault(row.seq, "it does not follow the row before it: one of them was moved, added or changed")
    if row.computed_hash() != row.hash:
        yield Fault(row.seq, "its content was changed after it was written")


def _chained(event: Event, *, seq: int, at: str, prev: str) -> Row:
    row = Row(
        seq=seq,
        at=at,
        workspace=event.workspace,
        actor=event.actor,
        verb=event.verb,
        model=event.model,
        subject=event.subject,
        environment=event.environment,
        before=json_text(event.before),
        after=json_text(event.after),
        reason=event.reason,
        prev=prev,
    )
    return replace(row, hash=row.computed_hash())


def _columns(row: Row) -> dict[str, object]:
    return {column.name: getattr(row, column.name) for column in fields(row)}


def json_text(value: object) -> str:
    """`value` as the ledger's columns hold it: canonical JSON."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
