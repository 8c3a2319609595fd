"""The lease: of several controllers, the one that acts. A dead holder loses it when its time is up.

And `queue`, for what must not run at once and is over in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from mlflow_hydraulic.evidence.tables import lease

CONTROLLER_LEASE = "controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who holds it, until when, and the term: a number that grows with every new holder."""

    holder: str
    until: datetime
    term: int


def take(engine: Engine, *, name: str, holder: str, now: datetime, length: timedelta) -> Lease | None:
    """Take or renew the lease; None where somebody else holds it and is not out of time."""
    until = _text(now + length)
    mine_or_over = or_(lease.c.holder == holder, lease.c.until < _text(now))
    with engine.begin() as connection:
        renewed = connection.execute(
            update(lease).where(lease.c.name == name, lease.c.holder == holder).values(until=until)
        )
        if renewed.rowcount == 0:
            connection.execute(
                update(lease)
                .where(lease.c.name == name, mine_or_over)
                .values(holder=holder, until=until, term=lease.c.term + 1)
            )
        found = connection.execute(select(lease).where(lease.c.name == name)).one_or_none()
    if found is None:
        return _first(engine, name=name, holder=holder, until=until)
    return _held(found.holder, found.until, found.term) if found.holder == holder else None


def give_back(engine: Engine, *, name: str, holder: str) -> None:
    """End the lease now, if it is ours, so that the next controller need not wait; its term lives on."""
    with engine.begin() as connection:
        connection.execute(
            update(lease).where(lease.c.name == name, lease.c.holder == holder).values(holder="", until="")
        )


def current(engine: Engine, *, name: str) -> Lease | None:
    """Who holds it as far as the database knows, in time or not."""
    with engine.connect() as connection:
        found = connection.execute(select(lease).where(lease.c.name == name)).one_or_none()
    return _held(found.holder, found.until, found.term) if found and found.holder else None


@contextmanager
def queue(engine: Engine, name: str) -> Iterator[Connection]:
    """A transaction beside which no other of this `name` runs: what is read in it stays true until it is committed.

    The others wait. Killed in it, nothing of it was done, and the next one goes on.
    """
    with engine.connect() as connection:
        there = connection.execute(select(lease.c.name).where(lease.c.name == name)).first() is not None
    if not there:
        with suppress(IntegrityError), engine.begin() as connection:  # another was first, a moment ago
            connection.execute(insert(lease).values(name=name, holder="", until="", term=0))
    with engine.begin() as connection:
        connection.execute(update(lease).where(lease.c.name == name).values(term=lease.c.term))
        yield connection


def _first(engine: Engine, *, name: str, holder: str, until: str) -> Lease | None:
    try:
        with engine.begin() as connection:
            connection.execute(insert(lease).values(name=name, holder=holder, until=until, term=1))
    except IntegrityError:  # another controller was first, a moment ago
        return None
    return _held(holder, until, 1)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _held(holder: str, until: str, term: int) -> Lease:
    return Lease(holder=holder, until=datetime.fromisoformat(until), term=term)
