"""The log-in in MLflow's real server: its page, its API and ours, its FastAPI routes; with a real provider."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from tests.servers import Server, mlflow_server
from tests.services import free_port
from tests.support.canaille import Canaille, canaille
from tests.support.login import FORM_TOKEN, alert_of_text

HTML = {"Accept": "text/html"}
LOGOUT_TOKEN = re.compile(r'name="token" value="([0-9a-f]{32})"')
WHO = "/ajax-api/2.0/mlflow/users/current"


@pytest.fixture(scope="module")
def provider_and_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Canaille, Server]]:
    """Both; two workers of gunicorn's kind under uvicorn, and a prefix: what a proxy in front would have."""
    folder = tmp_path_factory.mktemp("login")
    port = free_port()
    with canaille(f"http://127.0.0.1:{port}/ml", folder) as provider:
        table = {"issuer": provider.issuer, "client_id": provider.client, "label": "Campus", "username_claim": "sub"}
        lines = ["[oidc]", *(f'{name} = "{value}"' for name, value in table.items())]
        lines += ['scopes = ["openid", "profile", "groups"]', 'users = ["ds3"]']
        lines += ['groups_claim = "groups"', 'user_groups = ["data"]', 'admin_groups = ["ops"]']
        (folder / "hydraulic.toml").write_text("\n".join(lines), encoding="utf-8")
        with mlflow_server(
            folder,
            auth=True,
            workers=2,
            prefix="/ml",
            port=port,
            env={"HYDRAULIC_OIDC_CLIENT_SECRET": provider.secret},
        ) as server:
            yield provider, server


@pytest.fixture(scope="module")
def server(provider_and_server: tuple[Canaille, Server]) -> Server:
    return provider_and_server[1]


@pytest.fixture(scope="module")
def provider(provider_and_server: tuple[Canaille, Server]) -> Canaille:
    return provider_and_server[0]


def at(server: Server, path: str) -> str:
    return server.uri + server.prefix + path


def log_in(server: Server, user: str) -> requests.Session:
    """A browser's cookies after the form."""
    session = requests.Session()
    token = FORM_TOKEN.findall(session.get(at(server, "/hydraulic/login"), timeout=60).text)[0]
    sent = {"user": user, "password": server.login(user)[1], "token": token, "next": f"{server.prefix}{WHO}"}
    answer = session.post(at(server, "/hydraulic/login"), data=sent, timeout=60)
    assert answer.json()["user"]["username"] == user
    return session


def test_a_page_leads_to_the_form_and_the_api_asks_as_before(server: Server) -> None:
    page = requests.get(at(server, "/?x=1"), headers=HTML, allow_redirects=False, timeout=60)
    assert page.status_code == 303
    assert page.headers["Location"] == "/ml/hydraulic/login?next=%2Fml%2F%3Fx%3D1"
    for path in (WHO, "/api/2.0/hydraulic/about", "/api/2.0/mlflow/experiments/search"):
        answer = requests.get(at(server, path), headers=HTML, allow_redirects=False, timeout=60)
        assert answer.status_code == 401 and "Basic" in answer.headers["WWW-Authenticate"], path
        answer = requests.get(at(server, path), headers={"User-Agent": "Mozilla/5.0"}, timeout=60)
        assert answer.status_code == 401 and "WWW-Authenticate" not in answer.headers, path  # no dialog of the browser
        assert requests.get(at(server, path), auth=server.login("ds2"), timeout=60).status_code in (200, 400), path
    assert requests.get(at(server, WHO), auth=("ds2", "wrong"), timeout=60).status_code == 401


def test_one_session_serves_every_part_of_the_server_and_ends_with_the_log_out(server: Server) -> None:
    session = log_in(server, "ds1")
    for _ in range(6):  # each of the workers
        assert session.get(at(server, WHO), timeout=60).json()["user"]["username"] == "ds1"
        assert session.get(at(server, "/api/2.0/hydraulic/about"), timeout=60).json()["user"] == "ds1"
    assert session.get(at(server, "/"), headers=HTML, allow_redirects=False, timeout=60).status_code == 200
    # answered by FastAPI, which asks by another way; 404: there is none, and nobody was refused
    job = at(server, "/ajax-api/3.0/jobs/none")
    assert session.get(job, timeout=60).status_code != 401
    assert requests.get(job, timeout=60).status_code == 401
    write = at(server, "/ajax-api/2.0/mlflow/experiments/create")
    foreign = {"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-site"}
    assert session.post(write, json={"name": "theirs"}, headers=foreign, timeout=60).status_code in (401, 403)
    assert session.post(write, json={"name": "ours"}, timeout=60).status_code == 200

    copy = dict(session.cookies)
    token = LOGOUT_TOKEN.findall(session.get(at(server, "/hydraulic/logout"), timeout=60).text)[0]
    assert session.post(at(server, "/hydraulic/logout"), data={"token": token}, timeout=60).status_code == 200
    for _ in range(6):
        assert requests.get(at(server, WHO), cookies=copy, timeout=60).status_code == 401


def test_another_password_ends_the_session(server: Server) -> None:
    session = log_in(server, "ds2")
    changed = {"username": "ds2", "password": "another password of ds2"}
    users = at(server, "/api/2.0/mlflow/users/update-password")
    try:
        assert requests.patch(users, json=changed, auth=server.login(), timeout=60).ok
        assert session.get(at(server, WHO), timeout=60).status_code == 401
    finally:
        requests.patch(users, json={**changed, "password": server.login("ds2")[1]}, auth=server.login(), timeout=60)


def test_a_real_provider_lets_in_makes_users_and_administrators_and_logs_out(
    provider: Canaille, server: Server
) -> None:
    for user, admin in (("ds1", False), ("ds3", True)):
        session = requests.Session()
        start = at(server, f"/hydraulic/login/start?next={server.prefix}{WHO}")
        back = provider.log_in(session, start, user, at(server, "/hydraulic/login/back"))
        answer = session.get(back, timeout=60)
        assert answer.ok, alert_of_text(answer.text)
        assert answer.json()["user"]["username"] == user and answer.json()["user"]["is_admin"] is admin
        again = session.get(back, timeout=60)  # what came back serves once
        assert again.status_code == 403 and "not begun in this browser" in alert_of_text(again.text)
        token = LOGOUT_TOKEN.findall(session.get(at(server, "/hydraulic/logout"), timeout=60).text)[0]
        page = session.post(at(server, "/hydraulic/logout"), data={"token": token}, timeout=60).text
        assert f"url={provider.issuer}/oauth/end_session?id_token_hint=" in page
        assert session.get(at(server, WHO), timeout=60).status_code == 401


def test_no_password_and_no_secret_is_in_the_log(provider: Canaille, server: Server) -> None:
    said = server.said()
    assert "hydraulic/login" in said
    for secret in (server.login("ds1")[1], server.login()[1], provider.secret, "code=", "a key of the tests"):
        assert secret not in said, secret
