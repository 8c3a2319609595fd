"""Deploying over REST on a real server with a log-in: who may do what where, and the ledger tells all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.evidence.words import told
from mlflow_hydraulic.plugin.caller import REASON_HEADER
from tests.servers import Server, mlflow_server

pytestmark = pytest.mark.slow
API = "/api/2.0/hydraulic"
DEV, PROD = (f"{API}/models/cooler/environments/{name}" for name in ("dev", "prod"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("acts")
    (folder / "hydraulic.toml").write_text("[policy.prod]\nvalidated = false\n", encoding="utf-8")
    with mlflow_server(folder, auth=True) as made:
        yield made


def call(
    server: Server, path: str, body: object, user: str = "ds1", verb: str = "POST", reason: str = ""
) -> requests.Response:
    headers = {REASON_HEADER: reason} if reason else {}
    return requests.request(verb, server.uri + path, json=body, auth=server.login(user), headers=headers, timeout=120)


def test_ds1_deploys_to_dev_and_prod_and_a_contributor_only_to_dev(server: Server) -> None:
    assert call(server, f"{API}/projects", {"name": "rig"}).ok
    assert call(server, "/api/2.0/mlflow/registered-models/create", {"name": "cooler"}).ok
    for _ in range(2):
        assert call(server, "/api/2.0/mlflow/model-versions/create", {"name": "cooler", "source": "s3://m/1"}).ok
    tag = {"name": "cooler", "key": "hydraulic.project", "value": "rig"}
    assert call(server, "/api/2.0/mlflow/registered-models/set-tag", tag).ok
    assert call(server, f"{DEV}/deploy/preview", one(1), "ds2").status_code == 404
    assert call(server, f"{API}/projects/rig/members", {"user": "ds2", "role": "contributor"}).ok

    assert call(server, f"{DEV}/deploy", one(1), "ds2").ok
    refused = call(server, f"{PROD}/deploy", {**one(1), "reason": "let me"}, "ds2")
    assert refused.status_code == 403
    assert "'ds2' is contributor of" in refused.json()["message"]
    assert call(server, f"{API}/models/cooler/versions/1/verdicts", {"verdict": "approved"}, "ds2").status_code == 403

    shown = call(server, f"{PROD}/deploy/preview", one(1)).json()
    assert shown["reason_required"]
    assert call(server, f"{PROD}/deploy", one(1)).status_code == 403
    said = {**one(1), "reason": "two weeks in DEV without a fault", "digest": shown["digest"]}
    assert call(server, f"{PROD}/deploy", said).json()["moved"] == ["version 1: stage Staging -> Production"]
    assert call(server, f"{PROD}/deploy", {**one(2), "reason": "late", "digest": shown["digest"]}).status_code == 409
    assert call(server, f"{PROD}/deploy", one(2), reason="better").ok

    engine = database.open_database(server.backend)
    with engine.connect() as connection:
        assert ledger.verify(connection).holds
        rows = [row for row in ledger.rows(connection, model="cooler") if row.verb in ("stage", "refused")]
    engine.dispose()
    assert [told(row) for row in rows if row.verb == "stage"] == [
        "ds2 moved version 1 from None to Staging",
        "ds1 moved version 1 from Staging to Production: two weeks in DEV without a fault",
        "ds1 moved version 1 from Production to Archived: better",
        "ds1 moved version 2 from None to Production: better",
    ]
    assert {row.actor for row in rows if row.verb == "refused"} == {"ds1", "ds2"}
    assert (
        "is contributor of"
        in json.loads(next(row.after for row in rows if row.actor == "ds2" and row.verb == "refused"))["refused"][0]
    )


def one(version: int) -> dict[str, object]:
    return {"arms": [{"version": version}]}


def test_the_page_shows_it_and_a_write_of_another_site_is_refused(server: Server) -> None:
    page = requests.get(
        f"{server.uri}/hydraulic/models/cooler/versions/1/deploy?environment=prod", auth=server.login("ds1"), timeout=60
    )
    assert page.status_code == 200
    assert "PROD asks for one" in page.text
    answer = requests.post(
        f"{server.uri}{PROD}/deploy",
        json={**one(1), "reason": "x"},
        auth=server.login("ds1"),
        headers={"Origin": "https://elsewhere.example"},
        timeout=60,
    )
    assert answer.status_code == 403
