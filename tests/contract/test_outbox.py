"""The outbox, on SQLite and a real PostgreSQL: at least once, in order, by one sender; what is away, slow or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import lease, queries
from mlflow_hydraulic.monitor import webhook
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.channels import Secret, Webhook
from mlflow_hydraulic.monitor.outbox import GIVE_UP, Delivered, Outbox, history
from mlflow_hydraulic.monitor.rules import Rules
from tests.support.alerting import finding
from tests.support.local import until
from tests.support.receivers import Hook, hook

NOW = utc_now()
RULES = Rules(notify=("team",))
LATER = timedelta(minutes=20)  # more than the longest wait


@pytest.fixture
def server() -> Iterator[Hook]:
    with hook() as made:
        yield made


def team(url: str) -> Webhook:
    return Webhook(name="team", url=Secret(plain=url), timeout_s=5.0)


def outbox(engine: Engine, url: str, holder: str = "a", rules: Rules = RULES) -> Outbox:
    return Outbox(engine, {"team": team(url)}, rules, holder=holder)


def raise_alerts(engine: Engine, count: int, rules: Rules = RULES) -> None:
    for n in range(count):
        judge(engine, [finding("r", 0, NOW, rule=f"rule {n}")], rules, NOW)


def rules_of(server: Hook) -> list[str]:
    return [item["alert"]["rule"] for got in server.got for item in got.json["hydraulic"]["items"]]


def ids_of(server: Hook) -> list[str]:
    return [got.headers[webhook.DELIVERY] for got in server.got]


def states(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [row.state for row in history(connection, "default", "")]


def test_all_is_sent_once_and_in_order(evidence: Engine, server: Hook) -> None:
    raise_alerts(evidence, 4)
    assert outbox(evidence, server.url).deliver(NOW) == Delivered(sent=4)
    assert outbox(evidence, server.url).deliver(NOW) == Delivered()
    assert rules_of(server) == [f"rule {n}" for n in range(4)]
    assert len(set(ids_of(server))) == 4


def test_a_channel_that_fails_rests_and_loses_nothing(evidence: Engine, server: Hook) -> None:
    raise_alerts(evidence, 3)
    server.answers = [(503, {}, b"busy"), (429, {"Retry-After": "90"}, b""), (200, {}, b"ok")]
    box = outbox(evidence, server.url)
    assert box.deliver(NOW) == Delivered(waiting=3)
    assert box.deliver(NOW + timedelta(seconds=1)) == Delivered(waiting=3), "it rests"
    assert len(server.got) == 1
    again = NOW + timedelta(seconds=10)
    assert box.deliver(again) == Delivered(waiting=3)
    assert box.deliver(again + timedelta(seconds=89)) == Delivered(waiting=3), "Retry-After is honoured"
    assert box.deliver(again + timedelta(seconds=91)) == Delivered(sent=3)
    assert rules_of(server) == ["rule 0", "rule 0", "rule 0", "rule 1", "rule 2"]
    assert len(set(ids_of(server))) == 3


def test_what_is_refused_for_itself_is_given_up_in_the_ledger_and_the_next_goes_on(
    evidence: Engine, server: Hook
) -> None:
    raise_alerts(evidence, 2)
    server.answers = [(400, {}, b"no_text"), (200, {}, b"ok")]
    assert outbox(evidence, server.url).deliver(NOW) == Delivered(sent=1, given_up=1)
    with evidence.connect() as connection:
        [row] = queries.newest(connection, queries.Asked(verb="undelivered"), 9)
    assert "400 no_text" in row.reason


def test_what_is_away_for_a_day_is_given_up(evidence: Engine, server: Hook) -> None:
    raise_alerts(evidence, 1)
    server.answers = [(500, {}, b"")]
    assert outbox(evidence, server.url).deliver(NOW + GIVE_UP - LATER) == Delivered(waiting=1)
    assert outbox(evidence, server.url).deliver(NOW + GIVE_UP + LATER) == Delivered(given_up=1)


def test_a_channel_that_is_not_configured_or_has_no_secret_yet_waits(
    evidence: Engine, server: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alerts(evidence, 1)
    assert Outbox(evidence, {}, RULES, holder="a").deliver(NOW) == Delivered(waiting=1)
    by_variable = {"team": Webhook(name="team", url=Secret(env="TEAM_URL"))}
    assert Outbox(evidence, by_variable, RULES, holder="a").deliver(NOW + LATER) == Delivered(waiting=1)
    monkeypatch.setenv("TEAM_URL", server.url)
    assert Outbox(evidence, by_variable, RULES, holder="a").deliver(NOW + 3 * LATER) == Delivered(sent=1)


def test_a_body_that_somebody_broke_stops_nothing(evidence: Engine, server: Hook) -> None:
    raise_alerts(evidence, 2)
    with evidence.begin() as connection:
        first = connection.execute(text("select id from hydraulic_outbox order by seq")).scalar()
        connection.execute(text("update hydraulic_outbox set body = 'x' where id = :id"), {"id": first})
    assert outbox(evidence, server.url).deliver(NOW) == Delivered(sent=1, given_up=1)


def test_two_senders_at_once_send_each_once(evidence: Engine, server: Hook) -> None:
    raise_alerts(evidence, 6)
    boxes = [outbox(evidence, server.url, holder=f"h{n}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        while states(evidence) != ["sent"] * 6:
            list(pool.map(lambda box: box.deliver(NOW), boxes))
    assert rules_of(server) == [f"rule {n}" for n in range(6)]


def test_one_channel_that_hangs_does_not_hold_up_another(evidence: Engine, server: Hook) -> None:
    both = Rules(notify=("slow", "team"))
    raise_alerts(evidence, 1, both)
    free = threading.Event()
    with hook() as slow:
        slow.hold = lambda: free.wait(60)
        box = Outbox(evidence, {"slow": team(slow.url), "team": team(server.url)}, both, holder="a")
        with ThreadPoolExecutor(1) as pool:
            delivering = pool.submit(box.deliver, NOW)
            until(lambda: server.got, "the other channel's notification")
            assert not delivering.done()
            free.set()
            assert delivering.result(60) == Delivered(sent=2)


KILLED = """
import sys
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.monitor.channels import Secret, Webhook
from mlflow_hydraulic.monitor.outbox import Outbox
from mlflow_hydraulic.monitor.rules import Rules
channels = {"team": Webhook(name="team", url=Secret(plain=sys.argv[2]), timeout_s=60)}
Outbox(database.open_database(sys.argv[1]), channels, Rules(notify=("team",)), holder="killed").deliver(utc_now())
"""


def test_a_sender_killed_between_is_repeated_under_the_same_id(
    evidence: Engine, database_uri: str, server: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alerts(evidence, 2)
    free = threading.Event()
    server.hold = lambda: free.wait(60)
    killed = subprocess.Popen([sys.executable, "-c", KILLED, database_uri, server.url])
    try:
        until(lambda: server.got, "the first notification to arrive")
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(30)
        free.set()
    server.hold = lambda: None
    assert states(evidence) == ["pending", "pending"]
    box = outbox(evidence, server.url, holder="next")
    assert box.deliver(NOW) == Delivered(waiting=2), "the dead sender's time is not over"
    lease.give_back(evidence, name="outbox:default:team", holder="killed")  # as its end does
    assert box.deliver(NOW) == Delivered(sent=2)
    assert rules_of(server) == ["rule 0", "rule 0", "rule 1"]
    assert len(set(ids_of(server))) == 2
