"""Every change of intent in a session of the registry store, seen where SQLAlchemy writes it.

Page, REST, Python, versions archived on the side, aliases that vanish with a version: all pass here. Only sessions that
`watched_store` watches are looked at; MLflow's own store in the same process is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from sqlalchemy import Connection, event, select
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import get_history

from mlflow_hydraulic.evidence.recorded import alias_subject, stage_subject, tag_subject
from mlflow_hydraulic.plugin.registry import IS_PROMPT, is_prompt
from mlflow_hydraulic.registry import INTENT_TAGS

CHANGES, PROMPTS, MADE = "hydraulic.changes", "hydraulic.prompts", "hydraulic.made"
STAYS = f"what is a model stays one, and so does a prompt: the tag {IS_PROMPT} is set when it is created, not later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of intent. `verb` and `subject` as the ledger writes them; `version` 0 where none is meant.

    forbidden: why nobody may make it, whatever the policy says; "" for all that the policy judges.
    """

    verb: str
    subject: str
    workspace: str
    model: str
    version: int = 0
    name: str = ""
    before: Any = None  # Any: a JSON value
    after: Any = None
    stage: str = "None"
    run_id: str = ""
    forbidden: str = ""


def watch(session: Session) -> None:
    """Begin to note the changes of `session`; sessions that nobody watches are left alone."""
    session.info[CHANGES], session.info[PROMPTS], session.info[MADE] = [], set(), set()


def noted(session: Session) -> list[Change]:
    """All changes of a watched session, flushed but not committed; none of prompts, which are not models.

    What turns a model into a prompt or back would take it past the gate, and is noted where it is not made or deleted
    here as a whole.
    """
    session.flush()
    changes: list[Change] = session.info[CHANGES]
    whole = session.info[MADE] | {(one.workspace, one.model) for one in changes if one.verb == "delete model"}
    return [
        change
        for change in changes
        if ((change.workspace, change.model) not in whole if _turns(change) else not _of_prompt(session, change))
    ]


def _turns(change: Change) -> bool:
    return bool(change.forbidden) and not change.version


def _note(target: object, change: Change) -> None:
    session = object_session(target)
    if session is not None and CHANGES in session.info:
        session.info[CHANGES].append(change)


def _of_prompt(session: Session, change: Change) -> bool:
    name = change.after if change.verb == "rename model" else change.model
    key = (change.workspace, str(name))
    return key in session.info[PROMPTS] or _is_prompt(session, *key)


def _is_prompt(session: Session, workspace: str, name: str) -> bool:
    tag = SqlRegisteredModelTag
    found = select(tag.value).where(tag.workspace == workspace, tag.name == name, tag.key == IS_PROMPT)
    return is_prompt({IS_PROMPT: session.execute(found).scalar()})


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, _context: object, _instances: object) -> None:
    """What tells a prompt from a model is deleted with it: look before."""
    if CHANGES not in session.info:
        return
    for model in session.deleted:
        if isinstance(model, SqlRegisteredModel) and _is_prompt(session, model.workspace, model.name):
            session.info[PROMPTS].add((model.workspace, model.name))


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session) -> None:
    if CHANGES in session.info:
        watch(session)


@event.listens_for(SqlRegisteredModel, "after_insert")
def _model_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    session = object_session(target)
    if session is not None and MADE in session.info:
        session.info[MADE].add((target.workspace, target.name))


@event.listens_for(SqlModelVersion, "after_update")
def _version_updated(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    before, after = _moved(target, "current_stage")
    if before == after:
        return
    deleted = after == STAGE_DELETED_INTERNAL
    _note(
        target,
        Change(
            verb="delete version" if deleted else "stage",
            subject=stage_subject(target.name, target.version),
            workspace=target.workspace,
            model=target.name,
            version=target.version,
            before=before,
            after=None if deleted else after,
            stage=before,
            run_id=_first(get_history(target, "run_id").deleted) or target.run_id or "",
        ),
    )


@event.listens_for(SqlRegisteredModel, "after_delete")
def _model_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note(
        target,
        Change(
            verb="delete model",
            subject=f"models:/{target.name}",
            workspace=target.workspace,
            model=target.name,
            before=target.name,
        ),
    )


@event.listens_for(SqlModelVersion, "after_delete")
def _version_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    if target.current_stage == STAGE_DELETED_INTERNAL:
        return
    _note(
        target,
        Change(
            verb="delete version",
            subject=stage_subject(target.name, target.version),
            workspace=target.workspace,
            model=target.name,
            version=target.version,
            before=target.current_stage,
            stage=target.current_stage,
            run_id=target.run_id or "",
        ),
    )


@event.listens_for(SqlRegisteredModel, "after_update")
def _model_updated(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    before, after = _moved(target, "name")
    if before != after:
        _note(
            target,
            Change(
                verb="rename model",
                subject=f"models:/{before}",
                workspace=target.workspace,
                model=before,
                before=before,
                after=after,
            ),
        )


@event.listens_for(SqlRegisteredModelAlias, "after_insert")
def _alias_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_alias(target, None, target.version)


@event.listens_for(SqlRegisteredModelAlias, "after_update")
def _alias_moved(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_alias(target, *_moved(target, "version"))


@event.listens_for(SqlRegisteredModelAlias, "after_delete")
def _alias_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_alias(target, target.version, None)


def _note_alias(target: Any, before: int | None, after: int | None) -> None:
    if before == after:
        return
    _note(
        target,
        Change(
            verb="alias",
            subject=alias_subject(target.name, target.alias),
            workspace=target.workspace,
            model=target.name,
            version=after or before or 0,
            name=target.alias,
            before=before,
            after=after,
        ),
    )


@event.listens_for(SqlModelVersionTag, "after_insert")
def _tag_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, None, target.value)


@event.listens_for(SqlModelVersionTag, "after_update")
def _tag_moved(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, *_moved(target, "value"))


@event.listens_for(SqlModelVersionTag, "after_delete")
def _tag_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, target.value, None)


def _note_tag(target: Any, before: str | None, after: str | None) -> None:
    hides = target.key == IS_PROMPT and after is not None  # MLflow's search leaves out a model with such a version
    if before == after or not (hides or target.key in INTENT_TAGS):
        return
    _note(
        target,
        Change(
            verb="tag",
            subject=tag_subject(target.name, target.version, target.key),
            workspace=target.workspace,
            model=target.name,
            version=target.version,
            name=target.key,
            before=before,
            after=after,
            forbidden=STAYS if hides else "",
        ),
    )


@event.listens_for(SqlRegisteredModelTag, "after_insert")
def _model_tag_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, None, target.value)


@event.listens_for(SqlRegisteredModelTag, "after_update")
def _model_tag_moved(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, *_moved(target, "value"))


@event.listens_for(SqlRegisteredModelTag, "after_delete")
def _model_tag_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, target.value, None)


def _note_model_tag(target: Any, before: str | None, after: str | None) -> None:
    if before == after or target.key != IS_PROMPT:
        return
    _note(
        target,
        Change(
            verb="tag",
            subject=f"models:/{target.name}#{IS_PROMPT}",
            workspace=target.workspace,
            model=target.name,
            name=IS_PROMPT,
            before=before,
            after=after,
            forbidden=STAYS,
        ),
    )


def _moved(target: object, attribute: str) -> tuple[Any, Any]:
    """(before, after) of one attribute in this flush; equal where it did not change."""
    history = get_history(target, attribute)
    now = getattr(target, attribute)
    return (history.deleted[0] if history.deleted else now), now


def _first(values: Sequence[Any] | None) -> Any:
    return values[0] if values else None
