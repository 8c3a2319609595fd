"""Writes that another site's page causes are refused, behind a proxy too; security headers; guesses are made slow."""

from __future__ import annotations

import pytest
from flask import Flask, Response

from mlflow_hydraulic.web import guard
from mlflow_hydraulic.web.login import throttle
from mlflow_hydraulic.web.login.throttle import FORGET_S, Throttle, keys_of

HOST = {"Host": "mlflow.example:5000"}


def foreign(headers: dict[str, str], method: str = "POST", allowed: tuple[str, ...] = ()) -> bool:
    app = Flask("tests")
    app.config[guard.ORIGINS] = allowed
    with app.test_request_context("/x", method=method, headers={**HOST, **headers}):
        answer = guard.refuse()
        assert answer is None or (answer.status_code == 403 and b"PERMISSION_DENIED" in answer.data)
        return answer is not None


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),  # no browser
        ({"Origin": "http://mlflow.example:5000"}, False),
        ({"Origin": "http://mlflow.example"}, True),  # another port is another origin
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "http://mlflow.example:5000.evil.example"}, True),
        ({"Origin": "http://mlflow.example:x"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://mlflow.example:5000", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "none"}, False),
        # behind a proxy that does not pass Host on: the browser's own word, else what the proxy says
        ({"Origin": "https://models.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "https://models.example", "X-Forwarded-Host": "models.example"}, False),
        ({"Origin": "https://models.example", "X-Forwarded-Host": "models.example:443"}, False),
        ({"Origin": "https://models.example", "X-Forwarded-Host": "models.example, inner:80"}, False),
        ({"Origin": "https://a.example:8443", "X-Forwarded-Host": "a.example", "X-Forwarded-Port": "8443"}, False),
        ({"Origin": "https://evil.example", "X-Forwarded-Host": "models.example"}, True),
    ],
)
def test_a_write_is_refused_where_another_origin_caused_it(headers: dict[str, str], refused: bool) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert foreign(headers, method) is refused
    assert not any(foreign(headers, method) for method in ("GET", "HEAD", "OPTIONS"))


def test_origins_that_mlflow_is_told_to_allow_may_write_but_not_all_of_them() -> None:
    headers = {"Origin": "https://lab.example", "Sec-Fetch-Site": "cross-site"}
    assert not foreign(headers, allowed=("https://lab.example",))
    assert not foreign(headers, allowed=("https://*.example",))
    assert foreign(headers, allowed=("https://lab.example.evil",))
    assert foreign(headers, allowed=("*",))


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({}, "http://mlflow.example:5000"),
        ({"X-Forwarded-Host": "models.example", "X-Forwarded-Proto": "https"}, "https://models.example"),
    ],
)
def test_our_own_address_is_the_one_that_the_browser_sees(headers: dict[str, str], origin: str) -> None:
    with Flask("tests").test_request_context("/x", headers={**HOST, **headers}):
        assert guard.own_origin() == origin


def test_every_answer_has_the_headers_and_no_script_but_ours_runs() -> None:
    with Flask("tests").test_request_context("/x"):
        headers = guard.secured(Response("x")).headers
    policy = dict(one.strip().split(" ", 1) for one in headers["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self'" and policy["object-src"] == "'none'" and policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == "'self'" and policy["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_wrong_guess_doubles_the_wait_up_to_a_minute_and_a_right_one_begins_anew() -> None:
    clock = Clock()
    door = Throttle(clock)
    keys = keys_of("ds1", "10.0.0.1")
    waits = []
    for _ in range(14):
        waits.append(door.begin(keys))
        clock.now += waits[-1]
    assert waits[:6] == [0.0] * 6
    assert waits[6:] == [1.0, 0.0, 2.0, 0.0, 4.0, 0.0, 8.0, 0.0]
    for _ in range(20):
        clock.now += door.begin(keys)
    assert door.begin(keys) <= 60.0
    clock.now += 60.0
    assert door.begin(keys) == 0.0
    door.hit(keys)
    assert door.begin(keys) == 0.0 and door.begin(keys) == 0.0


def test_the_wait_is_forgotten_after_a_while() -> None:
    clock = Clock()
    door = Throttle(clock)
    keys = keys_of("ds1", "10.0.0.1")
    while not door.begin(keys):
        pass
    clock.now += FORGET_S
    assert [door.begin(keys) for _ in range(6)] == [0.0] * 6


def test_guesses_from_everywhere_at_one_name_delay_its_owner_by_seconds_only() -> None:
    clock = Clock()
    door = Throttle(clock)
    for number in range(500):
        clock.now += 5.0
        door.begin(keys_of("ds1", f"10.0.{number // 250}.{number % 250}"))
    assert door.begin(keys_of("ds1", "192.0.2.1")) <= 5.0
    assert door.begin(keys_of("ds2", "192.0.2.1")) == 0.0


def test_many_names_from_one_address_are_slowed_and_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST", 200)
    monkeypatch.setattr(throttle, "MOST_VOUCHED", 50)
    clock = Clock()
    door = Throttle(clock)
    waited = 0
    for number in range(1000):
        waited += door.begin(keys_of(f"name{number}" * 1000, "10.0.0.1")) > 0
        door.vouch(str(number))
    assert waited > 900
    for number in range(5000):
        door.begin(keys_of(f"n{number}", f"a{number}"))
    assert len(door._misses) <= 200 and len(door._vouched) == 50
    assert max(len(key[1]) for key in door._misses) <= throttle.LONGEST_NAME
