"""What a change means to the policy: its moves, with stage, aliases and trainer of the versions that it concerns.

Called by `watched_store` while the change is in the database but not committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, STAGE_NONE
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import select
from sqlalchemy.orm import Session

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.plugin.caller import Caller
from mlflow_hydraulic.plugin.changes import Change
from mlflow_hydraulic.policy import Move


def moves_of(session: Session, change: Change, who: Caller) -> list[Move]:
    """One move, but for a renamed model: all that its stages and aliases say leaves one name and comes to another."""
    asked = Move(
        kind=change.verb,  # type: ignore[arg-type]  # the verbs of `changes` are the policy's kinds
        model=change.model,
        version=change.version,
        actor=who.user,
        reason=who.reason,
        now=utc_now(),
        subject=change.name,
        before=_text(change.before),
        after=_text(change.after),
        stage=change.stage,
        trainer=_trainer(session, change.run_id),
    )
    if change.verb == "rename model":
        return [one for move in _all_that_it_says(session, change.workspace, asked) for one in _out_and_in(move, asked)]
    if change.verb in ("alias", "tag"):
        return [_of_version(session, change.workspace, asked)]
    return [asked]


def _out_and_in(move: Move, renamed: Move) -> tuple[Move, Move]:
    """`move` of a version out of the model's old name and into its new one."""
    if move.kind == "alias":
        number = str(move.version)
        return (
            replace(move, model=renamed.before, before=number, after=""),
            replace(move, model=renamed.after, before="", after=number),
        )
    return replace(move, model=renamed.before), replace(move, model=renamed.after)


def _of_version(session: Session, workspace: str, asked: Move) -> Move:
    """The move of an alias or a tag, with what its version is; a version that is deleted besides is judged as that."""
    row = session.execute(
        select(SqlModelVersion.current_stage, SqlModelVersion.run_id).where(
            SqlModelVersion.workspace == workspace,
            SqlModelVersion.name == asked.model,
            SqlModelVersion.version == asked.version,
        )
    ).one_or_none()
    if row is None:
        return asked
    mine = tuple(alias for alias, number in _aliases(session, workspace, asked.model) if number == asked.version)
    return replace(asked, stage=row.current_stage, trainer=_trainer(session, row.run_id), aliases=mine)


def _all_that_it_says(session: Session, workspace: str, asked: Move) -> Iterator[Move]:
    """A renamed model's versions in a stage, and its aliases; their rows bear the new name already."""
    nothing = (STAGE_NONE, STAGE_DELETED_INTERNAL)
    for number, stage, run_id in session.execute(
        select(SqlModelVersion.version, SqlModelVersion.current_stage, SqlModelVersion.run_id).where(
            SqlModelVersion.workspace == workspace,
            SqlModelVersion.name == asked.after,
            SqlModelVersion.current_stage.not_in(nothing),
        )
    ):
        yield replace(asked, version=number, stage=stage, trainer=_trainer(session, run_id))
    for alias, number in _aliases(session, workspace, asked.after):
        yield _of_version(
            session, workspace, replace(asked, kind="alias", model=asked.after, version=number, subject=alias)
        )


def _aliases(session: Session, workspace: str, model: str) -> Sequence[tuple[str, int]]:
    table = SqlRegisteredModelAlias
    query = select(table.alias, table.version).where(table.workspace == workspace, table.name == model)
    return [(alias, number) for alias, number in session.execute(query)]


def _trainer(session: Session, run_id: str) -> str:
    """The user of the run that made the version; "" where there is none, or where runs are kept elsewhere."""
    if not run_id:
        return ""
    return session.execute(select(SqlRun.user_id).where(SqlRun.run_uuid == run_id)).scalar() or ""


def _text(value: object) -> str:
    return "" if value is None else str(value)
