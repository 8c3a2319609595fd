"""What a change means to the policy: its moves, with stage, aliases and trainer of the versions that it concerns.

Called by `watched_store` while the change is in the database but not committed, by `asked` for one that is not made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, STAGE_NONE
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import verdicts
from mlflow_hydraulic.plugin.caller import Caller
from mlflow_hydraulic.plugin.changes import Change
from mlflow_hydraulic.policy import Move


class Facts(Protocol):
    """What is asked of the registry about one model; a version is (stage, the id of its run or "")."""

    def version(self, model: str, number: int) -> tuple[str, str] | None: ...

    def staged(self, model: str) -> Iterable[tuple[int, str, str]]:
        """(number, stage, run) of all versions in a stage."""

    def aliases(self, model: str) -> Sequence[tuple[str, int]]: ...

    def trainer(self, run_id: str) -> str:
        """The user of the run that made a version; "" where there is none, or where runs are kept elsewhere."""

    def verdict(self, model: str, number: int) -> tuple[str, str]:
        """The last verdict on a version and who gave it; "" where there is none, or no rule asks for it."""


@dataclass(frozen=True, slots=True)
class Database:
    """The facts of one workspace as a session of its registry store sees them. verdicts: whether rules ask for them."""

    session: Session
    workspace: str
    verdicts: bool = False

    def version(self, model: str, number: int) -> tuple[str, str] | None:
        table = SqlModelVersion
        query = select(table.current_stage, table.run_id).where(
            table.workspace == self.workspace, table.name == model, table.version == number
        )
        row = self.session.execute(query).one_or_none()
        return None if row is None else (row.current_stage, row.run_id or "")

    def staged(self, model: str) -> Iterable[tuple[int, str, str]]:
        table = SqlModelVersion
        query = select(table.version, table.current_stage, table.run_id).where(
            table.workspace == self.workspace,
            table.name == model,
            table.current_stage.not_in((STAGE_NONE, STAGE_DELETED_INTERNAL)),
        )
        return [(number, stage, run or "") for number, stage, run in self.session.execute(query)]

    def aliases(self, model: str) -> Sequence[tuple[str, int]]:
        table = SqlRegisteredModelAlias
        query = select(table.alias, table.version).where(table.workspace == self.workspace, table.name == model)
        return [(alias, number) for alias, number in self.session.execute(query)]

    def trainer(self, run_id: str) -> str:
        if not run_id:
            return ""
        return self.session.execute(select(SqlRun.user_id).where(SqlRun.run_uuid == run_id)).scalar() or ""

    def verdict(self, model: str, number: int) -> tuple[str, str]:
        if not (self.verdicts and number):
            return "", ""
        return verdicts.last(self.session.connection(), self.workspace, model, number)


def moves_of(facts: Facts, change: Change, who: Caller, now: datetime | None = None) -> list[Move]:
    """One move, but for a renamed model: all that its stages and aliases say leaves one name and comes to another."""
    asked = Move(
        kind=change.verb,  # type: ignore[arg-type]  # the verbs of `changes` are the policy's kinds
        model=change.model,
        version=change.version,
        actor=who.user,
        reason=who.reason,
        now=now or utc_now(),
        subject=change.name,
        before=_text(change.before),
        after=_text(change.after),
        stage=change.stage,
        trainer=facts.trainer(change.run_id),
    )
    asked = _with_verdict(facts, asked)
    if change.verb == "rename model":
        return [one for move in _all_that_it_says(facts, asked) for one in _out_and_in(move, asked)]
    if change.verb in ("alias", "tag"):
        return [_of_version(facts, asked)]
    return [asked]


def _with_verdict(facts: Facts, move: Move) -> Move:
    """The move with what was said of its version, which the ledger knows by the name before a rename."""
    verdict, validator = facts.verdict(move.model, move.version)
    return replace(move, verdict=verdict, validator=validator)


def _out_and_in(move: Move, renamed: Move) -> tuple[Move, Move]:
    """`move` of a version out of the model's old name and into its new one."""
    if move.kind == "alias":
        number = str(move.version)
        return (
            replace(move, model=renamed.before, before=number, after=""),
            replace(move, model=renamed.after, before="", after=number),
        )
    return replace(move, model=renamed.before), replace(move, model=renamed.after)


def _of_version(facts: Facts, asked: Move) -> Move:
    """The move of an alias or a tag, with what its version is; a version that is deleted besides is judged as that."""
    found = facts.version(asked.model, asked.version)
    if found is None:
        return asked
    stage, run = found
    mine = tuple(alias for alias, number in facts.aliases(asked.model) if number == asked.version)
    return replace(asked, stage=stage, trainer=facts.trainer(run), aliases=mine)


def _all_that_it_says(facts: Facts, asked: Move) -> Iterator[Move]:
    """A renamed model's versions in a stage, and its aliases; their rows bear the new name already."""
    for number, stage, run in facts.staged(asked.after):
        yield _with_verdict(facts, replace(asked, version=number, stage=stage, trainer=facts.trainer(run)))
    for alias, number in facts.aliases(asked.after):
        named = _with_verdict(facts, replace(asked, version=number))
        yield _of_version(facts, replace(named, kind="alias", model=asked.after, subject=alias))


def _text(value: object) -> str:
    return "" if value is None else str(value)
