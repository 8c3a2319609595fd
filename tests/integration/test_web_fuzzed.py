"""Every route and page on a real server with log-ins: asked rightly and wrongly, by who may and who may not.

schemathesis reads the OpenAPI document and asks everything that it describes: nothing ends in a server error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from openapi_spec_validator import validate
from sqlalchemy import Engine

from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.ledger import BEFORE_ALL, rows
from mlflow_hydraulic.web import api, views
from mlflow_hydraulic.web.page import PAGES
from mlflow_hydraulic.web.route import ROUTES, Route
from mlflow_hydraulic.web.sample import sample
from tests import services
from tests.browser.plant import make_registry
from tests.servers import Server, mlflow_server
from tests.support import planted

assert api, views  # they declare themselves
pytestmark = pytest.mark.slow
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
FUZZING_S, EXAMPLES = 20, 6
BASE = "/api/2.0/hydraulic"
KNOWN = {
    "project": planted.PROJECT,
    "model": planted.MODEL,
    "version": "1",
    "environment": planted.PLACE[0],
    "deployment": planted.PLACE[1],
    "user": "ds2",
}
HIDDEN = {
    "project": planted.HIDDEN_PROJECT,
    "model": planted.HIDDEN_MODEL,
    "deployment": planted.HIDDEN_PLACE[1],
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        uri = ""
        if request.param != "sqlite":
            started = {"postgresql": services.postgres, "mysql": services.mariadb}[request.param]()
            uri = services.new_database(stack.enter_context(started))
        make_registry(folder, uri=uri)
        env = {"HYDRAULIC_HOME": str(folder / "home")}
        yield stack.enter_context(mlflow_server(folder, auth=True, backend=uri or "sqlite", env=env))


@pytest.fixture(scope="module")
def engine(server: Server) -> Iterator[Engine]:
    engine = database.open_database(server.backend)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def alerts(engine: Engine) -> list[str]:
    """All is planted; the ids of its alerts, the hidden one last."""
    return planted.plant(engine)


def filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


def call(server: Server, user: str, route: Route, values: dict[str, str]) -> requests.Response:
    """The route with as small a body as it takes, in which what has the name of a place is that place."""
    body = sample(route.hints["body"]) if "body" in route.hints else None
    if isinstance(body, dict):
        body |= {name: value for name, value in values.items() if name in body and name != "user"}
    query = sample(route.hints["query"]) if "query" in route.hints else None
    where = server.uri + BASE + filled(route.path, values)
    return requests.request(route.method, where, json=body, params=query, auth=server.login(user), timeout=60)


def test_the_document_is_right_by_the_standard_and_names_every_route(server: Server) -> None:
    for base in (BASE, "/ajax-api/2.0/hydraulic"):
        document = requests.get(f"{server.uri}{base}/openapi.json", auth=server.login("ds1"), timeout=60).json()
        validate(document)
        described = {(method.upper(), path) for path, some in document["paths"].items() for method in some}
        assert described == {(route.method, route.path) for route in ROUTES}


def test_a_stranger_reads_no_word_of_a_project_by_any_route_or_page(server: Server, alerts: list[str]) -> None:
    values = {**KNOWN, **HIDDEN, "alert": alerts[-1]}
    for route in ROUTES:
        if route.method == "GET":
            answer = call(server, "ds2", route, values)
            assert planted.SECRET not in answer.text, route.path
            assert answer.status_code < 500, f"{route.path}: {answer.text[:500]}"
    for page in PAGES:
        address = f"{server.uri}/hydraulic{filled(page.path, values)}"
        answer = requests.get(address, auth=server.login("ds2"), timeout=60)
        assert planted.SECRET not in answer.text, page.path
        assert answer.status_code < 500, f"{page.path}: {answer.text[:500]}"
        if page.right is not None:
            assert answer.status_code == 404, page.path


def test_the_admin_reads_it_everywhere_so_that_the_test_above_can_fail(server: Server, alerts: list[str]) -> None:
    values = {**KNOWN, **HIDDEN, "alert": alerts[-1]}
    read = [route.name for route in ROUTES if route.method == "GET" and planted.SECRET in _text(server, route, values)]
    assert len(read) >= 8, read


def _text(server: Server, route: Route, values: dict[str, str]) -> str:
    return call(server, "", route, values).text


def test_a_reader_changes_nothing_by_any_route(server: Server, engine: Engine, alerts: list[str]) -> None:
    values = {**KNOWN, "alert": alerts[0]}
    last = _last(engine)
    for route in ROUTES:
        scoped = {"project", "model", "deployment", "alert"} & set(route.parameters)
        if route.method == "GET" or not scoped or route.name in READERS:
            continue
        answer = call(server, "ds2", route, values)
        wanted = (200, 400, 403, 404, 409, 422) if route.path.endswith("/preview") else (400, 403, 404, 409, 422)
        assert answer.status_code in wanted, f"{route.method} {route.path}: {answer.text[:300]}"
    with engine.connect() as connection:
        done = [row for row in rows(connection, after=last) if row.actor == "ds2" and row.verb != "refused"]
    assert done == []


def _last(engine: Engine) -> int:
    """The number of the ledger's last row."""
    with engine.connect() as connection:
        return max(row.seq for row in rows(connection, after=BEFORE_ALL))


READERS = ("leave_project",)  # what a reader may do


@pytest.mark.parametrize("names", ["any", "known"])
def test_nothing_described_ends_in_a_server_error(
    server: Server, engine: Engine, alerts: list[str], names: str, tmp_path: Path
) -> None:
    """names: in addresses; what is asked of places that are not there gets no further than a 404."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: the OpenAPI document is NOT fuzzed")
    user, password = server.login()
    last = _last(engine)
    if names == "known":
        said = {**KNOWN, "version": 1, "alert": alerts[0]}
        assert {name for route in ROUTES for name in route.parameters} <= said.keys()
        lines = [f'"path.{name}" = {json.dumps(value)}' for name, value in said.items()]
        (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines]))
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.uri}{BASE}/openapi.json", "--checks", CHECKS]
    command += ["--max-examples", str(EXAMPLES), "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color"]
    command += ["--max-time", str(FUZZING_S), "--auth", f"{user}:{password}", "--no-shrink"]
    command += ["--continue-on-failure"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert "Traceback" not in server.said(), server.said()[-4000:]
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    if names == "known":
        with engine.connect() as connection:
            done = {row.verb for row in rows(connection, after=last) if row.model == planted.MODEL}
        assert len(done) > 2, f"places that are there were hardly asked: {done}"
