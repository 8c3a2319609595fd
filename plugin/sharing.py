"""MLflow's own API and page under the roles of projects: who has no role in a model's project does not find it there.

MLflow's basic-auth asks one thing before it lets a request through or shows a row: which permission somebody has on a
registered model. For models in a project that question is answered here, by the role in it, and MLflow's own grants and
default do not count; all others, runs and experiments keep MLflow's. Whatever is changed is judged by the gate besides.

It is put into private functions of MLflow's, which 3.16 and 3.17 have; with an MLflow without them no server starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from flask import g, has_request_context, request
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE, RESOURCE_DOES_NOT_EXIST
from mlflow.server.handlers import _get_model_registry_store
from mlflow.utils.workspace_context import get_request_workspace

from mlflow_hydraulic.people.members import roles_by_model
from mlflow_hydraulic.people.rights import Right, Role

MODEL, VERSION = "registered_model", "registered_model_version"
READ, UPDATE, DELETE, MANAGE, NOT_DENIED = "read", "update", "delete", "manage", "not_denied"
NEEDED = ("_role_permission_for", "_role_permission_for_known_workspace", "_get_role_permission_or_default")
SEARCH = "_role_based_read_predicate"
AUTHORIZE = "authorize"  # since 3.17
LATER = ("/registered-models/alias", "/model-versions/get-artifact")
WRITES = frozenset({Right.TAG, Right.MODELS, Right.DEPLOY, Right.PROMOTE})
Anything = Any  # MLflow's functions are untyped
KEPT = "hydraulic_roles"


def install(auth: ModuleType) -> None:
    """Make MLflow's basic-auth ask for roles in projects; once in a process."""
    missing = [name for name in (*NEEDED, SEARCH) if not callable(getattr(auth, name, None))]
    if missing:
        raise MlflowException(
            f"this MLflow asks for permissions in another way ({', '.join(missing)} are not there), and projects could "
            f"not be kept from those they are not shared with: install a version of mlflow-hydraulic made for it, "
            f"or run without a log-in (HYDRAULIC_AUTH=off)",
            error_code=INVALID_STATE,
        )
    if getattr(auth, "_hydraulic", False):
        return
    auth._hydraulic = True  # type: ignore[attr-defined]
    for name in NEEDED[:2]:
        setattr(auth, name, _of_project(auth, getattr(auth, name)))
    setattr(auth, NEEDED[2], _final(getattr(auth, NEEDED[2])))
    setattr(auth, SEARCH, _filtering(getattr(auth, SEARCH)))
    if hasattr(auth, AUTHORIZE):
        setattr(auth, AUTHORIZE, _authorizing(getattr(auth, AUTHORIZE)))


@dataclass(frozen=True)
class Decided:
    """What stands for MLflow's look-up of a role's permission where a project has decided."""

    permission: Anything

    def __call__(self) -> Anything:
        return self.permission


@dataclass(frozen=True)
class Hidden:
    """No role: every question is answered as for a name that the registry does not have.

    MLflow then lets pass who has its default permission, and the registry says that there is no such model. LATER: but
    since 3.17 some routes look for the name once more and refuse.
    """

    model: str
    default: Anything
    refused: bool
    denied: bool = True
    name: str = "NO_PERMISSIONS"

    def __getattr__(self, capability: str) -> bool:
        if getattr(self.default, capability) and not self.refused:
            raise MlflowException(
                f"Registered Model with name={self.model} not found", error_code=RESOURCE_DOES_NOT_EXIST
            )
        return False


def _of_project(auth: ModuleType, original: Callable[..., Anything]) -> Callable[..., Anything]:
    def permission_for(username: str, resource_type: str, resource_key: str, *rest: object, **more: object) -> Anything:
        found = role(username, resource_key) if resource_type == MODEL else None
        if not isinstance(found, Placed):
            return original(username, resource_type, resource_key, *rest, **more)
        if found.role is None:
            default = auth.get_permission(auth.auth_config.default_permission)
            refused = hasattr(auth, AUTHORIZE) and has_request_context() and request.path.endswith(LATER)
            return Decided(Hidden(resource_key, default, refused))
        return Decided(as_permission(auth, found.role))

    return permission_for


def _final(original: Callable[[Callable[[], Anything]], Anything]) -> Callable[..., Anything]:
    """MLflow lifts every permission to its default; a role in a project is what it is."""

    def permission_or_default(role_permission_func: Callable[[], Anything]) -> Anything:
        if isinstance(role_permission_func, Decided):
            return role_permission_func()
        return original(role_permission_func)

    return permission_or_default


def _filtering(original: Callable[..., Anything]) -> Callable[..., Anything]:
    """Rows of searches, REST and GraphQL."""

    def read_predicate(username: str, resource_type: str, *rest: object, **more: object) -> Callable[[str], bool]:
        others = original(username, resource_type, *rest, **more)
        if resource_type != MODEL:
            return others  # type: ignore[no-any-return]
        placed = roles(username)
        return lambda name: placed[name] is not None if name in placed else bool(others(name))

    return read_predicate


def _authorizing(original: Callable[..., bool]) -> Callable[..., bool]:
    """All that a request requires: what it requires of a model in a project, its role answers, the rest MLflow."""

    def authorize(username: str, anchor: tuple[str, str], requirements: Sequence[Anything]) -> bool:
        kind, name = anchor
        found = role(username, name) if kind == MODEL else None
        if not isinstance(found, Placed):
            return original(username, anchor, requirements)
        ours = [one for one in requirements if one.resource_type in (MODEL, VERSION)]
        others = [one for one in requirements if one.resource_type not in (MODEL, VERSION)]
        return all(meets(found.role, one.action) for one in ours) and (not others or original(username, anchor, others))

    return authorize


def meets(role: Role | None, action: str) -> bool:
    """Whether a role passes one of MLflow's checks; what exactly it may change there, the gate judges."""
    if role is None:
        return False
    if action in (READ, NOT_DENIED):
        return True
    if action == MANAGE:
        return Right.OWN in role.rights
    return action in (UPDATE, DELETE) and bool(WRITES & role.rights)


def as_permission(auth: ModuleType, role: Role) -> Anything:
    """The same as one of MLflow's permissions."""
    if meets(role, MANAGE):
        return auth.get_permission("MANAGE")
    if meets(role, UPDATE):
        return replace(auth.get_permission("EDIT"), can_delete=True)
    return auth.get_permission("READ")


@dataclass(frozen=True)
class Placed:
    """A model is in a project; role: somebody's there, None for none."""

    role: Role | None


def role(username: str, model: str) -> Placed | None:
    """Somebody's role in the project of a model; None for a model in no project."""
    with _get_model_registry_store().engine.connect() as connection:
        found = roles_by_model(connection, _workspace(), username, model)
    return Placed(found[model]) if model in found else None


def roles(username: str) -> dict[str, Role | None]:
    """Somebody's role by the name of each model that is in a project; looked up once in a request."""
    kept = g.setdefault(KEPT, {}) if has_request_context() else {}
    key = (username, _workspace())
    if key not in kept:
        with _get_model_registry_store().engine.connect() as connection:
            kept[key] = roles_by_model(connection, key[1], username)
    return kept[key]  # type: ignore[no-any-return]


def _workspace() -> str:
    return (get_request_workspace() or "default") if MLFLOW_ENABLE_WORKSPACES.get() else "default"
