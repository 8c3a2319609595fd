"""Projects: made, shared, left, removed; and which models are in them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mlflow_hydraulic.errors import Conflict, NotFound, Refused
from mlflow_hydraulic.people.projects import LONGEST_NAME, LONGEST_TEXT, LONGEST_USER
from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.web import projects
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.house import Registrar
from mlflow_hydraulic.web.projects import Listing, RoleName, Shared, Summary
from mlflow_hydraulic.web.route import route

AREA = "projects"
PLAIN = r"^[^\x00-\x1f\x7f]*$"
CLEAN = r"^[^\x00]*$"


class Find(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that all must be found."""

    text: Annotated[str, Meta(max_length=200)] = ""


class NewProject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name of 1 to 60 printable characters without a slash; upper and lower case are one."""

    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, pattern=PLAIN)]
    description: Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=CLEAN)] = ""


class About(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project is for, in words."""

    description: Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=CLEAN)]


class NewMember(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of MLflow's users, and their role."""

    user: Annotated[str, Meta(min_length=1, max_length=LONGEST_USER, pattern=PLAIN)]
    role: RoleName = "reader"


class NewRole(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member's role."""

    role: RoleName


class NewModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A registered model's name."""

    model: Annotated[str, Meta(min_length=1, max_length=256, pattern=PLAIN)]


class Made(Struct, frozen=True, kw_only=True):
    """The name, trimmed."""

    name: str


class Left(Struct, frozen=True, kw_only=True):
    """The models that are in no project any more."""

    models: list[str]


@route("GET", "/projects", right=None, area=AREA)
def list_projects(ask: Ask, query: Find) -> Listing:
    """The projects that are shared with the caller, with live counts."""
    with ask.house.engine.connect() as connection:
        return projects.listing(connection, ask.house.workspace, ask.who, ask.now, query.text)


@route("POST", "/projects", right=None, area=AREA)
def create_project(ask: Ask, body: NewProject) -> Made:
    """Make a project; who makes it owns it."""
    return Made(name=projects.office(ask).create(body.name, body.description))


@route("GET", "/projects/{project}", right=Right.VIEW, area=AREA)
def get_project(ask: Ask, project: str) -> Summary:
    """A project with live counts and its worst alert."""
    return projects.shown(ask, project)[1]


@route("PUT", "/projects/{project}", right=Right.SHARE, area=AREA)
def describe_project(ask: Ask, project: str, body: About) -> None:
    """Describe a project anew."""
    projects.office(ask).describe(project, body.description)


@route("DELETE", "/projects/{project}", right=Right.OWN, area=AREA)
def delete_project(ask: Ask, project: str) -> Left:
    """Remove a project and its members; its models stay, in no project."""
    return Left(models=projects.office(ask).delete(project))


@route("GET", "/projects/{project}/members", right=Right.VIEW, area=AREA)
def list_members(ask: Ask, project: str) -> list[Shared]:
    """Who the project is shared with: owners first."""
    with ask.house.engine.connect() as connection:
        return projects.shared(projects.one(connection, ask.house.workspace, ask.who, project).members)


@route("GET", "/projects/{project}/users", right=Right.SHARE, area=AREA)
def list_users(ask: Ask, project: str) -> list[str]:
    """MLflow's users with whom the project is not shared yet; none where the server has no log-in."""
    with ask.house.engine.connect() as connection:
        found = projects.one(connection, ask.house.workspace, ask.who, project).members
    held = {one.user for one in found}
    return [name for name in projects.known_users(ask) or () if name not in held]


@route("POST", "/projects/{project}/members", right=Right.SHARE, area=AREA)
def share_project(ask: Ask, project: str, body: NewMember) -> None:
    """Share a project with a user."""
    projects.office(ask).share(project, body.user, Role(body.role), projects.known_users(ask))


@route("PUT", "/projects/{project}/members/{user}", right=Right.SHARE, area=AREA)
def change_role(ask: Ask, project: str, user: str, body: NewRole) -> None:
    """Give a member another role, in force with their next request; there is always an owner."""
    projects.office(ask).restrict(project, user, Role(body.role))


@route("DELETE", "/projects/{project}/members/{user}", right=Right.SHARE, area=AREA)
def remove_member(ask: Ask, project: str, user: str) -> None:
    """End a membership; there is always an owner."""
    projects.office(ask).remove(project, user)


@route("POST", "/projects/{project}/leave", right=Right.VIEW, area=AREA)
def leave_project(ask: Ask, project: str) -> None:
    """Leave a project; the only owner cannot."""
    projects.office(ask).remove(project, ask.who.actor)


@route("GET", "/projects/{project}/candidates", right=Right.MODELS, area=AREA)
def list_candidates(ask: Ask, project: str, query: Find) -> list[str]:
    """Registered models in no project that the caller sees; at most 50, so give words."""
    del project
    return projects.candidates(ask, query.text)


@route("GET", "/projects/{project}/models", right=Right.VIEW, area=AREA)
def list_project_models(ask: Ask, project: str) -> list[str]:
    """The names of its registered models; their versions are at /models?project=."""
    with ask.house.engine.connect() as connection:
        return list(projects.one(connection, ask.house.workspace, ask.who, project).models)


@route("POST", "/projects/{project}/models", right=Right.MODELS, area=AREA)
def add_model(ask: Ask, project: str, body: NewModel) -> None:
    """Bring a registered model in. It must be in no project, and MLflow must let the caller edit it."""
    held = projects.place_of(ask, body.model)
    if held == project:
        raise Conflict(f"model {body.model!r} is in project {project!r} already")
    if held is None or not (projects.may_see(ask, held) if held else projects.may_take(ask, body.model)):
        raise NotFound(f"there is no model {body.model!r} that {ask.who.actor!r} may edit: ask its owner, or MLflow's")
    _registrar(ask).place(body.model, project, ask.reason)


@route("DELETE", "/projects/{project}/models/{model}", right=Right.MODELS, area=AREA)
def remove_model(ask: Ask, project: str, model: str) -> None:
    """Take a registered model out; it is in no project then, and MLflow's own permissions hold for it."""
    if projects.place_of(ask, model) != project:
        raise NotFound(f"model {model!r} is not in project {project!r}: somebody was quicker")
    _registrar(ask).place(model, "", ask.reason)


def _registrar(ask: Ask) -> Registrar:
    if ask.house.registrar is None:
        raise Refused("this server has no registry of models")
    return ask.house.registrar
