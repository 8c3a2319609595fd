"""The ledger's chain read whole, when somebody asks: what was found stands beside the head that it is of.

It takes seconds where there are 100 000 rows, so that no page does it by itself. All of a server's processes share what
was found last, in a file of its home folder.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from time import monotonic

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence.ledger import GENESIS, Verification, verify
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.web.ask import Ask

FILE = "ledger-verified.json"
REST = timedelta(seconds=10)  # between two readings, however often somebody asks
MOST_FAULTS = 100
_reading = Lock()


class Trouble(Struct, frozen=True, kw_only=True):
    """Something wrong with the chain at or just before row `seq`."""

    seq: int
    problem: str


class Verified(Struct, frozen=True, kw_only=True):
    """What a reading of the whole chain found. head: the hash of the last row; seq: its number. at: when it began.

    faults: the first 100 of `count`. since: rows written after it, when this was asked for.
    """

    at: str
    by: str
    rows: int
    seq: int
    head: str
    count: int
    faults: list[Trouble]
    seconds: float
    since: int = 0

    @property
    def holds(self) -> bool:
        return not self.count


def last(ask: Ask) -> Verified | None:
    """What was found last of this very ledger, and how many rows it has now beyond that; None where nobody asked yet,
    and where the row that was the head then is not there now."""
    found = _kept(_file(ask))
    if found is None:
        return None
    with ask.house.engine.connect() as connection:
        newest = _newest(connection)
        if _hash(connection, found.seq) != found.head:
            return None
    return msgspec.structs.replace(found, since=max(0, newest - found.seq))


def anew(ask: Ask) -> Verified:
    """Read the whole chain and keep what was found; what is seconds old is given again. `Unavailable` while another
    reading is under way."""
    known = last(ask)
    if known and datetime.fromisoformat(known.at) + REST > ask.now and not known.since:
        return known
    if not _reading.acquire(blocking=False):
        raise Unavailable("the ledger is being verified already: ask again in some seconds")
    try:
        with ask.house.engine.connect() as connection:
            began = monotonic()
            read = verify(connection)
            found = _told(ask, read, read.rows if read.holds else _newest(connection), monotonic() - began)
    finally:
        _reading.release()
    _keep(_file(ask), found)
    return found


def _told(ask: Ask, read: Verification, seq: int, seconds: float) -> Verified:
    return Verified(
        at=ask.now.isoformat(),
        by=ask.who.actor,
        rows=read.rows,
        seq=seq,
        head=read.head,
        count=len(read.faults),
        faults=[Trouble(seq=one.seq, problem=one.problem) for one in read.faults[:MOST_FAULTS]],
        seconds=round(seconds, 3),
    )


def _newest(connection: Connection) -> int:
    return int(connection.execute(select(func.max(ledger.c.seq))).scalar() or 0)


def _hash(connection: Connection, seq: int) -> str:
    return str(connection.execute(select(ledger.c.hash).where(ledger.c.seq == seq)).scalar() or GENESIS)


def _file(ask: Ask) -> Path:
    return ask.house.settings.home / FILE


def _kept(file: Path) -> Verified | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Verified)
    except (OSError, msgspec.DecodeError):  # not there, or of another version
        return None


def _keep(file: Path, found: Verified) -> None:
    """Where the folder cannot be written, the answer is given and not kept."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, delete=False) as made:
            made.write(msgspec.json.encode(found))
        Path(made.name).replace(file)
