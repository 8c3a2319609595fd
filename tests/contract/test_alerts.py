"""Alerts in the ledger, on SQLite and a real PostgreSQL: two monitors at once, late findings, mutes, what is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadInput, Conflict, NotFound
from mlflow_hydraulic.evidence import ledger, queries
from mlflow_hydraulic.evidence.ledger import Event
from mlflow_hydraulic.evidence.words import sentence
from mlflow_hydraulic.monitor import looks, standing
from mlflow_hydraulic.monitor.acts import Desk
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.alerts import GONE, PREDICTOR_GONE, Judged, judge
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.notification import read_notification
from mlflow_hydraulic.monitor.outbox import history
from mlflow_hydraulic.monitor.rules import Pattern, Rules
from tests.support.alerting import COOLER, finding, series

RULES = Rules()
NOW = utc_now()
NEWS = Sequence[tuple[str, str]]


def news(judged: Judged) -> NEWS:
    return [(change.alert.what, change.alert.colour) for change in judged.changes]


def alerts_of(engine: Engine, workspace: str = "default") -> list[Alert]:
    with engine.connect() as connection:
        return list(standing.current(connection, workspace).values())


def told(engine: Engine) -> list[str]:
    """The news of every notification, in order."""
    with engine.connect() as connection:
        rows = history(connection, "default", "")
    return [item.news for row in rows for item in read_notification(row.body).items]


def look(engine: Engine, colour: str, minute: float, **more: object) -> Judged:
    now = NOW + timedelta(minutes=minute)
    rules = more.pop("rules", RULES)
    return judge(engine, [finding(colour, 0, now, **more)], rules, now)  # type: ignore[arg-type]


def test_an_alert_lives_in_the_ledger_and_says_why(evidence: Engine) -> None:
    assert look(evidence, "g", 0).changes == ()
    assert news(look(evidence, "r", 1)) == [("opened", "red")]
    [alert] = alerts_of(evidence)
    assert (alert.state, alert.colour, alert.features, alert.numbers["p_value"]) == ("open", "red", ("PS1",), 0.001)
    assert "PS1 is 4.2 bar higher" in alert.cause
    assert news(look(evidence, "g", 2)) == []
    assert news(look(evidence, "g", 3)) == [("closed", "red")]
    assert told(evidence) == ["opened", "closed"]
    with evidence.connect() as connection:
        assert ledger.verify(connection).holds
        rows = queries.newest(connection, queries.Asked(model="hydraulic-cooler", environment="prod"), 9)
        assert [row.verb for row in rows] == ["alert", "alert"]
        assert "PS1" in sentence(rows[0])
        assert looks.plot(connection, alert.key, alert.until) == "<svg/>"


def test_of_two_monitors_at_once_exactly_one_opens_and_tells(evidence: Engine) -> None:
    found = [finding("r", 0, NOW, rule=f"rule {n}") for n in range(5)]

    def one(n: int) -> int:
        return len(judge(evidence, found if n % 2 else found[::-1], RULES, NOW).changes)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(12))) == 5
    assert [alert.episode for alert in alerts_of(evidence)] == [1] * 5
    assert told(evidence) == ["opened"] * 5
    with evidence.connect() as connection:
        assert ledger.verify(connection).rows == 5


def test_a_monitor_and_people_at_once_lose_nothing(evidence: Engine) -> None:
    look(evidence, "r", 0)
    desk = Desk(evidence, "default", "ds1")
    [alert] = alerts_of(evidence)

    def act(n: int) -> None:
        if n % 2:
            desk.acknowledge(alert.id, f"look {n}", NOW)
        else:
            look(evidence, "r", n + 1)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(12)))
    with evidence.connect() as connection:
        steps = standing.story(connection, alert)
        assert [step.what for step in steps] == ["opened", *["acknowledged"] * 6]
        assert ledger.verify(connection).holds


KILLED = """
import os, sys
from datetime import datetime
from sqlalchemy import event
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.rules import Rules
from tests.support.alerting import finding
engine, now, where = database.open_database(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]
@event.listens_for(engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith(where): os.kill(os.getpid(), 9)
judge(engine, [finding("r", 0, now)], Rules(), now)
"""


@pytest.mark.parametrize(
    "where", ["INSERT INTO hydraulic_findings", "INSERT INTO hydraulic_ledger", "INSERT INTO hydraulic_outbox"]
)
def test_a_monitor_killed_in_the_middle_did_nothing_and_the_next_does_it_all(
    evidence: Engine, database_uri: str, where: str
) -> None:
    command = [sys.executable, "-c", KILLED, database_uri, NOW.isoformat(), where]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    assert (alerts_of(evidence), told(evidence)) == ([], [])
    assert news(look(evidence, "r", 0)) == [("opened", "red")]
    assert told(evidence) == ["opened"]


def test_late_repeated_and_corrected_findings(evidence: Engine) -> None:
    rules = Rules(given=({"raise_after": 2, "of": 3},))
    assert look(evidence, "r", 0, rules=rules).changes == ()
    again = judge(evidence, [finding("r", 0, NOW)], rules, NOW + timedelta(minutes=1))
    assert again.changes == (), "the same finding again is one finding"
    late = judge(evidence, [finding("r", -5, NOW)], rules, NOW + timedelta(minutes=2))
    assert news(late) == [("opened", "red")]
    corrected = [finding("g", 0, NOW), finding("g", 1, NOW)]
    assert news(judge(evidence, corrected, rules, NOW + timedelta(minutes=2))) == [("closed", "red")]
    old = judge(evidence, series("rrr", NOW - timedelta(hours=1)), rules, NOW + timedelta(minutes=3))
    assert old.changes == (), "what was before the end does not open it again"


def test_a_backlog_is_told_as_it_ended(evidence: Engine) -> None:
    assert news(judge(evidence, series("grrgg", NOW), RULES, NOW)) == [("opened", "red"), ("closed", "red")]
    assert told(evidence) == [], "it was over before anybody could be told"


def test_what_is_gone_is_closed_with_that_reason_and_forgotten(evidence: Engine) -> None:
    other = Subject(environment="prod", deployment="pump")
    part = replace(COOLER, predictor="v3")
    elsewhere = Subject(environment="dev", deployment="pump")
    found = [finding("r", 0, NOW, subject=subject) for subject in (COOLER, other, part, elsewhere)]
    judge(evidence, found, RULES, NOW)
    assert judge(evidence, [], RULES, NOW, present=None).changes == ()
    judged = judge(evidence, [], RULES, NOW + timedelta(minutes=1), present={"prod": {"cooler": {"v4"}}})
    reasons = {str(change.alert.key): change.alert.reason for change in judged.changes}
    assert reasons == {"prod/pump drift inputs": GONE, "prod/cooler/v3 drift inputs": PREDICTOR_GONE}
    with evidence.connect() as connection:
        left = {one.key.subject for one in looks.newest(connection, "default")}
        assert {(one.environment, one.deployment) for one in left} >= {("prod", "cooler"), ("dev", "pump")}
    assert sorted(alert.state for alert in alerts_of(evidence)) == ["closed", "closed", "open", "open"]


def test_acknowledged_worsened_closed(evidence: Engine) -> None:
    look(evidence, "o", 0)
    desk = Desk(evidence, "default", "ds1")
    [alert] = alerts_of(evidence)
    assert desk.acknowledge(alert.id[:4], "new pump", NOW).state == "acknowledged"
    assert judge(evidence, [], RULES, NOW + timedelta(days=3)).queued == 0
    assert news(look(evidence, "r", 5000)) == [("worsened", "red")]
    [alert] = alerts_of(evidence)
    assert (alert.state, alert.acknowledged_by, alert.told) == ("open", "", "red")
    closed = desk.close(str(alert.key), "sensor replaced", RULES, NOW + timedelta(days=4))
    assert (closed.state, closed.by, closed.reason) == ("closed", "ds1", "sensor replaced")
    assert told(evidence) == ["opened", "worsened", "closed"]
    with pytest.raises(Conflict, match=r"closed at .* by ds1: sensor replaced"):
        desk.acknowledge(alert.id, "late", NOW)
    with pytest.raises(NotFound, match="alerts list"):
        desk.close("feed", "none such", RULES, NOW)
    with pytest.raises(BadInput, match="say why"):
        desk.close(alert.id, "  ", RULES, NOW)


def test_a_closed_alert_opens_again_by_new_findings_only(evidence: Engine) -> None:
    rules = Rules(given=({"raise_after": 2, "of": 2},))
    for minute in range(2):
        look(evidence, "r", minute, rules=rules)
    [alert] = alerts_of(evidence)
    Desk(evidence, "default", "ds1").close(alert.id, "known", rules, NOW + timedelta(minutes=1))
    assert look(evidence, "r", 2, rules=rules).changes == ()
    assert news(look(evidence, "r", 3, rules=rules)) == [("opened", "red")]
    assert alerts_of(evidence)[0].episode == 2


def test_a_muted_alert_is_silent_and_told_of_when_the_mute_ends(evidence: Engine) -> None:
    desk = Desk(evidence, "default", "ds1")
    made = desk.mute(Pattern(environment="prod", level="d*"), NOW + timedelta(hours=2), "filter change", NOW)
    assert news(look(evidence, "r", 1)) == [("opened", "red")]
    assert told(evidence) == []
    assert judge(evidence, [], RULES, NOW + timedelta(minutes=119)).queued == 0
    assert judge(evidence, [], RULES, NOW + timedelta(minutes=120)).queued == 1
    assert told(evidence) == ["opened"]
    [alert] = alerts_of(evidence)
    with pytest.raises(BadInput, match="a time to come"):
        desk.mute_alert(alert.id, NOW, "never", NOW)
    exact = desk.mute_alert(alert.id, NOW + timedelta(days=1), "on order", NOW + timedelta(hours=3))
    assert exact.id != made.id
    assert look(evidence, "g", 200).queued == look(evidence, "g", 201).queued == 0
    assert [one.id for one in desk.unmute(alert.id, "has come", NOW + timedelta(hours=4))] == [exact.id]
    with pytest.raises(NotFound, match="is not muted"):
        desk.unmute(alert.id, "again", NOW + timedelta(hours=4))


def test_who_is_muted_with_others_is_told_by_what(evidence: Engine) -> None:
    desk = Desk(evidence, "default", "ds1")
    look(evidence, "r", 0)
    [alert] = alerts_of(evidence)
    made = desk.mute(Pattern(environment="prod"), NOW + timedelta(hours=2), "filter change", NOW)
    with pytest.raises(Conflict, match=made.id):
        desk.unmute(alert.id, "no", NOW)
    assert desk.unmute(made.id, "over", NOW) == [made]


def test_alerts_of_one_deployment_are_one_incident_and_one_notification(evidence: Engine) -> None:
    found = [finding("r", 0, NOW, rule=rule) for rule in ("inputs", "correlation")]
    assert judge(evidence, found, RULES, NOW).queued == 1
    assert look(evidence, "o", 5, rule="prediction share").queued == 1
    look(evidence, "r", 5, subject=replace(COOLER, deployment="pump"))
    incidents = {alert.key.subject.deployment: set[str]() for alert in alerts_of(evidence)}
    for alert in alerts_of(evidence):
        incidents[alert.key.subject.deployment].add(alert.incident)
    assert [len(found) for found in incidents.values()] == [1, 1]


def test_a_row_that_is_no_alert_does_not_end_monitoring(evidence: Engine, caplog: pytest.LogCaptureFixture) -> None:
    look(evidence, "r", 0)
    with evidence.begin() as connection:
        afters: list[object] = [None, {}, [1]]
        subjects = [f"prod/x drift {n}" for n in range(len(afters))]
        pairs = zip(subjects, afters, strict=True)
        ledger.append(connection, [Event(verb="alert", subject=one, actor="me", after=after) for one, after in pairs])
        ledger.append(connection, [Event(verb="mute", subject="z", actor="me", after={"until": 3})])
    assert news(look(evidence, "r", 1, rule="other")) == [("opened", "red")]
    assert "counts as none" in caplog.text
