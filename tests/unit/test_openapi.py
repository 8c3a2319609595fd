"""The API's document is made from the table of routes; a sample fits the type that it is made from."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, Struct
from openapi_spec_validator import validate

from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.web import api, views
from mlflow_hydraulic.web.openapi import document
from mlflow_hydraulic.web.route import ROUTES, Route
from mlflow_hydraulic.web.sample import sample

assert api, views  # they declare themselves
BASE = "/mlflow/api/2.0/hydraulic"


class Inner(Struct, frozen=True, kw_only=True):
    role: Role
    words: Annotated[list[Annotated[str, Meta(min_length=3)]], Meta(min_length=1)]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[a-z]+$", max_length=5)]
    kind: Literal["one", "two"]
    share: Annotated[int, Meta(ge=5, le=50)]
    ratio: Annotated[float, Meta(gt=0, lt=1)]
    inner: Inner
    odd: Annotated[str, Meta(pattern="^x{40}$", examples=["x" * 40])]
    more: Inner | None = None
    sign: Annotated[int, Meta(ge=1)] = 0


def handler(ask: object, query: Body) -> list[Inner]:
    """Do it.

    More of it.
    """
    del ask, query
    return []


def test_a_sample_fits_its_type() -> None:
    for whole in (False, True):
        made = msgspec.json.encode(sample(Body, whole=whole))
        assert msgspec.json.decode(made, type=Body).share == 5


@pytest.mark.parametrize("route", [one for one in ROUTES if {"body", "query"} & set(one.hints)], ids=lambda r: r.name)
def test_every_body_and_query_has_a_sample_that_its_route_takes(route: Route) -> None:
    for kind in (route.hints[name] for name in ("body", "query") if name in route.hints):
        for whole in (False, True):
            assert msgspec.convert(sample(kind, whole=whole), type=kind, strict=False) is not None


def test_a_type_without_a_sample_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match="examples"):
        sample(Annotated[str, Meta(pattern="^y{39}$")])


def test_the_document_is_right_by_the_standard_and_leaves_no_route_out() -> None:
    made = msgspec.json.decode(msgspec.json.encode(document(ROUTES, BASE)))
    validate(made)
    assert made["servers"] == [{"url": BASE}]
    described = {(method.upper(), path) for path, some in made["paths"].items() for method in some}
    assert described == {(route.method, route.path) for route in ROUTES}
    for some in made["paths"].values():
        for one in some.values():
            assert one["summary"].endswith((".", "?")), one["operationId"]
            assert set(one["responses"]) >= {"400", "401", "403", "404"}


def test_a_query_becomes_parameters_and_its_right_words() -> None:
    made = document([Route(method="GET", path="/x/{project}", right=Right.VIEW, area="x", handler=handler)], BASE)
    operation = made["paths"]["/x/{project}"]["get"]
    parameters = {one["name"]: one for one in operation["parameters"]}
    assert parameters["project"]["in"] == "path"
    assert parameters["share"] == {
        "name": "share",
        "in": "query",
        "required": True,
        "schema": {"type": "integer", "minimum": 5, "maximum": 50},
    }
    assert "default" not in parameters["sign"]["schema"]
    assert operation["summary"] == "Do it."
    assert operation["description"].startswith("More of it.")
    assert "reader or contributor" in operation["description"]
    assert set(made["components"]["schemas"]) == {"Inner", "Role", "Error"}
