"""Which registered models somebody may see, as one condition of an SQL query: for lists, where no path names a project.

A model in a project is its members'; one that is in none is whose MLflow's own permissions let read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, true

from mlflow_hydraulic.evidence.tables import members, projects
from mlflow_hydraulic.people.members import MODEL_TAGS, PROJECT_TAG
from mlflow_hydraulic.people.rights import Role, Who


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """What MLflow's own permissions let somebody read: every model but `names`, or only `names`."""

    every: bool = True
    names: frozenset[str] = frozenset()

    def __contains__(self, model: object) -> bool:
        return (model in self.names) is not self.every


def visible(who: Who, readable: Readable, workspace: str, model: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that `who` may see the registered model named in the column `model`."""
    if who.everywhere:
        return true()
    mine = in_projects(workspace).join(members, members.c.project == projects.c.id).where(members.c.user == who.name)
    read = model.not_in(sorted(readable.names)) if readable.every else model.in_(sorted(readable.names))
    return or_(model.in_(mine), and_(model.not_in(in_projects(workspace)), read))


def in_projects(workspace: str) -> Select[Any]:
    """The names of all models that are in a project."""
    real = and_(projects.c.workspace == MODEL_TAGS.c.workspace, projects.c.name == MODEL_TAGS.c.value)
    tagged = (MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.key == PROJECT_TAG)
    return select(MODEL_TAGS.c.name).select_from(MODEL_TAGS.join(projects, real)).where(*tagged)


def roles_of(connection: Connection, who: Who, workspace: str) -> dict[str, Role]:
    """The role of `who` in each project that they see, by name, sorted."""
    mine = and_(members.c.project == projects.c.id, members.c.user == who.name)
    query = select(projects.c.name, members.c.role).select_from(projects.outerjoin(members, mine))
    found = connection.execute(query.where(projects.c.workspace == workspace).order_by(projects.c.name)).all()
    if who.everywhere:
        return {name: Role.OWNER for name, _ in found}
    return {name: Role(role) for name, role in found if role}
