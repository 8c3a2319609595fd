"""Which registered models somebody may see, as one condition of an SQL query: for lists, where no path names a project.

A model in a project is its members'; one that is in none is whose MLflow's own permissions let read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, true

from mlflow_hydraulic.evidence.tables import members, projects
from mlflow_hydraulic.people.members import MODEL_TAGS, PROJECT_TAG
from mlflow_hydraulic.people.rights import Who


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
