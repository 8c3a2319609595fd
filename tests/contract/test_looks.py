"""What was seen, on SQLite and a real PostgreSQL: findings that cannot be, hostile ones, what is kept, rolled up."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.monitor import alerts, looks, rollup, standing
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.rules import Rules
from tests.support.alerting import COOLER, finding, series

RULES = Rules()
NOW = utc_now()
WRONG: tuple[dict[str, object], ...] = (
    {"until": math.nan},
    {"until": math.inf},
    {"since": -1.0},
    {"until": (NOW + timedelta(hours=1)).timestamp()},
    {"rule": ""},
    {"rule": "a\nb"},
    {"rule": "r" * 201},
    {"level": "mood"},
    {"colour": "pink"},
    {"subject": replace(COOLER, deployment="a b")},
    {"subject": replace(COOLER, deployment="")},
    {"subject": replace(COOLER, environment="a/b")},
    {"subject": replace(COOLER, workspace="other")},
)


def alerts_of(engine: Engine) -> list[Alert]:
    with engine.connect() as connection:
        return list(standing.current(connection, "default").values())


def test_a_finding_that_cannot_be_is_left_out_and_said_so(evidence: Engine) -> None:
    bad = [replace(finding("r", 0, NOW), **wrong) for wrong in WRONG]  # type: ignore[arg-type]
    judged = judge(evidence, [*bad, finding("r", 0, NOW, rule="good")], RULES, NOW)
    assert [one for one, _ in judged.ignored] == bad
    assert [change.alert.key.rule for change in judged.changes] == ["good"]


def test_hostile_text_and_numbers_are_kept_as_they_are(evidence: Engine) -> None:
    cause = "'; drop table hydraulic_ledger; -- \0 \ud800 \u202e <script> \x1b[2J\r\nBcc: x 🙂" * 100
    numbers = {"e_value": math.inf, "p_value": math.nan, "effect": 1e308, **{f"n{n}": n for n in range(99)}}
    said = replace(finding("r", 0, NOW), cause=cause, numbers=numbers, features=("f" * 999,) * 99)
    judge(evidence, [said], RULES, NOW)
    [alert] = alerts_of(evidence)
    assert alert.cause == cause[:2000]
    assert alert.numbers["e_value"] == math.inf
    assert math.isnan(alert.numbers["p_value"])
    assert len(alert.features) == 20


def test_rolled_up_by_whatever_the_caller_groups_by(evidence: Engine) -> None:
    pump = Subject(environment="dev", deployment="pump", model="hydraulic-pump")
    found: list[Finding] = [
        finding("r", 0, NOW),
        finding("g", 0, NOW, rule="correlation"),
        finding("g", 0, NOW, level="accuracy"),
        finding("x", 0, NOW, level="accuracy", rule="coverage"),
        finding("x", 0, NOW, level="anomaly"),
        finding("o", 0, NOW, subject=pump, level="service"),  # one of two that its rule wants: not believed yet
    ]
    judge(evidence, found, RULES, NOW)
    with evidence.connect() as connection:
        seen = list(looks.newest(connection, "default"))

    def rolled(now: datetime, by: rollup.By) -> dict[str, tuple[str, dict[str, int]]]:
        groups = rollup.roll_up(seen, alerts_of(evidence), by, now, RULES.stale_s)
        return {one.group: (one.colour, {c: n for c, n in one.counts.items() if n}) for one in groups}

    assert rolled(NOW, rollup.GROUPS["deployment"]) == {
        "prod/cooler": ("red", {"red": 1, "green": 1, "grey": 1}),
        "dev/pump": ("green", {"green": 1}),
    }
    later = rolled(NOW + timedelta(hours=2), rollup.GROUPS["environment"])
    assert later == {"prod": ("red", {"red": 1, "grey": 2}), "dev": ("grey", {"grey": 1})}
    assert list(rolled(NOW, lambda subject: "rig" if subject.model == "hydraulic-cooler" else "")) == ["rig"]


def test_only_the_last_looks_are_kept_and_those_that_alerts_rest_on(evidence: Engine) -> None:
    judge(evidence, series("r" + "g" * 80, NOW), RULES, NOW)
    with evidence.connect() as connection:
        assert connection.execute(text("select count(*) from hydraulic_findings")).scalar() == looks.KEEP + 1
        [alert] = standing.current(connection, "default").values()
        assert looks.plot(connection, alert.key, alert.until) == "<svg/>"


def test_very_many_findings_are_judged_in_parts_a_deployment_whole(
    evidence: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_AT_ONCE", 3)
    places = [replace(COOLER, deployment=f"d{n}") for n in range(5)]
    found = [finding("r", 0, NOW, subject=place, rule=rule) for rule in ("a", "b") for place in places]
    judged = judge(evidence, found, RULES, NOW, present={"prod": {place.deployment: () for place in places[:4]}})
    assert (len(judged.changes), judged.queued) == (12, 4), "of the deployment that is gone nobody is told"
    assert len({alert.incident for alert in alerts_of(evidence)}) == 1
    assert sorted(alert.state for alert in alerts_of(evidence)) == ["closed"] * 2 + ["open"] * 8
