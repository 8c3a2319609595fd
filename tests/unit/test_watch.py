"""One pass of the monitor over targets in memory, a real record and a real evidence database."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_hydraulic.errors import Unavailable, Untrusted
from mlflow_hydraulic.monitor import looks
from mlflow_hydraulic.monitor.findings import Finding
from mlflow_hydraulic.monitor.standing import current
from tests.support.watching import World, normal, of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def newest(world: World) -> dict[tuple[str, str, str], Finding]:
    with world.engine.connect() as connection:
        seen = list(looks.newest(connection, "default"))
    return {(one.finding.subject.deployment, one.finding.level, one.finding.rule): one.finding for one in seen}


def open_alerts(world: World) -> dict[str, str]:
    with world.engine.connect() as connection:
        return {str(one.key): one.colour for one in current(connection, "default").values() if one.is_open}


def test_a_fault_is_red_with_its_input_and_the_other_deployment_is_green(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.ask("pump", normal(200, 6))
    looked = world.watch().look()
    drift = of(looked, "cooler", "drift")
    red = [one for one in drift.values() if one.colour == "red"]
    assert red and red[0].features[0] == "tsa_temp" and red[0].plot.startswith("<svg")
    assert {one.colour for one in of(looked, "pump", "drift").values()} == {"green"}
    assert of(looked, "pump", "accuracy")["accuracy"].colour == "grey"
    assert {name.split()[0] for name in open_alerts(world)} == {"prod/cooler/v3"}


def test_without_new_rows_there_is_no_new_test_and_colours_hold_on(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.watch().look()
    before = newest(world)
    for _ in range(3):
        world.forward(minutes=1)
        looked = world.watch().look()  # each a new process
        assert looked.again and not [one for one in looked.found if one.colour != "grey"]
    after = newest(world)
    coloured = {key for key, one in before.items() if one.colour != "grey"}
    assert {key: after[key] for key in coloured} == {key: before[key] for key in coloured}


def test_time_between_looks_is_the_budget_and_survives_a_restart(world: World) -> None:
    world.ask("cooler", normal(200, 7))
    first = of(world.watch().look(), "cooler", "drift")
    world.forward(hours=6)
    world.ask("cooler", normal(200, 8))
    later = of(world.watch().look(), "cooler", "drift")
    rule = next(rule for rule in first if "threshold" in first[rule].numbers and rule in later)
    assert later[rule].numbers["threshold"] < first[rule].numbers["threshold"]


def test_nothing_was_asked_is_grey_and_so_is_what_was_asked_too_long_ago(world: World) -> None:
    looked = world.watch().look()
    assert {one.colour for one in looked.found} == {"grey"}
    assert all("recorded" in one.cause for one in looked.found)
    world.ask("cooler", normal(200, 9))
    assert "green" in {one.colour for one in of(world.watch().look(), "cooler", "drift").values()}
    world.forward(days=2)
    old = of(world.watch().look(), "cooler", "drift")
    assert {one.colour for one in old.values()} == {"grey"} and "for 1 d" in next(iter(old.values())).cause
    world.ask("cooler", normal(200, 10))
    assert {one.colour for one in of(world.watch().look(), "cooler", "drift").values()} == {"green"}


def test_one_that_fails_is_grey_with_the_reason_and_the_others_go_on(world: World) -> None:
    world.ask("cooler", normal(200, 5))
    world.ask("pump", normal(200, 6))
    world.versions.failing["3"] = Untrusted("its files have the digest abc")
    looked = world.watch().look()
    assert {one.colour for one in of(looked, "cooler", "drift").values()} == {"grey"}
    assert "digest abc" in of(looked, "cooler", "drift")["rows"].cause
    assert of(looked, "cooler", "accuracy")["estimate"].colour in ("green", "orange")
    del world.versions.failing["3"]
    again = world.watch().look()  # without a new row
    assert {one.colour for one in of(again, "cooler", "drift").values()} == {"green"}


def test_a_bug_in_one_level_ends_nothing(world: World) -> None:
    world.ask("cooler", normal(200, 5))
    world.versions.failing["3"] = ZeroDivisionError("a bug")  # type: ignore[assignment]
    looked = world.watch(service=lambda *_: 1 / 0).look()
    assert "ZeroDivisionError" in of(looked, "cooler", "drift")["rows"].cause
    assert "ZeroDivisionError" in of(looked, "pump", "service")["seen"].cause


def test_an_environment_that_is_away_is_grey_and_its_alerts_stay(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.watch().look()
    alerts = open_alerts(world)
    assert alerts
    world.targets["prod"].away = Unavailable("no route to host")
    world.forward(minutes=1)
    looked = world.watch().look()
    assert looked.blind == {"prod": "no route to host"}
    assert {one.colour for key, one in newest(world).items() if key[0] == "cooler"} == {"grey"}
    assert open_alerts(world) == alerts
    world.targets["prod"].away = None
    world.forward(minutes=1)
    world.watch().look()
    assert "red" in {one.colour for one in newest(world).values()}


def test_a_deployment_that_is_gone_ends_its_alerts(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.watch().look()
    assert open_alerts(world)
    del world.targets["prod"].deployments["cooler"]
    world.forward(minutes=1)
    world.watch().look()
    assert not open_alerts(world)


def test_nothing_runs(world: World) -> None:
    world.targets["prod"].deployments.clear()
    looked = world.watch().look()
    assert (looked.found, looked.deployments) == ((), 0)


def test_true_values_make_accuracy_red_and_later_ones_are_a_new_look(world: World) -> None:
    ids = world.ask("cooler", normal(200, 5))
    looked = world.watch().look()
    assert of(looked, "cooler", "accuracy")["accuracy"].colour == "grey"
    world.forward(minutes=5)
    world.tell(ids[:100], 20)
    good = of(world.watch().look(), "cooler", "accuracy")["accuracy"]
    assert good.colour == "green" and good.numbers["coverage"] == 0.5
    world.forward(minutes=5)
    world.tell(ids[100:], 100)
    bad = of(world.watch().look(), "cooler", "accuracy")["accuracy"]
    assert bad.colour == "red" and bad.numbers["coverage"] == 1.0, bad.cause


def test_two_at_once_and_one_after_the_other_agree(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    one, other = world.watch(), world.watch()
    one.look()
    alerts, seen = open_alerts(world), newest(world)
    other.look()
    one.look()
    assert open_alerts(world) == alerts
    assert {k: v.colour for k, v in newest(world).items()} == {k: v.colour for k, v in seen.items()}
    with world.engine.connect() as connection:
        assert {one.episode for one in current(connection, "default").values()} == {1}


def test_asked_to_stop_it_closes_nothing_that_it_did_not_see(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    world.watch().look()
    alerts = open_alerts(world)
    world.watch(stopping=lambda: True).look()
    assert open_alerts(world) == alerts


def test_another_workspaces_deployments_are_left_to_its_monitor(world: World) -> None:
    world.ask("cooler", normal(200, 5, shift=1.5))
    assert world.watch(workspace="other").look().deployments == 0
