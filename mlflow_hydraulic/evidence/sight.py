"""What the controller saw last, for pages that have no way to the targets themselves: evidence, with the time it is of.

`witness` writes it after each look, and only what differs; the pages read it. A deployment's row says how it is and
why, an environment's look says when it was seen last, and why it cannot be seen now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, insert, or_, select, update

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.tables import sight, sight_looks

LONGEST_CAUSE = 4000  # characters
MOST_LINES, LONGEST_LINE = 40, 500
LOOK_S = 5.0  # a look that found nothing new is written down when the one before is older
Place = tuple[str, str]  # environment, deployment


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One predictor. role: champion, arm or challenger. traffic in percent; digest is "" until it is pinned."""

    role: str
    name: str
    model: str
    version: str
    digest: str = ""
    uri: str = ""
    traffic: int = 100
    replicas: int = 1
    ready: int = 0


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller is about there: kind is the plan's word, or "failed". wanted: what it is to be. due: when
    it is tried again, ISO 8601; "" where it waits for a change."""

    kind: str
    text: str = ""
    wanted: str = ""
    due: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """All that is shown of a deployment and never asked for by itself."""

    predictors: tuple[Part, ...] = ()
    target: str = ""
    namespace: str = ""
    generation: int = 0
    log: tuple[str, ...] = ()
    stale: str = ""
    note: Note | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One deployment as it was seen, or as it is tried. managed: by the controller of this workspace.

    model: "WORKSPACE/NAME" where it is another workspace's.
    """

    environment: str
    deployment: str
    model: str
    managed: bool
    state: str
    endpoint: str = ""
    cause: str = ""
    said: Said = field(default_factory=Said)

    def columns(self) -> dict[str, object]:
        """What its row holds beside its key, and the time since when."""
        return {
            "model": self.model[:256],
            "managed": int(self.managed),
            "state": self.state,
            "endpoint": clean(self.endpoint),
            "cause": clean(self.cause)[:LONGEST_CAUSE],
            "said": msgspec.json.encode(self.said).decode(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """at: when the environment was seen last, None: never. blind: why it cannot be seen now."""

    at: datetime | None
    blind: str = ""


def model_of(connection: Connection, workspace: str, environment: str, deployment: str) -> str:
    """The registered model that a deployment serves; "" where none of that name was seen."""
    query = select(sight.c.model).where(
        sight.c.workspace == workspace, sight.c.environment == environment, sight.c.deployment == deployment
    )
    return str(connection.execute(query).scalar() or "")


def find(connection: Connection, workspace: str, environment: str, deployment: str) -> RowMapping | None:
    """The row of one deployment; `read_said` reads what it says."""
    query = select(sight).where(
        sight.c.workspace == workspace, sight.c.environment == environment, sight.c.deployment == deployment
    )
    return connection.execute(query).mappings().first()


def read_said(text: str) -> Said:
    """The column `said`; what an older or newer version wrote is read as far as it goes."""
    try:
        return msgspec.json.decode(text, type=Said)
    except msgspec.DecodeError:
        return Said()


def looks(connection: Connection, workspace: str) -> dict[str, Look]:
    """The last look at each environment."""
    found = connection.execute(select(sight_looks).where(sight_looks.c.workspace == workspace)).mappings()
    return {
        row["environment"]: Look(at=datetime.fromisoformat(row["at"]) if row["at"] else None, blind=row["blind"])
        for row in found
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs from what is written down. looks: (environment, when it was seen, why it is blind)."""

    new: Sequence[Seen] = ()
    other: Sequence[tuple[Seen, bool]] = ()  # with whether its state is another
    gone: Sequence[Place] = ()
    looks: Sequence[tuple[str, str, str]] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.other or self.gone or self.looks)


def changes(
    connection: Connection,
    workspace: str,
    seen: Iterable[Seen],
    *,
    looked: Mapping[str, str],
    configured: Collection[str],
    now: datetime,
) -> Changes:
    """What differs. looked: why it could not be seen, by environment that was looked at; "" where it could.

    configured: all environments that there are; of others nothing is kept.
    """
    concerned = or_(sight.c.environment.in_(list(looked)), sight.c.environment.not_in(list(configured)))
    found = connection.execute(select(sight).where(sight.c.workspace == workspace, concerned)).mappings()
    there = {(row["environment"], row["deployment"]): row for row in found}
    here = {(one.environment, one.deployment): one for one in seen}
    new, other = [], []
    for place, one in here.items():
        row = there.get(place)
        if row is None:
            new.append(one)
        elif any(row[column] != value for column, value in one.columns().items()):
            other.append((one, row["state"] != one.state))
    kept = {environment for environment, blind in looked.items() if blind}
    return Changes(
        new=new,
        other=other,
        gone=[place for place in there if place not in here and place[0] not in kept],
        looks=_looks(looks(connection, workspace), looked, now),
    )


def _looks(before: Mapping[str, Look], looked: Mapping[str, str], now: datetime) -> list[tuple[str, str, str]]:
    told = []
    for environment, raw in looked.items():
        was, blind = before.get(environment), clean(raw)[:LONGEST_CAUSE]
        late = was is None or was.at is None or now - was.at >= timedelta(seconds=LOOK_S)
        if was is None or was.blind != blind or (late and not blind):
            at = stamp(now) if not blind else stamp(was.at) if was and was.at else ""
            told.append((environment, at, blind))
    return told


def write(connection: Connection, workspace: str, found: Changes, now: datetime) -> None:
    """Make the tables say it; `found` was read in the same transaction."""
    of_place = and_(
        sight.c.workspace == workspace,
        sight.c.environment == bindparam("at_environment"),
        sight.c.deployment == bindparam("at_deployment"),
    )
    if found.new:
        rows = [{**_key(workspace, one), **one.columns(), "since": stamp(now)} for one in found.new]
        connection.execute(insert(sight), rows)
    for moved in (True, False):
        values = [{**_at(_place(one)), **one.columns()} for one, other in found.other if other is moved]
        if values:
            since = {"since": stamp(now)} if moved else {}
            columns: dict[str, object] = {name: bindparam(name) for name in found.other[0][0].columns()}
            connection.execute(update(sight).where(of_place).values(**columns, **since), values)
    if found.gone:
        connection.execute(delete(sight).where(of_place), [_at(place) for place in found.gone])
    for environment, at, blind in found.looks:
        of_look = and_(sight_looks.c.workspace == workspace, sight_looks.c.environment == environment)
        if connection.execute(update(sight_looks).where(of_look).values(at=at, blind=blind)).rowcount == 0:
            row = {"workspace": workspace, "environment": environment, "at": at, "blind": blind}
            connection.execute(insert(sight_looks).values(**row))


def clean(text: str) -> str:
    """`text` as every database takes it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


def clean_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """The last of them, none too long."""
    return tuple(clean(line)[:LONGEST_LINE] for line in list(lines)[-MOST_LINES:])


def _key(workspace: str, one: Seen) -> dict[str, object]:
    return {"workspace": workspace, "environment": one.environment, "deployment": one.deployment}


def _place(one: Seen) -> Place:
    return one.environment, one.deployment


def _at(place: Place) -> dict[str, object]:
    return {"at_environment": place[0], "at_deployment": place[1]}
