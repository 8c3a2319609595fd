"""Which registered models MLflow's basic-auth lets a user read: all of its grants in one query, for lists."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES

from mlflow_hydraulic.people.visible import Readable

WORKSPACE = "default"
DENY, NOTHING = "DENY", "NO_PERMISSIONS"


def readable_models(auth: Any, name: str) -> Readable:  # Any: mlflow.server.auth, which is untyped
    """What MLflow answers for each model one by one: its own grant, or the one of all models, over the default."""
    grants = _grants(auth, name)
    if "MANAGE" in grants.pop(("workspace", "*"), set()):
        return Readable()
    of_models = {pattern: found for (kind, pattern), found in grants.items() if kind == "registered_model"}
    of_all = of_models.pop("*", set())
    every = _can_read(auth, of_all)
    other = frozenset(model for model, found in of_models.items() if _can_read(auth, found | of_all) is not every)
    return Readable(every=every, names=other)


def _can_read(auth: Any, found: set[str]) -> bool:
    default = auth.auth_config.default_permission
    if DENY in found:
        return False
    if not found and MLFLOW_ENABLE_WORKSPACES.get() and not auth._user_inherits_default_workspace_grant(WORKSPACE):
        return False
    positive = found - {NOTHING}
    known = positive | {default} if positive or not found else set()
    return any(auth.get_permission(one).can_read for one in known)


def _grants(auth: Any, name: str) -> dict[tuple[str, str], set[str]]:
    """Names of permissions by kind of resource and pattern."""
    from mlflow.server.auth.db.models import SqlRole, SqlRolePermission, SqlUser, SqlUserRoleAssignment

    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    with auth.store.ManagedSessionMaker() as session:
        rows = (
            session.query(SqlRolePermission.resource_type, SqlRolePermission.resource_pattern)
            .add_columns(SqlRolePermission.permission)
            .join(SqlRole, SqlRole.id == SqlRolePermission.role_id)
            .join(SqlUserRoleAssignment, SqlUserRoleAssignment.role_id == SqlRole.id)
            .join(SqlUser, SqlUser.id == SqlUserRoleAssignment.user_id)
            .filter(SqlUser.username == name, SqlRole.workspace == WORKSPACE)
        )
        for kind, pattern, permission in rows:
            found[kind, pattern].add(permission)
    return found
