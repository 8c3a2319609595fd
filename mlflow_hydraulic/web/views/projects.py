"""The pages of projects: all of them; one with its figures; its models; who it is shared with."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from mlflow_hydraulic.people.projects import LONGEST_NAME, LONGEST_TEXT
from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.web import projects
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.page import page

AREA = "projects"
MEANING = {
    Role.READER: "sees everything, changes nothing",
    Role.CONTRIBUTOR: "adds models, tags and comments, deploys to DEV",
    Role.OPERATOR: "deploys to every environment, ends, rolls back, answers alerts",
    Role.VALIDATOR: "comments and gives verdicts on versions, deploys nothing",
    Role.OWNER: "may do everything, shares the project and removes it",
    Role.AUDITOR: "sees everything and exports its events",
}
MOST_SHOWN = 200
Shown = dict[str, Any]  # what a template shows


class Find(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that all must be found."""

    text: Annotated[str, Meta(max_length=200)] = ""


class FindModels(Find, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """add: open the dialog that adds one."""

    add: bool = False


@page("/projects", right=None, template="projects/list.html", area=AREA)
def projects_page(ask: Ask, query: Find) -> Shown:
    with ask.house.engine.connect() as connection:
        found = projects.listing(connection, ask.house.workspace, ask.who, ask.now, query.text)
    return {"listing": found, "asked": query, "longest_name": LONGEST_NAME, "longest_text": LONGEST_TEXT}


@page("/projects/{project}", right=Right.VIEW, template="projects/summary.html", area=AREA)
def project_page(ask: Ask, project: str) -> Shown:
    return frame(ask, project, "summary")


@page("/projects/{project}/models", right=Right.VIEW, template="projects/models.html", area=AREA)
def project_models_page(ask: Ask, project: str, query: FindModels) -> Shown:
    shown = frame(ask, project, "models")
    words = query.text.casefold().split()
    fits = [model for model in shown["found"].models if all(word in model.casefold() for word in words)]
    candidates = projects.candidates(ask) if "models" in shown["may"] else []
    return {**shown, "models": fits[:MOST_SHOWN], "count": len(fits), "asked": query, "candidates": candidates}


@page("/projects/{project}/members", right=Right.VIEW, template="projects/members.html", area=AREA)
def members_page(ask: Ask, project: str) -> Shown:
    shown = frame(ask, project, "members")
    return {**shown, "people": projects.shared(shown["found"].members)}


def frame(ask: Ask, name: str, tab: str) -> Shown:
    """What is around every tab: the heading with its counts, and the dialogs."""
    found, summary = projects.shown(ask, name)
    held = {one.user for one in found.members}
    users = projects.known_users(ask) or () if "share" in summary.may else ()
    return {
        "found": found,
        "project": summary,
        "may": summary.may,
        "tab": tab,
        "users": [user for user in users if user not in held],
        "roles": [(role.value, f"{role.value}: {meaning}") for role, meaning in MEANING.items()],
        "meaning": {role.value: meaning for role, meaning in MEANING.items()},
    }
