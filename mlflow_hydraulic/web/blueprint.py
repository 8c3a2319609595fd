"""The Flask blueprint of pages and REST API: URL rules, log-in, rights, decoding, errors. Made by `plugin.site`.

Everything of ours is answered before MLflow's own checks run, which know no rule for it: `answer` authenticates as
MLflow does, checks the right that page or route declares, and calls it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec
from flask import Blueprint, Flask, Response, current_app, redirect, request
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.web import access, guard, shell
from mlflow_hydraulic.web.answers import code_of, told
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.house import House
from mlflow_hydraulic.web.login.door import ENDPOINTS, Door
from mlflow_hydraulic.web.monitoring import plotly
from mlflow_hydraulic.web.page import PAGES, Page
from mlflow_hydraulic.web.route import ROUTES, Route, Sent

NAME = "hydraulic"
API = "/api/2.0/hydraulic"
AJAX = "/ajax-api/2.0/hydraulic"
PAGES_AT = "/hydraulic"
REASON_HEADER = "X-Hydraulic-Reason"
LONGEST_REASON = 2000  # characters
MOST_BODY = 1_000_000  # bytes
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
log = logging.getLogger("hydraulic.web")

Authenticate = Callable[[], Response | None]


def install(app: Flask, house: House, authenticate: Authenticate, door: Door | None = None) -> None:
    """Add pages and REST API to `app`.

    authenticate: makes `house.accounts.who()` true for this request, or gives the answer that asks for a log-in.
    door: the log-in's own pages, where there is one.
    """
    from mlflow_hydraulic.web import api, views  # noqa: F401 - they declare themselves

    blueprint = Blueprint(NAME, __name__, static_folder="static", static_url_path=f"{PAGES_AT}/static")
    for route in ROUTES:
        for base in (API, AJAX):
            blueprint.add_url_rule(
                base + route.rule,
                endpoint=f"{base.split('/')[1]}:{route.name}",
                view_func=_answering(house, route),
                methods=[route.method],
            )
    for page in PAGES:
        blueprint.add_url_rule(PAGES_AT + page.rule, endpoint=page.name, view_func=_showing(house, page))
    for at, view in ((API, _no_route), (AJAX, _no_route), (PAGES_AT, _no_page(house))):
        rule = f"{at}/<path:rest>"
        blueprint.add_url_rule(rule, endpoint=f"{at.split('/')[1]}:nothing", view_func=view, methods=[*METHODS])
    blueprint.add_url_rule(PAGES_AT, endpoint="home", view_func=lambda: redirect(f"{house.prefix}{PAGES_AT}/projects"))
    blueprint.add_url_rule(f"{PAGES_AT}/{plotly.PATH}", endpoint=plotly.ENDPOINT, view_func=plotly.serve)
    if door is not None:
        door.install(blueprint, PAGES_AT)
        app.after_request(door.gate.keep)
    app.register_blueprint(blueprint, url_prefix=house.prefix or None)

    @app.before_request
    def answer() -> Any:  # Any: whatever Flask takes for a response
        if request.blueprint != NAME or request.url_rule is None:
            return None
        try:
            with _database():
                refused = guard.refuse() or (None if request.endpoint in PUBLIC else authenticate())
        except _Away as error:
            refused = _plain(error)
        if refused is not None:
            return guard.secured(refused)
        if request.method == "OPTIONS":  # Flask's own answer: the view would act
            return guard.secured(current_app.make_default_options_response())
        view: Any = current_app.view_functions[request.url_rule.endpoint]  # Any: Flask's types do not fit together
        return guard.secured(current_app.make_response(view(**(request.view_args or {}))))


# style sheets and scripts hold nothing of anybody's
PUBLIC = (f"{NAME}.static", f"{NAME}.{plotly.ENDPOINT}", *(f"{NAME}.{endpoint}" for endpoint in ENDPOINTS))


def _ask(house: House) -> Ask:
    reason = unquote(request.headers.get(REASON_HEADER, ""))[:LONGEST_REASON]  # as the registry's gate cuts it
    return Ask(house=house, who=house.accounts.who(), reason=reason)


def _refuse_unkeepable(ask: Ask, path: Mapping[str, str]) -> None:
    """What PostgreSQL cannot hold names nothing, and is no reason."""
    if any("\0" in value for value in path.values()):
        raise NotFound(f"{request.path!r}: there is nothing whose name holds a NUL character")
    if "\0" in ask.reason:
        raise BadInput(f"{REASON_HEADER} holds a NUL character: leave it out")


def _called(ask: Ask, declared: Route | Page, path: Mapping[str, str]) -> Any:  # Any: what the handler gives
    """What the handler answers, once the right was checked and what was sent was read."""
    _refuse_unkeepable(ask, path)
    access.check(ask, declared.right, path)
    given: dict[str, Any] = dict(path)
    if "body" in declared.hints:
        given["body"] = _body(declared.hints["body"])
    if "query" in declared.hints:
        given["query"] = _query(declared.hints["query"])
    return declared.handler(ask, **given)


class _Away(Unavailable):
    """The database does not answer."""


def _plain(error: HydraulicError) -> Response:
    return Response(f"{error}\n", status=code_of(error)[0], mimetype="text/plain")


@contextmanager
def _database() -> Iterator[None]:
    """A database that is away or stays locked is no fault of the request's: 503, and the log has the cause."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        log.exception("%s %s: the database does not answer", request.method, request.path)
        raise _Away("the database does not answer for now: try again; the server's log has the cause") from error


