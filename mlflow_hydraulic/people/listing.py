"""The projects that somebody may see, with what is in them now: models, deployments by state, members. Four queries.

Called by the pages and by `hydraulic projects list`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, func, select

from mlflow_hydraulic.evidence.tables import members, projects, sight
from mlflow_hydraulic.people.members import MODEL_TAGS, MODELS, PROJECT_TAG, PROMPT_TAG
from mlflow_hydraulic.people.rights import Role, Who


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """since: ISO 8601 in UTC; by: who gave the role."""

    user: str
    role: Role
    since: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project as it is now. role: that of who asks; owner where no role limits them. created: ISO 8601 in UTC.

    models: names, sorted. states: deployments of its models by their last seen state.
    """

    id: str
    name: str
    description: str
    created: str
    created_by: str
    role: Role
    members: tuple[Member, ...]
    models: tuple[str, ...] = ()
    states: Mapping[str, int] = field(default_factory=dict)

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(one.user for one in self.members if one.role is Role.OWNER)


def listed(connection: Connection, workspace: str, who: Who, name: str = "") -> list[Project]:
    """All projects that `who` may see, by name; only the one called `name` where that is given."""
    query = select(projects).where(projects.c.workspace == workspace)
    if name:
        query = query.where(projects.c.name == name)
    if not who.everywhere:
        query = query.where(projects.c.id.in_(select(members.c.project).where(members.c.user == who.name)))
    rows = connection.execute(query).mappings().all()
    people = _members(connection, workspace, name)
    models = models_of(connection, workspace, name)
    states = _states(connection, workspace)
    found = [
        Project(
            id=row["id"],
            name=row["name"],
            description=row["description"],
            created=row["created"],
            created_by=row["created_by"],
            role=role,
            members=tuple(people[row["id"]]),
            models=tuple(models[row["name"]]),
            states=dict(sum((states[model] for model in models[row["name"]]), Counter())),
        )
        for row in rows
        if (role := _mine(people[row["id"]], who)) is not None  # who left at this very moment sees it no more
    ]
    return sorted(found, key=lambda one: (one.name.casefold(), one.name))


def models_of(connection: Connection, workspace: str, name: str = "") -> dict[str, list[str]]:
    """Names of models, sorted, by the project that they are in; of one project alone where `name` is given."""
    real = and_(projects.c.workspace == MODEL_TAGS.c.workspace, projects.c.name == MODEL_TAGS.c.value)
    query = select(projects.c.name, MODEL_TAGS.c.name).select_from(MODEL_TAGS.join(projects, real))
    query = query.where(MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.key == PROJECT_TAG)
    found: dict[str, list[str]] = defaultdict(list)
    for project, model in connection.execute(query.where(projects.c.name == name) if name else query):
        found[project].append(model)
    for models in found.values():
        models.sort()
    return found


def loose(connection: Connection, workspace: str) -> list[str]:
    """Names of all registered models that are in no project, sorted; prompts are none."""
    taken = {model for models in models_of(connection, workspace).values() for model in models}
    is_prompt = (MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.key == PROMPT_TAG, MODEL_TAGS.c.value == "true")
    query = select(MODELS.c.name).where(MODELS.c.workspace == workspace)
    query = query.where(MODELS.c.name.not_in(select(MODEL_TAGS.c.name).where(*is_prompt)))
    return sorted(model for (model,) in connection.execute(query) if model not in taken)


def _members(connection: Connection, workspace: str, name: str) -> dict[str, list[Member]]:
    """Members by project's id: owners first, then by name."""
    query = select(members).join(projects, projects.c.id == members.c.project).where(projects.c.workspace == workspace)
    found: dict[str, list[Member]] = defaultdict(list)
    for row in connection.execute(query.where(projects.c.name == name) if name else query).mappings():
        one = Member(user=row["user"], role=Role(row["role"]), since=row["since"], by=row["by"])
        found[row["project"]].append(one)
    for people in found.values():
        people.sort(key=lambda one: (one.role is not Role.OWNER, one.user))
    return found


def _states(connection: Connection, workspace: str) -> dict[str, Counter[str]]:
    """How many deployments of each model are in each state."""
    query = select(sight.c.model, sight.c.state, func.count()).where(sight.c.workspace == workspace)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for model, state, count in connection.execute(query.group_by(sight.c.model, sight.c.state)):
        found[model][state] = count
    return found


def _mine(people: list[Member], who: Who) -> Role | None:
    return Role.OWNER if who.everywhere else next((one.role for one in people if one.user == who.name), None)
