"""One look of the monitor at how a deployment serves, and what `hydraulic monitor sla` shows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor, State
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.monitor.service_look import ServiceLook
from mlflow_hydraulic.monitor.sla import Sla
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.service_level import Counters, Process

PROMISE = Sla(availability=0.99, p99_ms=100.0, requests=10)


@dataclass
class Target:
    """Answers as a target would; None: nobody can tell."""

    requests: int | None = 0
    errors: int = 0
    asked: list[str] = field(default_factory=list)

    def service(self, name: str) -> Mapping[str, Counters]:
        self.asked.append(name)
        if self.requests is None:
            raise Unavailable("the router does not answer")
        buckets = (self.requests, 0)
        process = Process(started=1.0, requests=self.requests, errors=self.errors, buckets=buckets)
        return {"v1": Counters(processes={"router": process}, bounds_s=(0.1,), ready=1, wanted=1)}


def running(state: State = "healthy") -> Running:
    model = ModelVersion(uri="models:/m/1", name="m", version="1", digest="d")
    deployment = Deployment(name="cooler", namespace="prod", predictors=(Predictor(name="v1", model=model),))
    return Running(environment="prod", deployment=deployment, state=state)


@dataclass
class Scene:
    evidence: Engine
    target: Target = field(default_factory=Target)
    now: datetime = field(default_factory=lambda: utc_now() - timedelta(minutes=30))

    def look(self, state: State = "healthy") -> dict[str, str]:
        """The colours a minute later, by rule and predictor."""
        self.now += timedelta(minutes=1)
        look = ServiceLook(
            targets={"prod": self.target},  # type: ignore[dict-item]  # only its service is asked
            database=self.evidence,
            slas=(PROMISE,),
            clock=lambda: self.now,
        )
        return {f"{one.rule}{one.subject.predictor and '/v1'}": one.colour for one in look(running(state), self.now)}


def test_a_deployment_that_serves_then_fails_then_is_gone(evidence: Engine) -> None:
    scene = Scene(evidence)
    scene.look()
    scene.target.requests = 1000
    assert scene.look() == {
        "up": "green",
        "errors": "green",
        "latency p99": "green",
        "up/v1": "green",
        "restarts/v1": "green",
    }
    scene.target.requests, scene.target.errors = 2000, 800
    assert scene.look()["errors"] == "red"
    scene.target.requests = None
    assert scene.look()["up"] == "green", "nobody could tell for a minute"
    assert scene.look("failed")["up"] == "red"
    for _ in range(16):
        last = scene.look()
    assert last == {"up": "grey"}


def test_what_was_promised_and_what_is_left_of_it_is_shown(
    evidence: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(evidence, now=utc_now() - timedelta(minutes=3))
    scene.look()
    scene.target.requests, scene.target.errors = 1000, 5
    scene.look()
    config = tmp_path / "hydraulic.toml"
    config.write_text('[[monitor.sla]]\nenvironment = "p*"\navailability = 0.99\nwindow = "7d"\nrequests = 10\n')
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(config))
    monkeypatch.setenv("HYDRAULIC_DATABASE", evidence.url.render_as_string(hide_password=False))
    shown = CliRunner().invoke(main, ["monitor", "sla"])
    assert shown.exit_code == 0, shown.output
    assert "prod/cooler" in shown.output
    assert "99 % answered, 7 d" in shown.output
    assert "50%" in shown.output
    [told] = json.loads(CliRunner().invoke(main, ["monitor", "sla", "--json"]).output)
    [budget] = told["budgets"]
    assert (budget["bad"], budget["requests"], round(budget["left"], 9), budget["colour"]) == (5, 1000, 0.5, "green")
    assert told["served"]["v1"]["error_rate"] == 0.005
    assert "nothing was counted" in CliRunner().invoke(main, ["monitor", "sla", "--env", "dev"]).output
