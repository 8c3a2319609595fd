"""Deployments that come, change and go under random faults; run by `test_kube_faults` in processes of its own.

`python -m tests.support.kube_faults FIRST END FOLDER` plays the schedules of these seeds and prints a JSON object: what
went wrong, by seed.
"""

from __future__ import annotations

import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.deployment import Deployment, Observed
from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.fakekube.faults import Schedule
from tests.support.kube_values import deployment, predictor

AT_ONCE = 8
QUICK = Patience(first_s=0.001, longest_s=0.01, total_s=60.0)
OURS = ("seldondeployments", "deployments", "services", "horizontalpodautoscalers")


def changes(seed: int) -> list[Deployment]:
    """A creation and two updates, drawn from what the controller does: roll, step, shadow, promote."""
    draw = random.Random(seed)
    ab = deployment(predictor(traffic=90), predictor("2", "b", 10))
    steps = [
        deployment(predictor("2")),
        ab,
        deployment(predictor(traffic=50), predictor("2", "b", 50)),
        deployment(predictor(), shadow=predictor("3", "shadow", 20)),
        deployment(predictor("3", replicas=2)),
    ]
    return [deployment(), *draw.sample(steps, 2)]


def story(seed: int, folder: Path) -> None:
    """Creation, updates and deletion; after each step what the cluster has is compared with what was asked for."""
    shape = "plain" if seed % 10 == 0 else "seldon"
    schedule = Schedule(seed, rate=0.3, most=20, slow_s=0.01, path="/namespaces/")
    with seldon_cluster("prod", faults=schedule, stale_s=0.01, rollout_s=0.01) as cluster:
        path = cluster.kube.kubeconfig(folder / f"kubeconfig-{seed}")
        with open_cluster(kubeconfig=str(path), patience=QUICK) as opened:
            target = KubernetesTarget(opened, look_s=0.2, fatal_s=0.5)
            options = KubernetesOptions(shape=shape)
            for number, wanted in enumerate(changes(seed) if shape == "seldon" else plain_changes()):
                try:
                    made = target.apply(wanted, options=options, mode="update" if number else "create", timeout_s=60)
                    check(cluster, wanted, made, shape)
                except BaseException as error:
                    raise AssertionError(f"step {number} of {schedule!r}: {error!r}") from error
            target.delete("prod", "cooler", timeout_s=60)
            cluster.kube.wait(lambda: not any(key.plural in OURS for key in cluster.kube.store.objects))


def plain_changes() -> list[Deployment]:
    return [deployment(predictor(version)) for version in ("1", "2", "2")]


def check(cluster: SeldonCluster, wanted: Deployment, made: Observed, shape: str) -> None:
    """No false success: the pods run the models that were asked for, nothing else does, and there is one object."""
    assert (made.state, made.cause, made.serving) == ("healthy", "", wanted)
    with cluster.kube.store.lock:
        held = [value for key, value in cluster.kube.store.objects.items() if key.plural == "deployments"]
        mains = [key for key in cluster.kube.store.objects if key.plural == "seldondeployments"]
    assert len(mains) == (1 if shape == "seldon" else 0)
    running = {version_of(one): one["status"]["availableReplicas"] for one in held}
    assert running == {(one.name, one.model.version): one.replicas for one in wanted.all}


def version_of(value: dict[str, Any]) -> tuple[str, str]:
    env = {e["name"]: e["value"] for e in value["spec"]["template"]["spec"]["containers"][0]["env"]}
    return env["HYDRAULIC_PREDICTOR"], env["HYDRAULIC_MODEL_VERSION"]


def main(first: int, end: int, folder: Path) -> dict[int, str]:
    """What went wrong, by seed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = {seed: pool.submit(story, seed, folder) for seed in range(first, end)}
        return {seed: repr(one.exception()) for seed, one in told.items() if one.exception() is not None}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
