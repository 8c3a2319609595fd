"""MLflow's SQL registry store with the gate before every change of intent and the ledger row in its transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.recorded import hold_head
from mlflow_hydraulic.people.takes import JOINS
from mlflow_hydraulic.plugin import touches
from mlflow_hydraulic.plugin.caller import Caller, caller
from mlflow_hydraulic.plugin.changes import Change, noted, watch
from mlflow_hydraulic.plugin.errors import translated
from mlflow_hydraulic.plugin.moved import Database, moves_of
from mlflow_hydraulic.plugin.passage import Passage
from mlflow_hydraulic.plugin.users import who_is
from mlflow_hydraulic.policy import Move, Verdict, judge_all
from mlflow_hydraulic.settings import read_settings, read_tables

log = logging.getLogger("hydraulic.registry")
OpenSession = Callable[..., AbstractContextManager[Session]]
_together: ContextVar[tuple[object, Session] | None] = ContextVar("hydraulic_together", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One change, and what the policy says of every move that it means."""

    change: Change
    verdict: Verdict


class RefusedMove(MlflowException):  # type: ignore[misc]  # MlflowException is untyped
    """The gate said no: 403 for REST and Python, a toast with all reasons in MLflow's page.

    reason_wanted, in the answer's JSON: a reason is all that is missing; the page asks for it.
    """

    def __init__(self, refused: Sequence[Judged], *, reason_wanted: bool = False) -> None:
        reasons = dict.fromkeys(reason for judged in refused for reason in judged.verdict.reasons)
        said = {"reason_wanted": True} if reason_wanted else {}
        super().__init__(f"Not allowed: {'; '.join(reasons)}", error_code=PERMISSION_DENIED, **said)
        self.refused = tuple(refused)


class WatchedStoreMixin:
    """Every writing session of the store: it queues for the ledger, and what it changed is judged before it commits."""

    engine: Engine

    def __init__(self, db_uri: str) -> None:
        with translated():
            self._configuration: Configuration = read_configuration(read_tables())
        super().__init__(database.plain_uri(db_uri))  # type: ignore[call-arg]
        with translated():
            database.ready(self.engine)
        open_session: OpenSession = self.ManagedSessionMaker  # type: ignore[has-type]  # MLflow's, made just now
        self._open_session = open_session
        self.ManagedSessionMaker = self._session

    def _session(self, read_only: bool = True) -> AbstractContextManager[Session]:
        shared = _together.get()
        if shared is not None and shared[0] is self:
            return _flushed(shared[1])
        return self._open_session(read_only=True) if read_only else self._watched(self._open_session)

    @contextmanager
    def together(self) -> Iterator[Connection]:
        """One transaction for every call of this store's within: judged at its end, made as a whole or not at all.

        Nobody else moves anything from here on until it ends. The connection sees what was done so far.
        """
        with self._watched(self._open_session) as session:
            token = _together.set((self, session))
            try:
                yield session.connection()
            finally:
                _together.reset(token)

    @contextmanager
    def _watched(self, open_session: OpenSession) -> Iterator[Session]:
        who = caller()
        try:
            with open_session(read_only=False) as session:
                hold_head(session.connection())  # before MLflow reads: whatever it finds stays true until it commits
                watch(session)
                touches.watch(session)
                yield session
                self._settle(session, who)
        except RefusedMove as error:
            self._record(error, who)
            raise

    def _settle(self, session: Session, who: Caller) -> None:
        """Judge what the session changed and write it down; `RefusedMove` where the policy says no to any of it."""
        intent = noted(session)
        quiet = touches.touched(session, intent)
        asks = self._configuration.policy.asks_for_verdicts
        changes = [(change, moves_of(Database(session, change.workspace, asks), change, who)) for change in intent]
        passage = self._passage(session, quiet, who)
        judged = [self._judged(passage, *one) for one in changes]
        judged += [self._judged(passage, one, (), self._taken_along(session, one, who)) for one in quiet]
        refused = [one for one in judged if not one.verdict.allowed]
        if refused:
            given = [(change, [replace(move, reason="given") for move in moves]) for change, moves in changes]
            raise RefusedMove(
                refused,
                reason_wanted=not any(one.change in quiet for one in refused)
                and all(self._judged(passage, *one).verdict.allowed for one in given),
            )
        with translated():
            written = [_event(one, who) for one in judged if one.change not in quiet]
            append(session.connection(), [*written, *passage.joined(who)])

    def _passage(self, session: Session, quiet: Sequence[Change], who: Caller) -> Passage:
        return Passage(
            connection=session.connection(),
            who=who_is(who),
            environments=self._configuration.environments,
            joins=[one for one in quiet if one.verb == JOINS],
        )

    def _taken_along(self, session: Session, change: Change, who: Caller) -> Sequence[str]:
        """Where a model that leaves a project is asked for: those who may not change that may not take it away."""
        if change.verb != JOINS or change.before is None:
            return ()
        renamed = replace(change, verb="rename model", before=change.model, after=change.model)
        moves = moves_of(Database(session, change.workspace), renamed, who)
        return judge_all(moves, self._configuration.environments, self._configuration.policy).environments

    def _judged(self, passage: Passage, change: Change, moves: Sequence[Move], taken: Sequence[str] = ()) -> Judged:
        if change.forbidden:
            return Judged(change=change, verdict=Verdict(environments=(), reasons=(change.forbidden,)))
        policy = passage.policy(change, self._configuration.policy)
        verdict = judge_all(moves, self._configuration.environments, policy)
        said = passage.objections(change, taken or verdict.environments)
        return Judged(change=change, verdict=replace(verdict, reasons=(*said, *verdict.reasons)))

    def _record(self, error: RefusedMove, who: Caller) -> None:
        """Write the refusal down, in a transaction of its own; where that fails it is a refusal all the same."""
        try:
            with self.engine.begin() as connection:
                append(connection, [_event(one, who, refused=True) for one in error.refused])
        except (SQLAlchemyError, HydraulicError):
            log.exception("not in the ledger: %s (asked by %s)", error.message, who.name)


@contextmanager
def _flushed(session: Session) -> Iterator[Session]:
    """A session that somebody else commits: what was changed is in the database for those who look next."""
    yield session
    session.flush()


class WatchedStore(WatchedStoreMixin, SqlAlchemyStore):  # type: ignore[misc]
    """The watched registry store of one workspace."""


class WatchedWorkspaceStore(WatchedStoreMixin, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    """The watched registry store of many workspaces."""


def make_store(store_uri: str, read_uri: str | None = None) -> WatchedStore | WatchedWorkspaceStore:
    """The store for `store_uri`, with or without the leading "hydraulic+".

    read_uri, a read replica, is not used: what lags behind would have the controller write down moves nobody made.
    A HYDRAULIC_DATABASE that names another database is refused: there would be two ledgers.
    """
    with translated():
        database.require_same(store_uri, read_settings().database)
    if read_uri:
        log.warning("the registry is read from its own database, not from the read replica: a replica may lag behind")
    kind = WatchedWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else WatchedStore
    return kind(database.plain_uri(store_uri))


def _event(judged: Judged, who: Caller, *, refused: bool = False) -> Event:
    change, verdict = judged.change, judged.verdict
    asked = {"asked": change.after, "verb": change.verb, "refused": list(verdict.reasons)}
    return Event(
        verb="refused" if refused else change.verb,
        subject=change.subject,
        actor=who.name,
        model=change.model,
        environment=",".join(verdict.environments),
        before=change.before,
        after=asked if refused else change.after,
        reason=who.reason,
        workspace=change.workspace,
    )
