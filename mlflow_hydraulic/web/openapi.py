"""The OpenAPI document, made from the table of routes and their types; nothing of it is written by hand.

Served under both bases of the API, and shown as tables on the page /api.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args

import msgspec

from mlflow_hydraulic.people.rights import Right, roles_with
from mlflow_hydraulic.version import VERSION
from mlflow_hydraulic.web.answers import CODES
from mlflow_hydraulic.web.route import Route
from mlflow_hydraulic.web.sample import sample

Json = dict[str, Any]  # Any: JSON
REF = "#/components/schemas/{name}"
ERRORS = {
    400: "A value breaks a rule; the message names both.",
    401: "Nobody is logged in, or the password is wrong.",
    403: "Their role does not allow it; the message names those that do. Or: a write from another origin.",
    404: "It does not exist, or it is not shared with the caller.",
    409: "It exists already, or somebody changed it meanwhile.",
    422: "It cannot be done, and trying again changes nothing.",
    503: "Something is away for now: try again later.",
}
PARAMETERS: Mapping[str, tuple[str, str]] = {  # of paths: what it is, an example
    "project": ("The project's name.", "hydraulic-rig"),
    "model": ("The registered model's name.", "hydraulic-cooler"),
    "version": ("The version's number.", "3"),
    "environment": ("The environment's name.", "dev"),
    "deployment": ("The deployment's name.", "hydraulic-cooler"),
    "user": ("The user's name.", "ds2"),
}
SECURITY: Json = {
    "basic": {"type": "http", "scheme": "basic", "description": "MLflow's own users and passwords."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "hydraulic_session",
        "description": "What the log-in page gives a browser.",
    },
}
ABOUT = (
    "All that the pages do. Whoever may not see a thing gets 404, whoever may see it and not do this 403. "
    "A change takes its reason from the header X-Hydraulic-Reason, percent-encoded UTF-8; it is kept in the ledger."
)


def document(routes: Sequence[Route], base: str) -> Json:
    """The document of `routes`, which are served under `base` ("/mlflow/api/2.0/hydraulic")."""
    kinds = [kind for route in routes for kind in _kinds(route)]
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_anything, ref_template=REF)
    _drop_signs(components)
    made = dict(zip(map(id, kinds), schemas, strict=True))
    paths: Json = {}
    for route in sorted(routes, key=lambda route: (route.area, route.path)):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, made, components)
    for route in routes:
        if "query" in route.hints:
            components.pop(_name(route.hints["query"], made), None)  # shown as parameters
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlflow-hydraulic", "version": VERSION, "description": ABOUT},
        "servers": [{"url": base}],
        "security": [{"basic": []}, {"session": []}, {}],
        "tags": [{"name": area} for area in sorted({route.area for route in routes})],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _error()},
            "responses": {str(status): _failure(status, said) for status, said in ERRORS.items()},
            "securitySchemes": SECURITY,
        },
    }


def _kinds(route: Route) -> Iterable[Any]:
    yield from (route.hints[name] for name in ("body", "query") if name in route.hints)
    if not route.media:
        yield _answer(route)


def _answer(route: Route) -> Any:
    """What the handler gives, None left out; `NoneType` where it gives nothing at all."""
    return route.hints.get("return", NoneType)


def _operation(route: Route, made: Mapping[int, Json], components: Json) -> Json:
    found: Json = {
        "operationId": route.name,
        "tags": [route.area],
        "summary": route.summary,
        "description": described(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route, made, components), *_reason(route)],
        "responses": {**_good(route, made), **{str(code): _ref(code) for code in ERRORS}},
    }
    if "body" in route.hints:
        kind = route.hints["body"]
        content = {"schema": made[id(kind)], "example": sample(kind)}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    return found


def described(route: Route) -> str:
    """The rest of the handler's docstring, and who may."""
    rest = "\n\n".join((inspect.getdoc(route.handler) or "").split("\n\n")[1:]).strip()
    return "\n\n".join(part for part in (rest, who_may(route.right)) if part)


def who_may(right: Right | None) -> str:
    return f"For the role {roles_with(right)}." if right else "For everybody; what the caller may not see is left out."


def _path_parameters(route: Route) -> Iterable[Json]:
    for name in route.parameters:
        what, example = PARAMETERS.get(name, ("", "1"))
        schema = {"type": "string", "minLength": 1, "pattern": r"^[^/\x00-\x1f]+$"}
        yield {"name": name, "in": "path", "required": True, "description": what, "schema": schema, "example": example}


def _query_parameters(route: Route, made: Mapping[int, Json], components: Json) -> Iterable[Json]:
    if "query" not in route.hints:
        return
    schema = components[_name(route.hints["query"], made)]
    for name, one in schema["properties"].items():
        known = dict(one)
        said = {"description": known.pop("description")} if "description" in known else {}
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": known, **said}


def _reason(route: Route) -> Iterable[Json]:
    if route.method != "GET":
        schema = {"type": "string", "maxLength": 6000}
        yield {"name": "X-Hydraulic-Reason", "in": "header", "description": "Why; percent-encoded.", "schema": schema}


def _good(route: Route, made: Mapping[int, Json]) -> Json:
    if route.media:
        content: Json = {"schema": {} if route.media.endswith("json") else {"type": "string"}}
        return {"200": {"description": "The file.", "content": {route.media: content}}}
    answer = _answer(route)
    nothing = {"204": {"description": "Done; there is nothing to say."}}
    if answer is NoneType:
        return nothing
    good = {"200": {"description": "Done.", "content": {"application/json": {"schema": made[id(answer)]}}}}
    return {**good, **nothing} if NoneType in get_args(answer) else good


def _ref(status: int) -> Json:
    return {"$ref": f"#/components/responses/{status}"}


def _failure(status: int, said: str) -> Json:
    """What is answered before the API is reached has another shape: 401, another origin, a line end in the address."""
    schema: Json = {"$ref": REF.format(name="Error")}
    if status == 404:
        schema = {"anyOf": [schema, {"type": "object", "required": ["detail"], "title": "NoSuchAddress"}]}
    content: Json = {"application/json": {"schema": schema}}
    if status in (401, 403):
        content |= {"text/html": {"schema": {"type": "string"}}}
    return {"description": said, "content": content}


def _error() -> Json:
    codes = sorted({code for _status, code in CODES.values()} | {"UNAUTHENTICATED"})
    properties = {
        "error_code": {"type": "string", "enum": codes, "description": "MLflow's own words."},
        "message": {"type": "string", "description": "Names the value, the rule and the way out."},
    }
    return {"type": "object", "required": list(properties), "properties": properties, "title": "Error"}


def _name(kind: Any, made: Mapping[int, Json]) -> str:
    """What the document calls a Struct: where two have one name, their modules are said too."""
    return str(made[id(kind)]["$ref"]).rpartition("/")[2]


def _drop_signs(schema: Any) -> None:
    """A default that its own rule forbids, such as 0 of numbers from 1, is a sign for "not given": it is no default."""
    if isinstance(schema, list):
        for one in schema:
            _drop_signs(one)
    if isinstance(schema, dict):
        default = schema.get("default")
        if default == 0 and schema.get("minimum", 0) > 0:
            del schema["default"]
        if default == "" and (schema.get("minLength", 0) > 0 or not re.search(schema.get("pattern", ""), "")):
            del schema["default"]
        for one in schema.values():
            _drop_signs(one)


def _anything(kind: type) -> Json:
    """The schema of what msgspec knows no schema for: any JSON."""
    del kind
    return {}
