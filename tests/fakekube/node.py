"""Rollouts whose pods are real processes: how they are, tells the kubelet. For a whole such cluster: `real_cluster`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakekube.cluster import seldon_crd
from tests.fakekube.endpoints import Endpoints
from tests.fakekube.gateway import Gateway
from tests.fakekube.kube import FakeKube
from tests.fakekube.kubelet import Kubelet
from tests.fakekube.operator import SeldonOperator
from tests.fakekube.storage import Key
from tests.fakekube.troubles import Trouble
from tests.fakekube.workloads import HASH, Workloads, is_ready, template_hash

Json = dict[str, Any]


class RealWorkloads(Workloads):
    """New pods beside the old, which go when the new are ready; none is ever away for a rollout."""

    def trouble_of(self, key: Key, value: Json) -> Trouble | None:
        """Of the pods of the newest template."""
        fresh = self._fresh(key, value)
        if any(_waits(pod, "CrashLoopBackOff") for pod in fresh):
            return "CrashLoopBackOff"
        ready = [pod for pod in fresh if is_ready(pod)]
        return None if len(ready) >= value["spec"].get("replicas", 1) else "Slow"

    def _roll(self, key: Key, value: Json, trouble: Trouble | None) -> None:
        wanted, fresh = value["spec"].get("replicas", 1), self._fresh(key, value)
        for _ in range(wanted - len(fresh)):
            self._new_pod(key, value, template_hash(value))
        if trouble is None:
            surplus = fresh[wanted:]
            names = {pod["metadata"]["name"] for pod in fresh}
            surplus += [pod for pod in self._pods_of(key) if pod["metadata"]["name"] not in names]
            for pod in surplus:
                self.kube.objects.drop(self._pods, key.namespace, pod)

    def _fresh(self, key: Key, value: Json) -> list[Json]:
        return [pod for pod in self._pods_of(key) if pod["metadata"]["labels"][HASH] == template_hash(value)]


def _waits(pod: Json, reason: str) -> bool:
    states = [one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses", [])]
    return any(state.get("waiting", {}).get("reason") == reason for state in states)


@dataclass(frozen=True)
class RealCluster:
    """API server, controllers, a machine that runs pods, and a gateway at `gateway.url`."""

    kube: FakeKube
    operator: SeldonOperator
    kubelet: Kubelet
    gateway: Gateway

    def pods(self, namespace: str) -> list[Json]:
        return self.kube.objects.find(self.kube.kind("v1", "pods"), namespace)


@contextlib.contextmanager
def real_cluster(folder: Path, *namespaces: str, stale_s: float = 0.05) -> Iterator[RealCluster]:
    """A fake cluster in `folder` that runs the pods' own commands; no process outlives it."""
    with FakeKube([seldon_crd()]) as kube:
        for namespace in namespaces:
            kube.namespace(namespace)
        kubelet = Kubelet(kube, folder / "pods")
        kube.endpoints = Endpoints(kube, kubelet)
        workloads = RealWorkloads(kube, rollout_s=0, deadline_s=0.5)
        operator = SeldonOperator(kube, stale_s=stale_s)
        with Gateway(kube) as gateway:
            parts = (workloads, operator, kubelet)
            for part in parts:
                part.start()
            try:
                yield RealCluster(kube, operator, kubelet, gateway)
            finally:
                for part in parts:
                    part.stop()
    failures = [*workloads.failures, *operator.failures, *kubelet.failures]
    if failures:
        raise RuntimeError("the fake cluster's controllers failed:\n" + "\n".join(failures))
