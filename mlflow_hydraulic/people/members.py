"""Which project a model is in, and which role a user has there. Two small queries, made anew for every request.

A registered model is in a project by its tag `hydraulic.project`, which is the project's name: the registry says it,
nothing is kept of it here. A tag that names no project is none.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, column, select, table

from mlflow_hydraulic.evidence.tables import members, projects
from mlflow_hydraulic.people.rights import Role, Who

PROJECT_TAG = "hydraulic.project"
PROMPT_TAG = "mlflow.prompt.is_prompt"  # MLflow keeps prompts as registered models
MODELS = table("registered_models", column("workspace"), column("name"))  # MLflow's
MODEL_TAGS = table("registered_model_tags", column("workspace"), column("name"), column("key"), column("value"))


def project_of(connection: Connection, workspace: str, model: str) -> str | None:
    """The project that `model` is in; "" where it is in none, None where there is no such model."""
    tagged = and_(
        MODEL_TAGS.c.workspace == MODELS.c.workspace,
        MODEL_TAGS.c.name == MODELS.c.name,
        MODEL_TAGS.c.key == PROJECT_TAG,
    )
    real = and_(projects.c.workspace == MODELS.c.workspace, projects.c.name == MODEL_TAGS.c.value)
    query = (
        select(projects.c.name)
        .select_from(MODELS.outerjoin(MODEL_TAGS, tagged).outerjoin(projects, real))
        .where(MODELS.c.workspace == workspace, MODELS.c.name == model)
    )
    found = connection.execute(query).first()
    return None if found is None else found[0] or ""


def name_of(connection: Connection, workspace: str, tag: str) -> str:
    """The project that a tag of this value means; "" where it names none."""
    query = select(projects.c.name).where(projects.c.workspace == workspace, projects.c.name == tag)
    return str(connection.execute(query).scalar() or "")


def role_of(connection: Connection, workspace: str, project: str, who: Who) -> Role | None:
    """The role of `who` in `project`; None where they have none, or there is no such project."""
    query = (
        select(projects.c.id, members.c.role)
        .select_from(projects.outerjoin(members, and_(members.c.project == projects.c.id, members.c.user == who.name)))
        .where(projects.c.workspace == workspace, projects.c.name == project)
    )
    found = connection.execute(query).first()
    if found is None:
        return None
    return Role.OWNER if who.everywhere else (Role(found[1]) if found[1] else None)


def roles_by_model(connection: Connection, workspace: str, user: str, model: str = "") -> dict[str, Role | None]:
    """The role of `user` by model, None for none, for all models that are in a project; of `model` alone if given."""
    real = and_(projects.c.workspace == MODEL_TAGS.c.workspace, projects.c.name == MODEL_TAGS.c.value)
    mine = and_(members.c.project == projects.c.id, members.c.user == user)
    query = (
        select(MODEL_TAGS.c.name, members.c.role)
        .select_from(MODEL_TAGS.join(projects, real).outerjoin(members, mine))
        .where(MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.key == PROJECT_TAG)
    )
    found = connection.execute(query.where(MODEL_TAGS.c.name == model) if model else query)
    return {name: Role(role) if role else None for name, role in found}
