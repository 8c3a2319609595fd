"""MLflow's SQL registry store with the gate before every change of intent and the ledger row in its transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.store.tracking.dbmodels.models import SqlRun
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.plugin.caller import Caller, caller
from mlflow_hydraulic.plugin.changes import Change, judged
from mlflow_hydraulic.policy import Move, Verdict, judge
from mlflow_hydraulic.settings import read_tables

Method = TypeVar("Method", bound=Callable[..., Any])
WATCHED = (
    "transition_model_version_stage",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_model_version_tag",
    "delete_model_version_tag",
    "delete_model_version",
    "delete_registered_model",
    "rename_registered_model",
    "create_model_version",
)


class RefusedMove(MlflowException):  # type: ignore[misc]  # MlflowException is untyped
    """The gate said no: 403 for REST and Python, a toast with the reasons in MLflow's page.

    reason_wanted, in the answer's JSON: the environments, where a reason is all that is missing; the page asks for it.
    """

    def __init__(self, change: Change, verdict: Verdict, *, reason_wanted: bool = False) -> None:
        said = {"reason_wanted": " and ".join(verdict.environments).upper()} if reason_wanted else {}
        super().__init__(f"Not allowed: {'; '.join(verdict.reasons)}", error_code=PERMISSION_DENIED, **said)
        self.change = change
        self.verdict = verdict


class WatchedStoreMixin:
    """Wraps each changing method; what it changed is judged and recorded just before its session commits."""

    engine: Engine

    def __init__(self, db_uri: str, read_db_uri: str | None = None) -> None:
        super().__init__(database.plain_uri(db_uri), read_db_uri=read_db_uri)  # type: ignore[call-arg]
        database.ready(self.engine)
        self._configuration: Configuration = read_configuration(read_tables())

    def _judge(self, session: Session, changes: Sequence[Change]) -> None:
        who = caller()
        for change in changes:
            move = _move(session, change, who)
            verdict = judge(move, self._configuration.environments, self._configuration.policy)
            if not verdict.allowed:
                given = replace(move, reason="given")
                enough = judge(given, self._configuration.environments, self._configuration.policy).allowed
                raise RefusedMove(change, verdict, reason_wanted=enough)
        append(session.connection(), [self._event(change, who) for change in changes])

    def _event(self, change: Change, who: Caller) -> Event:
        touched = judge(_move(None, change, who), self._configuration.environments, self._configuration.policy)
        return _event(change, who, ",".join(touched.environments))

    def _record_refusal(self, refused: RefusedMove) -> None:
        event = _event(refused.change, caller(), ",".join(refused.verdict.environments), refused.verdict.reasons)
        with self.engine.begin() as connection:
            append(connection, [event])


def _watched(name: str) -> Callable[..., Any]:
    original = getattr(SqlAlchemyStore, name)

    @wraps(original)
    def method(self: WatchedStoreMixin, *args: Any, **kwargs: Any) -> Any:
        try:
            with judged(self._judge):
                return getattr(super(WatchedStoreMixin, self), name)(*args, **kwargs)
        except RefusedMove as refused:
            self._record_refusal(refused)
            raise

    return method


for _name in WATCHED:
    setattr(WatchedStoreMixin, _name, _watched(_name))


class WatchedStore(WatchedStoreMixin, SqlAlchemyStore):  # type: ignore[misc]
    """The watched registry store of one workspace."""


class WatchedWorkspaceStore(WatchedStoreMixin, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    """The watched registry store of many workspaces."""


def make_store(store_uri: str, read_uri: str | None = None) -> WatchedStore | WatchedWorkspaceStore:
    """The store for `store_uri`, with or without the leading "hydraulic+"."""
    kind = WatchedWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else WatchedStore
    return kind(database.plain_uri(store_uri), read_uri)


def _move(session: Session | None, change: Change, who: Caller) -> Move:
    """The change as the policy sees it; trainer and stage are looked up where a session is given."""
    stage, run_id = change.stage, change.run_id
    if session is not None and change.version and change.verb in ("alias", "tag"):
        row = session.execute(
            select(SqlModelVersion.current_stage, SqlModelVersion.run_id).where(
                SqlModelVersion.workspace == change.workspace,
                SqlModelVersion.name == change.model,
                SqlModelVersion.version == change.version,
            )
        ).one_or_none()
        stage, run_id = row if row else (stage, run_id)
    trainer = ""
    if session is not None and run_id:
        trainer = session.execute(select(SqlRun.user_id).where(SqlRun.run_uuid == run_id)).scalar() or ""
    return Move(
        kind=change.verb,  # type: ignore[arg-type]
        model=change.model,
        version=change.version,
        actor=who.user,
        reason=who.reason,
        now=utc_now(),
        subject=change.name,
        before="" if change.before is None else str(change.before),
        after="" if change.after is None else str(change.after),
        stage=stage,
        trainer=trainer,
    )


def _event(change: Change, who: Caller, environments: str, refusal: Sequence[str] = ()) -> Event:
    return Event(
        verb="refused" if refusal else change.verb,
        subject=change.subject,
        actor=who.name,
        model=change.model,
        environment=environments,
        before=change.before,
        after={"asked": change.after, "verb": change.verb, "refused": list(refusal)} if refusal else change.after,
        reason=who.reason,
        workspace=change.workspace,
    )
