"""What the gate would say of moves that nobody has made yet: the changes that the store would note, judged as it does.

Called by `registrar` for the preview; the contract tests hold it against the store itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.evidence.recorded import alias_subject, stage_subject, tag_subject
from mlflow_hydraulic.moves import ARCHIVED, Move, after_all
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.plugin.caller import Caller
from mlflow_hydraulic.plugin.changes import Change
from mlflow_hydraulic.plugin.moved import Database, moves_of
from mlflow_hydraulic.plugin.passage import Passage
from mlflow_hydraulic.policy import Verdict, judge_all
from mlflow_hydraulic.registry import INTENT_TAGS, RegisteredModel


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The facts of one model as they would be; what the registry does not hold is asked of the database."""

    model_: RegisteredModel
    database: Database

    def version(self, model: str, number: int) -> tuple[str, str] | None:
        found = self.model_.version(number) if model == self.model_.name else None
        return None if found is None else (found.stage, found.run_id)

    def staged(self, model: str) -> Iterable[tuple[int, str, str]]:
        versions = self.model_.versions if model == self.model_.name else ()
        return [(one.number, one.stage, one.run_id) for one in versions if one.stage != "None"]

    def aliases(self, model: str) -> Sequence[tuple[str, int]]:
        return list(self.model_.aliases.items()) if model == self.model_.name else []

    def trainer(self, run_id: str) -> str:
        return self.database.trainer(run_id)

    def verdict(self, model: str, number: int) -> tuple[str, str]:
        return self.database.verdict(model, number)


def verdict_on(
    connection: Connection,
    model: RegisteredModel,
    moves: Sequence[Move],
    configuration: Configuration,
    *,
    who: Who,
    reason: str,
) -> Verdict:
    """The gate's verdict on `moves` of `model` as it is now, made in one transaction by `who`: policy and projects."""
    caller = Caller(user=who.name, reason=reason, logged_in=bool(who.name))
    passage = Passage(connection=connection, who=who, environments=configuration.environments)
    touched: dict[str, None] = {}
    reasons: dict[str, None] = {}
    with Session(connection) as session:
        database = Database(session, model.workspace, configuration.policy.asks_for_verdicts)
        facts = Foreseen(after_all(model, moves), database)
        for change in (change for move in moves for change in changes(model, move)):
            policy = passage.policy(change, configuration.policy)
            verdict = judge_all(moves_of(facts, change, caller), configuration.environments, policy)
            said = passage.objections(change, verdict.environments)
            touched |= dict.fromkeys(verdict.environments)
            reasons |= dict.fromkeys([*said, *verdict.reasons])
    return Verdict(environments=tuple(touched), reasons=tuple(reasons))


def changes(model: RegisteredModel, move: Move) -> Iterator[Change]:
    """What the store would note of `move`: versions that it archives on the side, then itself."""
    if move.kind == "stage":
        for number in move.archives:
            yield _staged(model, number, move.after or "None", ARCHIVED)
        yield _staged(model, move.version, move.before or "None", move.after or "None")
    elif move.kind == "alias":
        before, after = (int(number) if number else None for number in (move.before, move.after))
        yield Change(
            verb="alias",
            subject=alias_subject(model.name, move.name),
            workspace=model.workspace,
            model=model.name,
            version=after or before or 0,
            name=move.name,
            before=before,
            after=after,
        )
    elif move.name in INTENT_TAGS:
        yield Change(
            verb="tag",
            subject=tag_subject(model.name, move.version, move.name),
            workspace=model.workspace,
            model=model.name,
            version=move.version,
            name=move.name,
            before=move.before,
            after=move.after,
        )


def _staged(model: RegisteredModel, number: int, before: str, after: str) -> Change:
    found = model.version(number)
    return Change(
        verb="stage",
        subject=stage_subject(model.name, number),
        workspace=model.workspace,
        model=model.name,
        version=number,
        before=before,
        after=after,
        stage=before,
        run_id=found.run_id if found else "",
    )
