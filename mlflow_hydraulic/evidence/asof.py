"""What ran, and what the registry said, at any time that the ledger knows: its rows folded, oldest first.

`Then` is the fold; `as_of` reads the rows that it needs. Called by `hydraulic as-of` and by tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.evidence.compositions import Composition, read_composition
from mlflow_hydraulic.evidence.ledger import GENESIS, Row
from mlflow_hydraulic.evidence.recorded import REGISTRY_VERBS, RUNS, version_of
from mlflow_hydraulic.evidence.tables import ledger

Part = TypeVar("Part")
Said = TypeVar("Said")
Place = tuple[str, str, str]  # workspace, environment, deployment
Version = tuple[str, str, int]  # workspace, model, version


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What ran in one place, since when, and the ledger row that says so."""

    composition: Composition
    since: str
    seq: int
    reason: str = ""


@dataclass(slots=True)
class Then:
    """The state that all rows up to `seq` come to.

    stages: those that are not "None". aliases by (workspace, model, alias); tags by version: those that say intent.
    """

    running: dict[Place, Ran] = field(default_factory=dict)
    stages: dict[Version, str] = field(default_factory=dict)
    aliases: dict[tuple[str, str, str], int] = field(default_factory=dict)
    tags: dict[Version, dict[str, str]] = field(default_factory=dict)
    seq: int = 0
    hash: str = GENESIS

    def take(self, row: Row) -> None:
        """Go on by one row; rows of verbs that change nothing only move `seq`. `Untrusted` names an unreadable row."""
        self.seq, self.hash = row.seq, row.hash
        try:
            self._take(row)
        except (ValueError, TypeError) as error:
            raise Untrusted(
                f'ledger row {row.seq} ({row.verb}) cannot be read ({error}): run "hydraulic ledger verify"'
            ) from error

    def _take(self, row: Row) -> None:
        if row.verb == RUNS:
            self._runs(row)
        elif row.verb == "stage":
            _put(self.stages, _version(row), _stage(json.loads(row.after)))
        elif row.verb == "alias":
            after = json.loads(row.after)
            alias = _after(row.subject, "@")
            _put(self.aliases, (row.workspace, row.model, alias), None if after is None else int(after))
        elif row.verb == "tag":
            self._tag(row)
        elif row.verb == "delete version":
            self._delete_version(_version(row))
        elif row.verb == "delete model":
            self._move_model(row.workspace, row.model, None)
        elif row.verb == "rename model":
            self._move_model(row.workspace, row.model, str(json.loads(row.after)))

    def _runs(self, row: Row) -> None:
        environment, _, name = row.subject.partition("/")
        composition = read_composition(json.loads(row.after))
        ran = Ran(composition=composition, since=row.at, seq=row.seq, reason=row.reason) if composition else None
        _put(self.running, (row.workspace, environment, name), ran)

    def _tag(self, row: Row) -> None:
        version, after = _version(row), json.loads(row.after)
        tags = self.tags.setdefault(version, {})
        _put(tags, _after(row.subject, "#"), None if after is None else str(after))
        if not tags:
            del self.tags[version]

    def _delete_version(self, version: Version) -> None:
        self.stages.pop(version, None)
        self.tags.pop(version, None)
        gone = [key for key, number in self.aliases.items() if (*key[:2], number) == version]
        for key in gone:
            del self.aliases[key]

    def _move_model(self, workspace: str, old: str, new: str | None) -> None:
        """Give all that is said of model `old` to `new`; None forgets it. What runs is not touched."""
        _move(self.stages, workspace, old, new)
        _move(self.aliases, workspace, old, new)
        _move(self.tags, workspace, old, new)


def fold(rows: Iterable[Row]) -> Then:
    """The state that `rows`, oldest first, come to."""
    then = Then()
    for row in rows:
        then.take(row)
    return then


def as_of(connection: Connection, moment: datetime, workspace: str | None = None) -> Then:
    """What the ledger knew at `moment`, inclusive, of one workspace or of all. One row of memory at a time.

    The rows' own times decide; `seq` and `hash` name the last row that counts, so that the answer can be proven.
    """
    query = (
        select(ledger)
        .where(ledger.c.verb.in_((*REGISTRY_VERBS, RUNS)), ledger.c.at <= stamp(moment))
        .order_by(ledger.c.seq)
    )
    if workspace is not None:
        query = query.where(ledger.c.workspace == workspace)
    found = connection.execute(query.execution_options(yield_per=1000))
    return fold(Row(**row) for row in found.mappings())


def environments(connection: Connection) -> set[str]:
    """The environments in which, by the ledger, anything ever ran."""
    found = connection.execute(select(ledger.c.subject).where(ledger.c.verb == RUNS).distinct()).scalars()
    return {subject.partition("/")[0] for subject in found}


def stamp(moment: datetime) -> str:
    """The time as the ledger writes it, so that texts compare as times do."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _move(said: dict[tuple[str, str, Part], Said], workspace: str, old: str, new: str | None) -> None:
    for key in [key for key in said if key[:2] == (workspace, old)]:
        value = said.pop(key)
        if new is not None:
            said[workspace, new, key[2]] = value


def _put(said: dict[Any, Any], key: object, value: object) -> None:  # Any: maps of several types
    if value is None:
        said.pop(key, None)
    else:
        said[key] = value


def _stage(after: object) -> str | None:
    return None if after in (None, "None") else str(after)


def _version(row: Row) -> Version:
    return row.workspace, row.model, version_of(row.subject)


def _after(subject: str, mark: str) -> str:
    """What stands behind `mark`: an alias or a tag's key."""
    return subject.rpartition(mark)[2]
