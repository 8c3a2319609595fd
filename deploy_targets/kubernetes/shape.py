"""The three shapes as the target works with them: what stands for a deployment, how it is made and read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlflow_hydraulic.deploy_targets.kubernetes import resources
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.kserve_manifest import kserve_manifests, read_kserve
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.plain_manifest import plain_manifests, read_plain
from mlflow_hydraulic.deploy_targets.kubernetes.resources import Resource
from mlflow_hydraulic.deploy_targets.kubernetes.rules import check_seldon
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import read_seldon, seldon_manifest
from mlflow_hydraulic.deployment import Deployment

Storage = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One shape. main: the kind whose object stands for the deployment; all that hangs on it goes with it.

    operator: what must be installed for it, as people call it; "" for nothing.
    """

    name: str
    main: Resource
    operator: str
    make: Callable[[Deployment, KubernetesOptions, Storage], tuple[Json, ...]]
    read: Callable[[Json], Deployment]


def _seldon(deployment: Deployment, options: KubernetesOptions, storage: Storage) -> tuple[Json, ...]:
    made = seldon_manifest(deployment, options, storage=storage)
    check_seldon(made)
    return (made,)


def _kserve(deployment: Deployment, options: KubernetesOptions, storage: Storage) -> tuple[Json, ...]:
    return kserve_manifests(deployment, options, storage=storage)


def _plain(deployment: Deployment, options: KubernetesOptions, _: Storage) -> tuple[Json, ...]:
    return plain_manifests(deployment, options)


SHAPES = {
    one.name: one
    for one in (
        Shape(name="seldon", main=resources.SELDON, operator="Seldon Core v1", make=_seldon, read=read_seldon),
        Shape(name="kserve", main=resources.KSERVE, operator="KServe", make=_kserve, read=read_kserve),
        Shape(name="plain", main=resources.DEPLOYMENT, operator="", make=_plain, read=read_plain),
    )
}
