"""How a deployment is on a level: the worst of what was last seen, and whose words tell it."""

from __future__ import annotations

from datetime import datetime, timezone

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.findings import Colour, Finding, Subject
from mlflow_hydraulic.monitor.looks import Seen
from mlflow_hydraulic.monitor.status import standings

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def seen(predictor: str, colour: Colour, until: float) -> Seen:
    subject = Subject(environment="prod", deployment="cooler", model="cooler", predictor=predictor)
    finding = Finding(
        subject=subject, level="drift", rule="inputs", colour=colour, cause="ps1 moved", since=0, until=until
    )
    return Seen(finding=finding, looked=stamp(NOW))


def drift(*found: Seen) -> tuple[str, str]:
    one = next(one for one in standings(found, NOW, 60, behind={"v2"}) if one.level == "drift")
    return one.colour, one.why


def test_a_challenger_is_heard_only_where_it_is_worse() -> None:
    assert drift(seen("v1", "red", 1), seen("v2", "red", 2)) == ("red", "v1: ps1 moved")
    assert drift(seen("v1", "green", 1), seen("v2", "red", 2)) == ("red", "v2: ps1 moved")
    assert drift(seen("v1", "red", 1), seen("v3", "red", 2)) == ("red", "v3: ps1 moved")
