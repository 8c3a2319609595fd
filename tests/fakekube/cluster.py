"""A whole fake cluster with Seldon in it: API server, workloads, operator. What most tests of the target open."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakekube.faults import Source
from tests.fakekube.kube import FakeKube
from tests.fakekube.operator import Backend, SeldonOperator
from tests.fakekube.workloads import Befalls, Workloads

CRD = Path(__file__).resolve().parents[2] / "deploy_targets" / "kubernetes" / "seldondeployment.json"


@dataclass(frozen=True)
class SeldonCluster:
    """The three parts; `kube` is what a client talks to."""

    kube: FakeKube
    workloads: Workloads
    operator: SeldonOperator

    def failures(self) -> list[str]:
        """Defects of the fake's own controllers: empty, or the test proves nothing."""
        return [*self.workloads.failures, *self.operator.failures]


def seldon_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of SeldonDeployments."""
    crd: dict[str, Any] = json.loads(CRD.read_text())
    return crd


@contextlib.contextmanager
def seldon_cluster(
    *namespaces: str,
    faults: Source | None = None,
    befalls: Befalls = lambda deployment: None,
    backend: Backend | None = None,
    stale_s: float = 0.02,
    rollout_s: float = 0.02,
    deadline_s: float | None = 0.2,
) -> Iterator[SeldonCluster]:
    """A running cluster with these namespaces beside `default`. See `Workloads` and `SeldonOperator` for the rest."""
    with FakeKube([seldon_crd()], faults=faults) as kube:
        for namespace in namespaces:
            kube.namespace(namespace)
        workloads = Workloads(kube, rollout_s=rollout_s, deadline_s=deadline_s, befalls=befalls)
        operator = SeldonOperator(kube, stale_s=stale_s, backend=backend)
        workloads.start()
        operator.start()
        cluster = SeldonCluster(kube, workloads, operator)
        try:
            yield cluster
        finally:
            operator.stop()
            workloads.stop()
        if failures := cluster.failures():
            raise RuntimeError("the fake cluster's controllers failed:\n" + "\n".join(failures))
