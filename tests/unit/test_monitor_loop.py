"""The monitor's loop over a small world: handover, failures, the post between passes, its end, and what it answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from mlflow_hydraulic.cli.health import STUCK_S, Health
from mlflow_hydraulic.cli.monitor import _metrics
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence import lease
from mlflow_hydraulic.monitor import loop, outbox
from mlflow_hydraulic.monitor.configured import Monitoring, read_monitoring
from mlflow_hydraulic.monitor.loop import LEASE, Monitor
from mlflow_hydraulic.monitor.outbox import Delivered
from mlflow_hydraulic.monitor.post import Later
from mlflow_hydraulic.monitor.watch import Looked, Watch
from tests.support.local import until
from tests.support.watching import World, normal


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(loop, "RENEW_S", 0.01)
    return World(tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("hydraulic"), "propagate", True)  # a command that ran before may have cut it
    caplog.set_level(logging.INFO, logger="hydraulic")
    return caplog


def made(world: World, holder: str, *, interval_s: float = 0.02, watch: Watch | None = None) -> Monitor:
    return Monitor(watch or Watch(world.watched(), holder), world.engine, interval_s, holder, "default")


@contextmanager
def started(monitor: Monitor) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=monitor.run, name="monitor")
    thread.start()
    try:
        yield thread
    finally:
        monitor.stop()
        thread.join(30)
        assert not thread.is_alive()


def holder_of(engine: Engine) -> str:
    held = lease.current(engine, name="monitor")
    return held.holder if held else ""


class Failing(Watch):
    """A watch whose next passes raise what `errors` holds."""

    def __init__(self, world: World, *errors: BaseException) -> None:
        super().__init__(world.watched(), "a:1")
        self.errors = list(errors)

    def look(self) -> Looked:
        if self.errors:
            raise self.errors.pop(0)
        return super().look()


def test_of_two_one_looks_and_the_other_goes_on_when_it_ends(world: World, said: pytest.LogCaptureFixture) -> None:
    first, second = made(world, "a:1"), made(world, "b:2")
    with started(second) as waiting:
        with started(first):
            until(lambda: first.looks + second.looks > 2, "one of them looks", 30)
            leads, waits = (first, second) if holder_of(world.engine) == "a:1" else (second, first)
            until(lambda: "another monitor looks; waiting" in said.messages, "the other waits", 30)
            looks = leads.looks
            until(lambda: leads.looks > looks + 3, "it goes on", 30)
            assert waits.looks == 0
            leads.stop()
            until(lambda: waits.looks > 0, "the other looks", LEASE.total_seconds() / 2)
        assert waiting.is_alive() == (waits is second)
    assert said.messages.count("another monitor looks; waiting") == 1
    assert said.messages.count(f"monitor {'b:2' if waits is second else 'a:1'} looks now") == 1
    assert holder_of(world.engine) == ""


def test_a_dead_one_is_followed_when_its_lease_is_over(world: World) -> None:
    def dead(since: timedelta) -> None:
        lease.take(world.engine, name="monitor", holder="dead:9", now=utc_now() - since, length=LEASE)

    dead(LEASE / 2)
    monitor = made(world, "a:1")
    with started(monitor):
        begun = monitor.beat
        until(lambda: monitor.beat > begun, "it goes round", 30)
        assert (monitor.looks, holder_of(world.engine)) == (0, "dead:9")
        lease.give_back(world.engine, name="monitor", holder="dead:9")
        until(lambda: monitor.looks > 0, "it looks", 30)
    dead(LEASE * 1.5)
    monitor = made(world, "a:1")
    with started(monitor):
        until(lambda: monitor.looks > 0, "it looks", 30)


def test_another_workspaces_monitor_is_none_to_wait_for(world: World) -> None:
    lease.take(world.engine, name="monitor", holder="other:9", now=utc_now(), length=LEASE)
    monitor = Monitor(Watch(world.watched(workspace="w"), "a:1"), world.engine, 0.02, "a:1", "w")
    with started(monitor):
        until(lambda: monitor.looks > 0, "it looks", 30)


@pytest.mark.parametrize(
    ("error", "told"), [(Unavailable("no route to host"), "no route to host"), (KeyError("bug"), "KeyError('bug')")]
)
def test_a_failing_pass_is_told_and_the_next_goes_on(
    world: World, said: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    monitor = made(world, "a:1", watch=Failing(world, error, error))
    with started(monitor):
        until(lambda: monitor.looks > 1, "it goes on", 30)
    assert monitor.failures == 2
    text = f"this pass ended early, the next will try again: {told}"
    assert said.messages.count(text) == 1, "once, though it happened twice"
    assert any(one.exc_info for one in said.records) == isinstance(error, KeyError), "a bug with its traceback"


def test_without_the_evidence_database_it_waits_and_goes_on(world: World, said: pytest.LogCaptureFixture) -> None:
    file = world.folder / "evidence.db"
    world.ask("cooler", normal(200, 5, shift=1.5))
    monitor = made(world, "a:1")
    world.engine.dispose()
    away = file.rename(file.with_suffix(".away"))
    file.mkdir()  # or else SQLite makes an empty one
    with started(monitor) as thread:
        until(lambda: monitor.failures > 2, "passes fail", 30)
        assert thread.is_alive() and monitor.looks == 0
        file.rmdir()
        away.rename(file)
        until(lambda: monitor.looks > 0, "it looks", 30)
    [trouble] = [text for text in said.messages if "does not answer" in text]  # in passes and pauses alike: once
    assert "the evidence database does not answer: unable to open database file" in trouble and "\n" not in trouble


def test_asked_to_stop_in_a_pause_it_ends_at_once_and_gives_its_lease_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RENEW_S", 600.0)
    monitor = made(world, "a:1", interval_s=3600.0)
    with started(monitor) as thread:
        until(lambda: monitor.looks > 0, "it looks", 30)
        assert holder_of(world.engine) == "a:1"
        monitor.stop()
        thread.join(5)
        assert not thread.is_alive()
    assert (monitor.looks, holder_of(world.engine)) == (1, "")


def test_asked_to_stop_before_it_runs_it_does_not_look(world: World) -> None:
    asked = threading.Event()
    asked.set()
    monitor = Monitor(Watch(world.watched(), "a:1"), world.engine, 3600.0, "a:1", "default", asked=asked)
    monitor.run()
    assert monitor.looks == monitor.failures == 0


def test_between_passes_the_post_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    attempts: list[str] = []

    def send(_channel: object, notification: object, _now: datetime) -> str:
        attempts.append(str(notification))
        world.forward(minutes=10)  # the next try is due
        if len(attempts) == 2:
            raise KeyError("a bug")
        if len(attempts) < 4:
            raise Later("the channel is away")
        return "ok"

    monkeypatch.setattr(outbox, "send", send)
    world.ask("cooler", normal(200, 5, shift=1.5))
    monitor = made(world, "a:1", interval_s=3600.0)
    with started(monitor) as thread:
        until(lambda: monitor.last is not None and monitor.last.delivered == Delivered(sent=1), "it is sent", 30)
        assert thread.is_alive() and monitor.looks == 1
    assert len(attempts) == 4, "and not once more"
    assert any("between two passes" in text for text in said.messages)


def test_health_is_told_of_the_loop_and_of_what_it_found(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    monitor = made(world, "a:1", watch=Failing(world, Unavailable("away")), interval_s=0.02)

    def metrics(url: str) -> dict[str, float]:
        page = requests.get(f"{url}/metrics", timeout=30).text
        return {one.name: one.value for each in text_string_to_metric_families(page) for one in each.samples}

    with Health(monitor, 0, _metrics(monitor), "127.0.0.1", component="monitor") as health:
        url = f"http://127.0.0.1:{health.port}"
        before = metrics(url)
        with started(monitor):
            until(lambda: monitor.looks > 0, "it looks", 30)
        after = metrics(url)
        for path in ("/livez", "/readyz", "/livez?verbose"):
            reply = requests.get(url + path, timeout=30)
            assert (reply.status_code, reply.text) == (200, "ok\n")
        monitor.beat -= STUCK_S
        for path in ("/livez", "/readyz"):
            reply = requests.get(url + path, timeout=30)
            assert reply.status_code == 503 and reply.text.startswith("the loop has not gone round for 6")
        assert requests.get(f"{url}/", timeout=30).status_code == 404
    name = "hydraulic_monitor_{}".format
    assert {before[name(one)] for one in ("looks_total", "failures_total", "deployments", "findings_red")} == {0}
    assert (after[name("looks_total")], after[name("failures_total")]) == (monitor.looks, 1)
    assert after[name("deployments")] == 2 and monitor.last is not None
    for colour in ("red", "orange", "green", "grey"):
        assert after[name(f"findings_{colour}")] == sum(one.colour == colour for one in monitor.last.found)
    assert after["hydraulic_loop_age_seconds"] < STUCK_S


def test_metrics_tell_what_waits(world: World) -> None:
    monitor = made(world, "a:1")
    monitor.last = replace(Looked(), delivered=Delivered(waiting=3))
    assert _metrics(monitor)["hydraulic_monitor_notifications_waiting"][1]() == 3


def test_defaults_are_those_of_an_empty_table() -> None:
    assert read_monitoring({}).looking == Monitoring().looking
