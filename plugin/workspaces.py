"""MLflow's workspace store with one more refusal: a workspace whose models are in use is not deleted.

MLflow deletes or moves all registered models of a workspace in sessions of this store's, past gate and ledger. Put into
the server by `app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, STAGE_NONE
from mlflow.entities.workspace import WorkspaceDeletionMode
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from mlflow.store.workspace.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Connection, exists, inspect, select
from sqlalchemy.orm import Session

from mlflow_hydraulic.errors import Refused
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.recorded import hold_head
from mlflow_hydraulic.evidence.tables import ledger_head
from mlflow_hydraulic.plugin.errors import translated
from mlflow_hydraulic.plugin.registry import IS_PROMPT
from mlflow_hydraulic.registry import INTENT_TAGS

_deleting: ContextVar[str] = ContextVar("hydraulic_deleting", default="")


class WatchedWorkspaces(SqlAlchemyStore):  # type: ignore[misc]  # MLflow is untyped
    """MLflow's own, but for what it refuses to delete."""

    def __init__(self, db_uri: str) -> None:
        super().__init__(database.plain_uri(db_uri))
        open_session = self.ManagedSessionMaker  # type: ignore[has-type]  # MLflow's, made just now
        self.ManagedSessionMaker = lambda read_only=True: (
            open_session(read_only=True) if read_only else _checked(open_session(read_only=False))
        )

    def delete_workspace(
        self, workspace_name: str, mode: WorkspaceDeletionMode = WorkspaceDeletionMode.RESTRICT
    ) -> None:
        """Delete it as MLflow does; 403 where that would delete or move models whose versions are in use."""
        token = _deleting.set(workspace_name if mode != WorkspaceDeletionMode.RESTRICT else "")
        try:
            super().delete_workspace(workspace_name, mode)
        finally:
            _deleting.reset(token)


def open_workspaces(workspace_uri: str) -> WatchedWorkspaces:
    """What MLflow's server opens for the URI of a database."""
    return WatchedWorkspaces(workspace_uri)


@contextmanager
def _checked(opened: AbstractContextManager[Session]) -> Iterator[Session]:
    """`opened`; where a workspace is deleted in it, no move is made from the check to its end."""
    with opened as session:
        if workspace := _deleting.get():
            connection = session.connection()
            if inspect(connection).has_table(ledger_head.name):  # a database of workspaces alone has none
                hold_head(connection)
            with translated():
                refuse_in_use(connection, workspace)
        yield session


def refuse_in_use(connection: Connection, workspace: str) -> None:
    """`Refused` where a model of `workspace` has a version in a stage, an alias, or a tag that says what is wanted."""
    models = sorted({name for query in _in_use(workspace) for (name,) in connection.execute(query)})
    if models:
        named = ", ".join(map(repr, models[:5])) + (f" and {len(models) - 5} more" if len(models) > 5 else "")
        raise Refused(
            f"Not allowed: workspace {workspace!r} holds models that are in use ({named}), and deleting it would "
            f"change them past policy and ledger: first delete these models, or their aliases, hydraulic tags and "
            f"versions in a stage"
        )


def _in_use(workspace: str) -> list[Any]:  # Any: SQLAlchemy's select over untyped tables
    version, alias, tag = SqlModelVersion, SqlRegisteredModelAlias, SqlModelVersionTag
    kept = exists().where(
        version.workspace == workspace,
        version.name == tag.name,
        version.version == tag.version,
        version.current_stage != STAGE_DELETED_INTERNAL,
    )
    return [
        query.where(~_prompt(table, workspace)).distinct()
        for table, query in (
            (
                version,
                select(version.name).where(
                    version.workspace == workspace, version.current_stage.not_in((STAGE_NONE, STAGE_DELETED_INTERNAL))
                ),
            ),
            (alias, select(alias.name).where(alias.workspace == workspace)),
            (tag, select(tag.name).where(tag.workspace == workspace, tag.key.in_(INTENT_TAGS), kept)),
        )
    ]


def _prompt(table: Any, workspace: str) -> Any:
    mark = SqlRegisteredModelTag
    return exists().where(
        mark.workspace == workspace, mark.name == table.name, mark.key == IS_PROMPT, mark.value == "true"
    )
