"""A dry run that goes on: tells a plan once, waits while another leads, outlives a lost registry. The health port."""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.cli.health import STUCK_S, Health
from mlflow_hydraulic.cli.rehearsal import Rehearsal
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.plan import Plan, make_plan
from mlflow_hydraulic.registry import Registry
from tests.support.local import until

EMPTY = make_plan(Registry(models=()), preset("stages"), (), {})


@dataclass
class Beating:
    beat: float


@contextmanager
def running(look: Callable[[], Plan], awake: Callable[[], bool] = lambda: True) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(look, 0.01, awake=awake)
    thread = threading.Thread(target=rehearsal.run)
    thread.start()
    try:
        yield rehearsal
    finally:
        rehearsal.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_a_plan_is_told_once_and_what_is_away_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []

    def look() -> Plan:
        looks.append(1)
        if 3 <= len(looks) < 6:
            raise Unavailable("no registry")
        return EMPTY

    with caplog.at_level(logging.INFO, "hydraulic.controller"), running(look):
        until(lambda: len(looks) > 8, "it goes on")
    said = [record.message for record in caplog.records]
    assert said.count("cannot plan: no registry") == 1
    assert said.count("would do:") == 2


def test_nothing_is_read_while_another_leads_and_the_plan_is_told_anew_after() -> None:
    looks: list[int] = []
    awake = threading.Event()

    def look() -> Plan:
        looks.append(1)
        return EMPTY

    with running(look, awake.is_set) as rehearsal:
        first = rehearsal.beat
        until(lambda: rehearsal.beat > first, "it waits")
        assert not looks
        awake.set()
        until(lambda: looks, "it leads")


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_loop_that_stands_still_fails_its_probes_and_metrics_go_on() -> None:
    loop = Beating(time.monotonic())
    gauges: dict[str, tuple[str, Callable[[], float]]] = {"hydraulic_any": ("Any.", lambda: 3.0)}
    with Health(loop, 0, gauges, host="127.0.0.1") as health:
        assert ask(health.port, "/livez") == ask(health.port, "/readyz?verbose") == (200, "ok\n")
        loop.beat -= STUCK_S + 1
        assert ask(health.port, "/livez")[0] == 503
        code, text = ask(health.port, "/metrics")
        assert code == 200
        assert "# TYPE hydraulic_any gauge" in text
        assert {"hydraulic_any 3", "hydraulic_any 3.0"} & set(text.splitlines())
        assert ask(health.port, "/")[0] == 404
