"""Rights and roles: what docs/people.md says is what the code does; which rights a change takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.people.rights import RIGHTS, Right, Role, refusal, roles_with
from mlflow_hydraulic.people.takes import rights_for

DOCS = Path(__file__).resolve().parents[2] / "docs" / "people.md"


def table() -> list[str]:
    """The table of rights as docs/people.md has it."""
    lines = [f"| right | {' | '.join(role.value for role in Role)} |", "|---|" + "---|" * len(Role)]
    for right in Right:
        cells = ("yes" if right in RIGHTS[role] else "" for role in Role)
        lines.append(f"| {right.value} | {' | '.join(cells)} |")
    return lines


def test_the_table_of_rights_is_that_of_the_code() -> None:
    assert "\n".join(table()) in DOCS.read_text(encoding="utf-8"), "paste: " + "\n".join(["", *table()])


def test_every_role_sees_and_the_owner_may_do_everything() -> None:
    assert all(Right.VIEW in rights for rights in RIGHTS.values())
    assert RIGHTS[Role.OWNER] == frozenset(Right)
    assert set(RIGHTS) == set(Role)


@pytest.mark.parametrize(
    ("verb", "touched", "rights"),
    [
        ("stage", ["dev"], {Right.DEPLOY}),
        ("stage", ["prod"], {Right.PROMOTE}),
        ("stage", ["dev", "prod"], {Right.PROMOTE}),
        ("alias", [], {Right.TAG}),
        ("label", [], {Right.TAG}),
        ("describe", [], {Right.TAG}),
        ("register", [], {Right.MODELS}),
        ("project", [], {Right.MODELS}),
        ("delete version", [], {Right.MODELS}),
        ("delete model", ["prod"], {Right.MODELS, Right.PROMOTE}),
        ("rename model", ["dev"], {Right.MODELS, Right.DEPLOY}),
    ],
)
def test_what_a_change_takes(verb: str, touched: list[str], rights: set[Right]) -> None:
    environments = tuple(preset("stages"))
    assert {env.name: env.promotes_from for env in environments} == {"dev": "", "prod": "dev"}
    assert rights_for(verb, touched, environments) == rights


def test_an_environment_that_nothing_promotes_from_takes_the_greater_right() -> None:
    alone = [env for env in preset("stages") if env.name == "dev"]
    assert rights_for("stage", ["dev"], alone) == {Right.PROMOTE}


def test_a_refusal_names_the_role_the_right_and_the_way_out() -> None:
    assert refusal("ds1", Role.OWNER, Right.OWN, "project 'rig'") == ""
    assert refusal("ds2", Role.READER, Right.PROMOTE, "project 'rig'") == (
        "'ds2' is reader of project 'rig' and may not deploy to every environment, and end or roll back deployments: "
        "that takes operator or owner; ask its owner"
    )
    assert roles_with(Right.VALIDATE) == "validator or owner"
