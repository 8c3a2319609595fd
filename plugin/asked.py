"""What a change that somebody thinks of would be: the changes that the registry store would note, from MLflow's client.

Called by `hydraulic policy explain`; the contract tests hold it against the store itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from mlflow_hydraulic.errors import BadInput, NotFound
from mlflow_hydraulic.evidence.recorded import alias_subject, stage_subject, tag_subject
from mlflow_hydraulic.plugin.caller import Caller
from mlflow_hydraulic.plugin.changes import STAYS, Change
from mlflow_hydraulic.plugin.errors import from_mlflow
from mlflow_hydraulic.plugin.moved import moves_of
from mlflow_hydraulic.plugin.registry import IS_PROMPT, VERSIONS_PER_PAGE, is_prompt, pages
from mlflow_hydraulic.policy import Move
from mlflow_hydraulic.registry import INTENT_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

VerdictOf = Callable[[str, int], tuple[str, str]]  # a model and a number; the last verdict, and who gave it
ACTIVE_STAGES = ("Staging", "Production")  # the two that MLflow archives others out of


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of one version: exactly one of a stage, an alias, a tag (key, value), or to delete it."""

    stage: str = ""
    archive_existing: bool = False
    alias: str = ""
    tag: tuple[str, str] | None = None
    delete: bool = False


class AskedVersion:
    """One version, over MLflow's client; the facts that `moves_of` asks for. `NotFound` where there is none.

    verdict_of: tells of a version's last verdict; asked only where a rule looks at it.
    """

    def __init__(
        self, client: MlflowClient, model: str, number: int, verdict_of: VerdictOf = lambda *_: ("", "")
    ) -> None:
        self._client, self.number, self._verdict_of = client, number, verdict_of
        with from_mlflow(f"models:/{model}/{number} cannot be read"):
            self.found: ModelVersion = client.get_model_version(model, str(number))
            self.model: RegisteredModel = client.get_registered_model(model)

    def moves(self, asked: Asked, workspace: str, who: Caller, now: datetime) -> tuple[list[Move], str]:
        """All moves that the store would judge, and why nobody may make them, or ""; none where nothing changes."""
        changes = [] if is_prompt(self.model._tags) else self._changes(asked, workspace)
        forbidden = next((change.forbidden for change in changes if change.forbidden), "")
        return [move for change in changes for move in moves_of(self, change, who, now)], forbidden

    def _changes(self, asked: Asked, workspace: str) -> list[Change]:
        if asked.stage:
            return self._transition(asked.stage, workspace, archive=asked.archive_existing)
        if asked.alias:
            return self._alias(asked.alias, self.number, workspace)
        if asked.tag:
            return self._tag(*asked.tag, workspace)
        mine = [alias for alias, number in self.aliases(self.model.name) if number == self.number]
        gone = self._staged(self.number, self.found.current_stage, None, self.found.run_id or "", workspace)
        return [*(change for alias in mine for change in self._alias(alias, None, workspace)), gone]

    def _transition(self, stage: str, workspace: str, *, archive: bool) -> list[Change]:
        if archive and stage not in ACTIVE_STAGES:
            raise BadInput(
                f"--archive-existing with --to {stage}: MLflow archives out of {' and '.join(ACTIVE_STAGES)}"
            )
        others = [
            self._staged(number, stage, "Archived", run, workspace)
            for number, held, run in (self.staged(self.model.name) if archive else ())
            if held == stage and number != self.number
        ]
        if self.found.current_stage == stage:
            return others
        return [*others, self._staged(self.number, self.found.current_stage, stage, self.found.run_id or "", workspace)]

    def _staged(self, number: int, before: str, after: str | None, run: str, workspace: str) -> Change:
        return Change(
            verb="stage" if after else "delete version",
            subject=stage_subject(self.model.name, number),
            workspace=workspace,
            model=self.model.name,
            version=number,
            before=before,
            after=after,
            stage=before,
            run_id=run,
        )

    def _alias(self, alias: str, after: int | None, workspace: str) -> list[Change]:
        before = dict(self.aliases(self.model.name)).get(alias)
        change = Change(
            verb="alias",
            subject=alias_subject(self.model.name, alias),
            workspace=workspace,
            model=self.model.name,
            version=after or before or 0,
            name=alias,
            before=before,
            after=after,
        )
        return [change] if before != after else []

    def _tag(self, key: str, value: str, workspace: str) -> list[Change]:
        before = self.found.tags.get(key)
        change = Change(
            verb="tag",
            subject=tag_subject(self.model.name, self.number, key),
            workspace=workspace,
            model=self.model.name,
            version=self.number,
            name=key,
            before=before,
            after=value,
            forbidden=STAYS if key == IS_PROMPT else "",
        )
        return [change] if before != value and key in (*INTENT_TAGS, IS_PROMPT) else []

    def version(self, model: str, number: int) -> tuple[str, str] | None:
        if number == self.number:
            return self.found.current_stage, self.found.run_id or ""
        return next(((stage, run) for one, stage, run in self.staged(model) if one == number), None)

    def staged(self, model: str) -> Iterable[tuple[int, str, str]]:
        return [one for one in self._versions if one[1] != "None"] if model == self.model.name else []

    @cached_property
    def _versions(self) -> list[tuple[int, str, str]]:
        quote = '"' if "'" in self.model.name else "'"
        with from_mlflow(f"the versions of {self.model.name!r} cannot be read"):
            found = pages(
                self._client.search_model_versions,
                VERSIONS_PER_PAGE,
                filter_string=f"name={quote}{self.model.name}{quote}",
            )
            return [(int(one.version), one.current_stage, one.run_id or "") for one in found]

    def aliases(self, model: str) -> Sequence[tuple[str, int]]:
        return (
            [(alias, int(number)) for alias, number in self.model.aliases.items()] if model == self.model.name else []
        )

    def verdict(self, model: str, number: int) -> tuple[str, str]:
        return self._verdict_of(model, number)

    def trainer(self, run_id: str) -> str:
        if not run_id:
            return ""
        try:
            with from_mlflow(f"run {run_id} cannot be read"):
                return self._client.get_run(run_id).info.user_id or ""
        except NotFound:
            return ""
