"""What projects say of a change in the registry: may its actor make it there? The gate's half that knows people.

Asked by `watched_store` while the change is in the database but not committed, by `foreseen` for one that is not made.
Nothing is asked of a request without a log-in, of a store in a process of one's own, or of an administrator.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag
from sqlalchemy import ColumnElement, Connection, and_, select

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.evidence.ledger import Event
from mlflow_hydraulic.people import members, names
from mlflow_hydraulic.people.rights import Right, Role, Who, refusal, roles_with
from mlflow_hydraulic.people.takes import FACT, JOINS, NAMED, rights_for
from mlflow_hydraulic.plugin.caller import Caller
from mlflow_hydraulic.plugin.changes import Change
from mlflow_hydraulic.policy import Policy

Model = tuple[str, str]  # workspace, name
FORGED = "what runs of a model in a project is told by the controller: log in as an administrator to change {key!r}"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One transaction's answers. joins: its changes of projects, which say where a model was before them."""

    connection: Connection
    who: Who
    environments: Sequence[Environment]
    joins: Sequence[Change] = ()
    _roles: dict[tuple[str, str], Role | None] = field(default_factory=dict)

    def objections(self, change: Change, touched: Collection[str]) -> list[str]:
        """Why the actor may not make `change`, which can change what runs in `touched`; none where they may."""
        if self.who.everywhere:
            return []
        if change.verb == FACT:
            return [FORGED.format(key=change.name)] if self._projects(change) and not self._is_copied(change) else []
        said = self._unknown(change) if change.verb == JOINS else []
        concerned = self._projects(change)
        if change.verb == "register":
            said += self._source(change)
        if change.verb in (NAMED, "rename model"):
            said += self._inherited(change)
        wanted = sorted(rights_for(change.verb, touched, self.environments))
        return [*said, *(one for project in concerned for one in self._lacking(change, project, wanted))]

    def policy(self, change: Change, policy: Policy) -> Policy:
        """`policy` in which the actor's role in the model's project counts as theirs, where that is configured."""
        if not policy.project_roles or self.who.everywhere or not self.who.name:
            return policy
        found = [self._role(change.workspace, project) for project in self._projects(change)]
        mine = tuple(role.value for role in found if role is not None)
        if not mine:
            return policy
        name = self.who.name
        return replace(policy, roles={**policy.roles, name: (*policy.roles.get(name, ()), *mine)})

    def joined(self, caller: Caller) -> list[Event]:
        """The ledger's rows of models that left a project or joined one."""
        return [
            Event(
                verb=JOINS,
                subject=f"projects:/{project}",
                actor=caller.name,
                model=one.model,
                after={"what": what},
                reason=caller.reason,
                workspace=one.workspace,
            )
            for one in self.joins
            for what, tag in (("left", one.before), ("joined", one.after))
            if (project := members.name_of(self.connection, one.workspace, str(tag or "")))
        ]

    def _lacking(self, change: Change, project: str, wanted: Sequence[Right]) -> list[str]:
        role, what = self._role(change.workspace, project), f"project {project!r}"
        if role is None:
            return [f"model {change.model!r} is in a project that is not shared with {self.who.actor!r}: ask its owner"]
        said = (refusal(self.who.actor, role, right, what) for right in wanted)
        return [one for one in said if one]

    def _projects(self, change: Change) -> list[str]:
        """The projects that the model is in now and was in before this transaction."""
        name = str(change.after) if change.verb == "rename model" else change.model
        was = [str(one.before) for one in self.joins if _about(one) == (change.workspace, name) and one.before]
        now = members.project_of(self.connection, change.workspace, name)
        found = [members.name_of(self.connection, change.workspace, tag) for tag in was[:1]]
        return list(dict.fromkeys(project for project in (now, *found) if project))

    def _role(self, workspace: str, project: str) -> Role | None:
        key = (workspace, project)
        if key not in self._roles:
            self._roles[key] = members.role_of(self.connection, workspace, project, self.who)
        return self._roles[key]

    def _unknown(self, change: Change) -> list[str]:
        """A project that nobody made yet would be that of whoever makes it."""
        if change.after is None or members.name_of(self.connection, change.workspace, str(change.after)):
            return []
        return [f"there is no project {change.after!r}: make it first, or ask its owner to share it"]

    def _source(self, change: Change) -> list[str]:
        """A version made of one of another model's shows what is in that: it takes leave to see it."""
        source = _model_in(str(change.after))
        project = members.project_of(self.connection, change.workspace, source) if source else ""
        if not project or self._role(change.workspace, project) is not None:
            return []
        return [f"model {source!r} is not there, or not shared with {self.who.actor!r}"]

    def _inherited(self, change: Change) -> list[str]:
        """What is on record of a name is its next bearer's: it stays with the project that had it."""
        project = names.left_by(self.connection, change.workspace, str(change.after), self.who.actor)
        role = self._role(change.workspace, project) if project else None
        if project is None or (role and Right.MODELS in role.rights):
            return []
        return [
            f"the name {change.after!r} was that of a model in a project: to take it takes {roles_with(Right.MODELS)} "
            f"there, or an administrator; take another name"
        ]

    def _is_copied(self, change: Change) -> bool:
        """Whether the tag came with a copy of a version, which MLflow makes with all of the tags that were on it."""
        made = select(SqlModelVersion.source).where(_is(SqlModelVersion, change.workspace, change.model))
        made = made.where(SqlModelVersion.version == change.version)
        model, number = _version_in(self.connection.execute(made).scalar() or "")
        if change.before is not None or not model:
            return False
        tag = SqlModelVersionTag
        held = select(tag.value).where(
            *_is(tag, change.workspace, model), tag.version == number, tag.key == change.name
        )
        return bool(self.connection.execute(held).scalar() == change.after)


def _about(change: Change) -> Model:
    return change.workspace, change.model


def _is(table: Any, workspace: str, model: str) -> ColumnElement[bool]:  # Any: MLflow's tables are untyped
    return and_(table.workspace == workspace, table.name == model)


def _model_in(source: str) -> str:
    """The model in "models:/name/3", "models:/name/Production" or "models:/name@champion"; "" for something else.

    By MLflow's own reading, which also takes "models:///name/3" and "MODELS:/name/3".
    """
    try:
        return _parse_model_uri(source).name or ""
    except MlflowException:
        return ""


def _version_in(source: str) -> tuple[str, int]:
    """Model and number in "models:/name/3"; "" where the source is something else."""
    name, _, number = source.removeprefix("models:/").partition("/")
    is_one = source.startswith("models:/") and number.isascii() and number.isdigit()
    return (name, int(number)) if is_one else ("", 0)
