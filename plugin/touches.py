"""Changes of the registry that are no intent and still take a right in a project: versions, words, tags, membership.

Seen where SQLAlchemy writes them, as `changes` sees intent; judged by `passage` where somebody is logged in. Only what
joins or leaves a project is a row of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelTag,
)
from sqlalchemy import Connection, event
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import get_history

from mlflow_hydraulic.evidence.recorded import stage_subject, tag_subject
from mlflow_hydraulic.people.members import PROJECT_TAG
from mlflow_hydraulic.people.takes import FACT, JOINS, NAMED
from mlflow_hydraulic.plugin.changes import Change
from mlflow_hydraulic.plugin.registry import IS_PROMPT
from mlflow_hydraulic.registry import INTENT_TAGS, TAG_PREFIX

TOUCHES = "hydraulic.touches"


def watch(session: Session) -> None:
    """Begin to note what `session` touches; sessions that nobody watches are left alone."""
    session.info[TOUCHES] = []


def touched(session: Session, changes: Sequence[Change]) -> list[Change]:
    """What a watched session touched, flushed but not committed. changes: its intent, by `changes.noted`.

    What goes with a model or version that is deleted as a whole is not told again.
    """
    session.flush()
    found: list[Change] = session.info[TOUCHES]
    models = {(one.workspace, one.model) for one in changes if one.verb == "delete model"}
    versions = {(one.workspace, one.model, one.version) for one in changes if one.verb == "delete version"}
    return [
        one
        for one in found
        if one.verb == JOINS
        or ((one.workspace, one.model) not in models and (one.workspace, one.model, one.version) not in versions)
    ]


def is_fact(key: str) -> bool:
    """Whether a version's tag is one of those by which a controller says what runs: hydraulic.<environment>.<word>."""
    return key.startswith(TAG_PREFIX) and key.count(".") > 1 and key not in INTENT_TAGS


def _note(
    target: Any, verb: str, subject: str, *, before: Any = None, after: Any = None, name: str = "", version: int = 0
) -> None:
    session = object_session(target)
    if session is None or TOUCHES not in session.info:
        return
    session.info[TOUCHES].append(
        Change(
            verb=verb,
            subject=subject,
            workspace=target.workspace,
            model=target.name,
            version=version,
            name=name,
            before=before,
            after=after,
        )
    )


@event.listens_for(Session, "after_rollback")
def _after_rollback(session: Session) -> None:
    if TOUCHES in session.info:
        watch(session)


@event.listens_for(SqlModelVersion, "after_insert")
def _version_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    subject = stage_subject(target.name, target.version)
    _note(target, "register", subject, after=target.source or "", version=target.version)


@event.listens_for(SqlModelVersion, "after_update")
def _version_described(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    if get_history(target, "description").has_changes():
        subject = stage_subject(target.name, target.version)
        _note(target, "describe", subject, after=target.description, version=target.version)


@event.listens_for(SqlRegisteredModel, "after_insert")
def _model_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note(target, NAMED, f"models:/{target.name}", after=target.name)


@event.listens_for(SqlRegisteredModel, "after_update")
def _model_described(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    if get_history(target, "description").has_changes():
        _note(target, "describe", f"models:/{target.name}", after=target.description)


@event.listens_for(SqlModelVersionTag, "after_insert")
def _tag_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, None, target.value)


@event.listens_for(SqlModelVersionTag, "after_update")
def _tag_moved(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, _was(target), target.value)


@event.listens_for(SqlModelVersionTag, "after_delete")
def _tag_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_tag(target, target.value, None)


def _note_tag(target: Any, before: str | None, after: str | None) -> None:
    if before == after or target.key in (*INTENT_TAGS, IS_PROMPT):
        return
    subject = tag_subject(target.name, target.version, target.key)
    verb = FACT if is_fact(target.key) else "label"
    _note(target, verb, subject, before=before, after=after, name=target.key, version=target.version)


@event.listens_for(SqlRegisteredModelTag, "after_insert")
def _model_tag_made(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, None, target.value)


@event.listens_for(SqlRegisteredModelTag, "after_update")
def _model_tag_moved(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, _was(target), target.value)


@event.listens_for(SqlRegisteredModelTag, "after_delete")
def _model_tag_deleted(_mapper: Mapper[Any], _connection: Connection, target: Any) -> None:
    _note_model_tag(target, target.value, None)


def _note_model_tag(target: Any, before: str | None, after: str | None) -> None:
    if before == after or target.key == IS_PROMPT:
        return
    verb = JOINS if target.key.casefold() == PROJECT_TAG else "label"  # MySQL finds either
    _note(target, verb, f"models:/{target.name}#{target.key}", before=before, after=after, name=target.key)


def _was(target: Any) -> Any:
    """A tag's value before this flush."""
    history = get_history(target, "value")
    return history.deleted[0] if history.deleted else target.value
