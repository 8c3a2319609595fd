"""A small world for tests of the monitor: targets in memory, a real record, real true values, a real evidence database.

Inputs of training are standard normal; traffic is drawn by the test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Actual
from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.drift.rows import RowCheck
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.evidence.tables import ledger_head, metadata
from mlflow_hydraulic.monitor.configured import Monitoring
from mlflow_hydraulic.monitor.findings import Finding
from mlflow_hydraulic.monitor.points import Points
from mlflow_hydraulic.monitor.versions import Training, Versions
from mlflow_hydraulic.monitor.watch import Looked, ServiceLevel, Watch, Watched, no_service
from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.record.values import Prediction, Served
from mlflow_hydraulic.rig.measures import Interval
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.world import Sources
from tests.unit.worlds import MemoryRegistry, MemoryTarget, running

NAMES = ("psa_bar", "tsa_temp", "flow_lpm")
SCHEMA = Schema(inputs=tuple(Field(name=name) for name in NAMES), target="cool", labels=(3, 20, 100))
Rows = NDArray[np.float64]


@functools.cache
def training() -> Training:
    rows = np.random.default_rng(1).normal(size=(2000, len(NAMES)))
    reference = make_reference(rows, NAMES)
    baseline = Baseline(reference)
    baseline.prepare((200,))
    return Training(baseline=baseline, odd=RowCheck(reference), digest="d")


@dataclass(kw_only=True)
class Trained(Versions):
    """Versions that all know the same training; `failing` ones raise."""

    failing: dict[str, HydraulicError] = field(default_factory=dict)

    def training(self, model: ModelVersion) -> Training:
        if model.version in self.failing:
            raise self.failing[model.version]
        return training()


def normal(rows: int, seed: int, shift: float = 0.0) -> Rows:
    """Traffic as in training; `shift` moves tsa_temp."""
    drawn = np.random.default_rng(seed).normal(size=(rows, len(NAMES)))
    drawn[:, 1] += shift
    return drawn


class World:
    """Deployments "cooler" and "pump" of prod, version 3 each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = utc_now() - timedelta(days=3)
        self.engine: Engine = database.open_database(f"sqlite:///{folder / 'evidence.db'}")
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.execute(ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
        self.targets = {name: MemoryTarget(name) for name in ("dev", "prod")}
        for name in ("cooler", "pump"):
            self.targets["prod"].deployments[name] = running("prod", (3, 100), model=name)
        self.measured: Mapping[str, Interval] = {"accuracy": Interval(0.97, 0.95, 0.99)}
        self.versions = Trained(folder=lambda _: folder, measured=lambda _: self.measured)
        self.sent = 0

    def ask(self, deployment: str, rows: Rows, *, version: int = 3, right: float = 0.99) -> list[str]:
        """Record one request a row, a second apart, the last one now; the ids."""
        served = Served(
            target="seldon-local",
            namespace="prod",
            deployment=deployment,
            predictor=f"v{version}",
            model=deployment,
            version=str(version),
            digest="d",
        )
        ids = [f"id-{self.sent + number}" for number in range(len(rows))]
        self.sent += len(rows)
        other = (1 - right) / 2
        flags = training().odd.flags(rows)
        with Store(self.folder / FILE) as store:
            store.append(
                [
                    Prediction(
                        served=served,
                        id=one,
                        at=self.now.timestamp() - (len(rows) - 1 - number),
                        path="/invocations",
                        status=200,
                        latency_s=0.001,
                        inputs=rows[number : number + 1],
                        labels=np.array([20]),
                        probabilities=np.array([[other, right, other]]),
                        anomalous=flags[number : number + 1],
                    )
                    for number, one in enumerate(ids)
                ],
                SCHEMA,
            )
        return ids

    def tell(self, ids: list[str], value: int) -> None:
        """True values for predictions, arriving now."""
        at = self.now.timestamp()
        with ActualStore(self.folder / "actuals.db") as store:
            store.take([Actual(id=one, value=value, at=at) for one in ids], at)

    def watch(self, **more: Any) -> Watch:  # Any: fields of `Watched`
        return Watch(self.watched(**more), "test:1")

    def watched(
        self,
        *,
        service: ServiceLevel = no_service,
        monitoring: Monitoring | None = None,
        stopping: Callable[[], bool] = lambda: False,
        workspace: str = "default",
        points: Points | None = None,
    ) -> Watched:
        return Watched(
            sources=Sources(
                registry=MemoryRegistry(),
                environments=tuple(Environment(name=name, target="seldon-local") for name in self.targets),
                targets=self.targets,
            ),
            database=self.engine,
            record=lambda: Store(self.folder / FILE, make=False),
            actuals=lambda: ActualStore(self.folder / "actuals.db", make=False),
            versions=self.versions,
            monitoring=monitoring or Monitoring(),
            service=service,
            points=points,
            workspace=workspace,
            clock=self.clock,
            stopping=stopping,
        )

    def clock(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> None:
        self.now += timedelta(**length)


def of(looked: Looked, deployment: str, level: str) -> dict[str, Finding]:
    """Findings by rule."""
    return {one.rule: one for one in looked.found if one.subject.deployment == deployment and one.level == level}