def _answering(house: House, route: Route) -> Callable[..., Response]:
    """The view function of one REST route."""

    def view(**path: str) -> Response:
        try:
            with _database():
                result = _called(_ask(house), route, path)
        except HydraulicError as error:
            return _json(told(error), code_of(error)[0])
        if isinstance(result, Sent):
            return _sent(result)
        if route.media:
            return Response(result, mimetype=route.media)
        return Response(status=204) if result is None else _json(result, 200)

    return view


def _no_route(rest: str) -> Response:
    """What MLflow, which knows no rule for it, would call a permission that is missing."""
    return _json(
        told(NotFound(f"{request.method} {rest!r}: no route of that name and method; /hydraulic/api lists all")), 404
    )


def _no_page(house: House) -> Callable[..., Response]:
    def view(rest: str) -> Response:
        error = NotFound(f"{rest!r}: there is no such page; choose one of the list")
        return Response(shell.render_error(_ask(house), error), status=404, mimetype="text/html")

    return view


def _body(kind: Any) -> Any:  # Any: a Struct's type and its value
    if request.mimetype != "application/json":
        raise BadInput(f"Content-Type {request.mimetype!r}: send JSON as application/json")
    if (request.content_length or 0) > MOST_BODY:
        raise BadInput(f"the body has {request.content_length} bytes: {MOST_BODY} is the most")
    data = request.get_data(cache=False)
    if len(data) > MOST_BODY:
        raise BadInput(f"the body has {len(data)} bytes: {MOST_BODY} is the most")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body cannot be read: {error}") from error


def _query(kind: Any) -> Any:  # Any: a Struct's type and its value
    given = request.args.to_dict()
    for name, value in given.items():
        if "\0" in value:
            raise BadInput(f"the query's {name!r} holds a NUL character, which no database takes: leave it out")
    try:
        return msgspec.convert(given, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"the query cannot be read: {error}") from error


def _json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status=status, mimetype="application/json")


def _sent(file: Sent) -> Response:
    response = Response(file.content, mimetype=file.media)
    if file.filename:
        name = "".join(letter if letter.isprintable() else "_" for letter in file.filename)  # no line ends in headers
        response.headers.set("Content-Disposition", "attachment", filename=name)
    if file.policy:
        response.headers["Content-Security-Policy"] = file.policy
    return response


def _showing(house: House, page: Page) -> Callable[..., Response]:
    """The view function of one page."""

    def view(**path: str) -> Response:
        try:
            with _database():
                ask = _ask(house)
                return Response(shell.render(ask, page, _called(ask, page, path)), mimetype="text/html")
        except _Away as error:  # the frame around a page asks the database too
            return _plain(error)
        except HydraulicError as error:
            return Response(shell.render_error(ask, error), status=code_of(error)[0], mimetype="text/html")

    return view
