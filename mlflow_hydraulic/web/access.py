"""May this caller do that? Asked before every page and every route runs; the registry's gate asks `people` the same.

What somebody may not see is answered like what is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import select

from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.errors import NotFound, Refused
from mlflow_hydraulic.people import members
from mlflow_hydraulic.people.rights import MLFLOW_ROLES, Right, Role, refusal
from mlflow_hydraulic.web.ask import Ask

HASHED = re.compile(r"-[0-9a-f]{8}$")  # the name of a deployment that cannot be its model's own


def check(ask: Ask, right: Right | None, path: Mapping[str, str]) -> None:
    """Whether the caller holds `right` where `path` points: a project, a model, or a deployment and so its model.

    `NotFound` for what they may not see, `Refused` for what they may see and not do.
    """
    if right is None:
        return
    if "project" in path:
        require(right, role_in(ask, path["project"]), f"project {path['project']!r}", ask)
    elif "model" in path:
        require(right, role_for(ask, path["model"]), f"model {path['model']!r}", ask)
    else:
        model = model_of(ask, path["environment"], path["deployment"])
        named = f"deployment {path['deployment']!r} in {path['environment']}"
        require(right, role_for_deployment(ask, model) if model else None, named, ask)


def require(right: Right, role: Role | None, what: str, ask: Ask) -> None:
    """Raise unless `role` (None: none at all) holds `right`."""
    if role is None:
        raise NotFound(f"there is no {what} here, or it is not shared with {ask.who.actor!r}: ask its owner")
    if said := refusal(ask.who.actor, role, right, what):
        raise Refused(said)


def role_in(ask: Ask, project: str) -> Role | None:
    """The caller's role in a project; None where there is none, or no such project."""
    with ask.house.engine.connect() as connection:
        return members.role_of(connection, ask.house.workspace, project, ask.who)


def role_for(ask: Ask, model: str) -> Role | None:
    """The caller's role for a registered model: in its project, else what MLflow's own permission comes to."""
    with ask.house.engine.connect() as connection:
        project = members.project_of(connection, ask.house.workspace, model)
        if project is None:
            return None  # no such model
        if project:
            return members.role_of(connection, ask.house.workspace, project, ask.who)
    if ask.who.everywhere:
        return Role.OWNER
    return MLFLOW_ROLES.get(ask.house.accounts.permission(ask.who, model))


def role_for_deployment(ask: Ask, model: str) -> Role | None:
    """As `role_for`; what serves a model that is not registered here is for those whom no role limits."""
    return role_for(ask, model) or (Role.OWNER if ask.who.everywhere else None)


def model_of(ask: Ask, environment: str, deployment: str) -> str:
    """The registered model that a deployment serves, as last seen; before that, the one that it will be called after.

    "" where there is neither.
    """
    from mlflow_hydraulic.evidence import sight

    workspace = ask.house.workspace
    with ask.house.engine.connect() as connection:
        found = sight.model_of(connection, workspace, environment, deployment)
        if found or all(environment != one.name for one in ask.house.configuration.environments):
            return found
        models = select(members.MODELS.c.name).where(members.MODELS.c.workspace == workspace)
        if not HASHED.search(deployment):
            models = models.where(members.MODELS.c.name == deployment)
        named = (
            model for model in connection.execute(models).scalars() if deployment_name(model, workspace) == deployment
        )
        return next(named, "")
