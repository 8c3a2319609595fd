"""Promises and their budgets, and the findings of the service level: when they alarm, and when they do not know."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.levels.service import service_findings
from mlflow_hydraulic.monitor.served import History, Slice
from mlflow_hydraulic.monitor.sla import Budget, Sla, alarms, budgets, read_slas, sla_of

COOLER = Subject(environment="prod", deployment="cooler")
NOW = 35 * 86_400.0
THREE_NINES = Sla(availability=0.999, p99_ms=250.0)
QUICK, SLOW = (0.01, 0.025), (0.25, 0.5)


def minutes(start: float, end: float, requests: float, bad: float = 0.0, slow: float = 0.0) -> list[Slice]:
    """So many requests a minute between two ages, in s."""
    return [
        Slice(
            start=NOW - start + 60 * n,
            length=60,
            counted_s=60,
            seen_s=60,
            up_s=60,
            requests=requests,
            errors=bad,
            durations={QUICK: requests - slow, SLOW: slow},
        )
        for n in range(int(start - end) // 60)
    ]


def history(*slices: Slice, **more: object) -> History:
    known = History(subject=COOLER, at=NOW, up=True, replicas={"v1": (1, 1)}, slices={"": slices, "v1": slices})
    return replace(known, **more)  # type: ignore[arg-type]


def errors_of(known: History, sla: Sla = THREE_NINES) -> Budget:
    return budgets(known, sla, NOW)[0]


def by_rule(known: History, sla: Sla, predictor: str = "") -> dict[str, Finding]:
    found = service_findings(known, sla, NOW)
    return {one.rule: one for one in found if one.subject.predictor == predictor}


def test_the_rates_are_the_workbooks_for_30_days() -> None:
    rates = [(alarm.long_s / 3600, alarm.short_s / 60, round(alarm.limit, 2)) for alarm in alarms(30 * 86_400, 0.001)]
    assert rates == [(1, 5, 14.4), (6, 30, 6.0), (24, 120, 3.0), (72, 360, 1.0)]
    assert [alarm.long_s / 3600 for alarm in alarms(86_400, 0.001)] == [1, 6, 24]
    assert all(alarm.limit * 0.2 < 1 for alarm in alarms(30 * 86_400, 0.2)), "each can be reached"


def test_a_fast_burn_is_red_a_slow_one_orange_and_a_past_one_neither() -> None:
    good = minutes(86_400, 3600, 100)
    assert errors_of(history(*good, *minutes(3600, 0, 100, bad=2))).colour == "red"
    assert errors_of(history(*minutes(3 * 86_400, 0, 100, bad=0.2))).colour == "orange"
    assert errors_of(history(*minutes(3 * 86_400, 0, 100, bad=0.05))).colour == "green"
    over = history(*minutes(30 * 86_400, 7200, 100), *minutes(7200, 3600, 100, bad=5), *minutes(3600, 0, 100))
    budget = errors_of(over)
    assert budget.colour == "green"
    assert budget.left == pytest.approx(1 - 300 / (0.001 * 100 * 30 * 1440), abs=0.01)


def test_a_spent_budget_stays_orange() -> None:
    spent = errors_of(history(*minutes(10 * 86_400, 9 * 86_400, 100, bad=50), *minutes(9 * 86_400, 0, 10)))
    assert spent.left is not None
    assert (spent.left < 0, spent.colour) == (True, "orange")


@pytest.mark.parametrize(
    ("requests", "bad", "colour"), [(0, 0, "grey"), (10, 1, "grey"), (10, 10, "red"), (3, 3, "red")]
)
def test_few_requests_make_neither_green_nor_an_alarm_of_one_that_failed(requests: int, bad: int, colour: str) -> None:
    one = Slice(start=NOW - 120, length=60, counted_s=60, seen_s=60, up_s=60, requests=requests, errors=bad)
    assert errors_of(history(one)).colour == colour


def test_latency_is_a_budget_of_slow_answers() -> None:
    found = by_rule(history(*minutes(86_400, 0, 100, slow=0.5)), THREE_NINES)["latency p99"]
    assert found.colour == "green"
    found = by_rule(history(*minutes(86_400, 0, 100, slow=30)), THREE_NINES)["latency p99"]
    assert (found.colour, found.numbers["p99_ms"] > 250) == ("red", True)
    assert "took longer than 250 ms" in found.cause


def test_the_burn_of_an_alarm_is_in_its_cause() -> None:
    found = by_rule(history(*minutes(86_400, 0, 100, bad=2)), THREE_NINES)["errors"]
    assert found.colour == "red"
    assert "burns 20 times as fast" in found.cause
    assert found.numbers["effect"] == pytest.approx(20, rel=0.01)


def test_without_a_promise_up_errors_and_restarts_are_judged() -> None:
    found = by_rule(history(*minutes(3600, 0, 10, bad=2)), Sla())
    assert {rule: one.colour for rule, one in found.items()} == {"up": "green", "errors": "red"}
    assert by_rule(history(*minutes(3600, 0, 10, bad=0.3)), Sla())["errors"].colour == "orange"
    assert by_rule(history(*minutes(3600, 0, 10)), Sla())["errors"].colour == "green"
    assert by_rule(history(*minutes(120, 0, 1)), Sla())["errors"].colour == "grey"


def test_predictors_have_replicas_restarts_and_memory() -> None:
    slices = [replace(one, restarts=1, memory_bytes=950_000_000) for one in minutes(120, 0, 1)]
    known = history(*slices, replicas={"v1": (1, 2), "v2": (0, 1)}, up=False)
    found = by_rule(known, Sla(memory_mb=1000), "v1")
    assert {rule: one.colour for rule, one in found.items()} == {
        "up": "orange",
        "restarts": "orange",
        "memory": "orange",
    }
    assert by_rule(known, Sla(memory_mb=900), "v1")["memory"].colour == "red"
    dead = by_rule(known, Sla(memory_mb=900), "v2")
    assert {rule: one.colour for rule, one in dead.items()} == {"up": "red", "restarts": "grey", "memory": "grey"}
    assert by_rule(known, Sla())["up"].colour == "red"
    assert "v2" in by_rule(known, Sla())["up"].cause


def test_what_nobody_looked_at_is_grey() -> None:
    for known in (History(subject=COOLER), history(*minutes(86_400, 0, 100), at=NOW - 1000)):
        [found] = service_findings(known, THREE_NINES, NOW)
        assert (found.rule, found.colour) == ("up", "grey")


def test_the_first_promise_that_fits_holds() -> None:
    given = [
        {"environment": "prod", "deployment": "cool*", "availability": 0.99, "window": "7d"},
        {"p99_ms": 100, "memory_mb": 500, "requests": 5},
    ]
    slas = read_slas({"sla": given})
    assert sla_of(slas, COOLER) == Sla(environment="prod", deployment="cool*", availability=0.99, window_s=604_800.0)
    assert sla_of(slas, replace(COOLER, environment="dev")).p99_ms == 100
    assert sla_of((), COOLER).promises == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "promises nothing"),
        ({"availability": 1}, "availability=1: must be a number above 0 and below 1"),
        ({"availability": True}, "availability=True"),
        ({"p99_ms": math.nan}, "p99_ms=nan"),
        ({"p99_ms": 1, "window": "90d"}, "must be from 1d to 35d"),
        ({"p99_ms": 1, "target": 3}, "monitor.sla[1].target: no such key"),
        ({"p99_ms": 1, "requests": 0}, "requests=0"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("[", r"\[")):
        read_slas({"sla": [given]})
