"""A target on a fake cluster, quick and impatient, for the tests of the Kubernetes target."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.fakekube.troubles import Trouble
from tests.support.kube_golden import DIGESTS

Json = dict[str, Any]  # Any: JSON
QUICK = Patience(first_s=0.005, longest_s=0.05, total_s=10.0, call_s=10.0)


@dataclass(frozen=True)
class Rig:
    """A fake cluster with the namespace "prod", the client's view of it, and a target there."""

    fake: SeldonCluster
    cluster: Cluster
    target: KubernetesTarget
    folder: Path

    def other(self, token: str = "", patience: Patience = QUICK) -> contextlib.AbstractContextManager[Cluster]:
        """The same cluster for another client, or another user."""
        name = f"kubeconfig-{abs(hash(token))}"
        return open_cluster(
            kubeconfig=str(self.fake.kube.kubeconfig(self.folder / name, token=token)), patience=patience
        )

    @property
    def main(self) -> Json:
        """The SeldonDeployment "cooler" as it stands."""
        return self.fake.kube["seldondeployments", "prod", "cooler"]


@contextlib.contextmanager
def rig(folder: Path, **fake: Any) -> Iterator[Rig]:  # Any: arguments of seldon_cluster
    with seldon_cluster("prod", **fake) as made:
        path = made.kube.kubeconfig(folder / "kubeconfig", namespace="prod")
        with open_cluster(kubeconfig=str(path), patience=QUICK) as cluster:
            yield Rig(made, cluster, KubernetesTarget(cluster, look_s=0.1, fatal_s=0.1), folder)


def befalls(trouble: Trouble, version: str = "2") -> Callable[[Json], Trouble | None]:
    """Pods of this model version have the trouble, those of all others none."""
    return lambda deployment: trouble if DIGESTS[version] in str(deployment["spec"]["template"]) else None
