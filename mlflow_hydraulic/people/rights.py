"""Rights and the roles that hold them. Pure; asked by the pages, the REST API and the registry's gate.

A user has at most one role in a project. Without a log-in nobody can be told apart, and everybody may do everything,
as in MLflow itself; so may MLflow's administrators. A model that is in no project has MLflow's own permissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ANONYMOUS = "anonymous"


class Right(str, Enum):
    """One kind of thing to do in a project; the value is what refusals say."""

    VIEW = "see it"
    COMMENT = "comment"
    TAG = "change tags"
    MODELS = "add and remove models"
    DEPLOY = "deploy to environments that others promote from"
    PROMOTE = "deploy to every environment, and end or roll back deployments"
    ALERTS = "acknowledge, mute and close alerts"
    VALIDATE = "give a verdict on a version"
    AUDIT = "export its events"
    SHARE = "share it, and change roles"
    OWN = "remove it"


class Role(str, Enum):
    """A user's role in a project, as it is stored."""

    READER = "reader"
    CONTRIBUTOR = "contributor"
    OPERATOR = "operator"
    VALIDATOR = "validator"
    OWNER = "owner"
    AUDITOR = "auditor"

    @property
    def rights(self) -> frozenset[Right]:
        return RIGHTS[self]


_CONTRIBUTOR = frozenset({Right.VIEW, Right.COMMENT, Right.TAG, Right.MODELS, Right.DEPLOY})
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.READER: frozenset({Right.VIEW}),
    Role.CONTRIBUTOR: _CONTRIBUTOR,
    Role.OPERATOR: _CONTRIBUTOR | {Right.PROMOTE, Right.ALERTS},
    Role.VALIDATOR: frozenset({Right.VIEW, Right.COMMENT, Right.VALIDATE}),
    Role.OWNER: frozenset(Right),
    Role.AUDITOR: frozenset({Right.VIEW, Right.AUDIT}),
}
MLFLOW_ROLES: Mapping[str, Role] = {"read": Role.READER, "edit": Role.OPERATOR, "manage": Role.OWNER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who asks. name: of the log-in, "" where there is none. admin: one of MLflow's administrators."""

    name: str = ""
    admin: bool = False

    @property
    def actor(self) -> str:
        """The ledger's actor."""
        return self.name or ANONYMOUS

    @property
    def everywhere(self) -> bool:
        """Whether no role limits them."""
        return self.admin or not self.name


def roles_with(right: Right) -> str:
    """The roles that hold `right`, for a refusal: "operator or owner"."""
    return " or ".join(role.value for role in Role if right in role.rights)


def refusal(actor: str, role: Role, right: Right, what: str) -> str:
    """Why somebody with `role` in `what` may not do something there, in words; "" where they may."""
    if right in role.rights:
        return ""
    return (
        f"{actor!r} is {role.value} of {what} and may not {right.value}: that takes {roles_with(right)}; ask its owner"
    )
