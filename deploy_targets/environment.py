"""The targets that the environments name, opened for the controller's passes. Called by `cli.world` and `cli.up`.

Neither room is imported before an environment names it: the Kubernetes client is an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.service_level import Counters
from mlflow_hydraulic.settings import Settings

LOCAL = "seldon-local"
KUBERNETES = "seldon"
KNOWN = (LOCAL, KUBERNETES, f"{KUBERNETES}://CONTEXT")


class Opened(Protocol):
    """A target as `world.Target` has it, that also tells where it is."""

    @property
    def place(self) -> str: ...

    def observe(self) -> Sequence[Running]: ...

    def apply(self, deployment: Deployment, seen: Running | None) -> None: ...

    def delete(self, name: str, seen: Running | None) -> None: ...

    def service(self, name: str) -> Mapping[str, Counters]: ...


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    """What targets must know of MLflow. tracking_uri: that of this process. storage: where a model's files lie."""

    tracking_uri: str
    storage: Callable[[ModelVersion], str]


def open_environments(environments: Iterable[Environment], settings: Settings, mlflow: Mlflow) -> dict[str, Opened]:
    """Target by environment; no request is made. `BadInput` where two are in one place: each would end the other's."""
    targets: dict[str, Opened] = {}
    owners: dict[str, str] = {}
    for environment in environments:
        target = open_environment(environment, settings, mlflow)
        owner = owners.setdefault(target.place, environment.name)
        if owner != environment.name:
            raise BadInput(
                f"environments.{environment.name} is in the same place as {owner}, {target.place}: give each "
                f"environment a namespace of its own"
            )
        targets[environment.name] = target
    return targets


def open_environment(environment: Environment, settings: Settings, mlflow: Mlflow) -> Opened:
    """The target that `environment` names; `BadInput` lists the known ones, or says which option is wrong."""
    where = f"environments.{environment.name}"
    if environment.target == LOCAL:
        if environment.kubernetes:
            raise BadInput(f'{where}.kubernetes: {LOCAL} takes no such options: set {where}.target = "{KUBERNETES}"')
        return _local(environment, settings)
    if environment.target == KUBERNETES or environment.target.startswith(f"{KUBERNETES}:"):
        return _kubernetes(where, environment, mlflow)
    raise BadInput(f"{where}.target={environment.target!r}: known targets are {', '.join(KNOWN)}")


def _local(environment: Environment, settings: Settings) -> Opened:
    from mlflow_hydraulic.deploy_targets.local.environment import LocalEnvironment
    from mlflow_hydraulic.deploy_targets.local.target import LocalTarget

    return LocalEnvironment(environment, LocalTarget(settings), settings.home)


def _kubernetes(where: str, environment: Environment, mlflow: Mlflow) -> Opened:
    from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
    from mlflow_hydraulic.deploy_targets.kubernetes.environment import KubernetesEnvironment
    from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_table
    from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
    from mlflow_hydraulic.deploy_targets.kubernetes.target_uri import parse_target

    found = parse_target(environment.target)
    if found.namespace:
        raise BadInput(f'{where}.target={environment.target!r}: say {where}.namespace = "{found.namespace}" instead')
    options = options_from_table(f"{where}.kubernetes", environment.kubernetes)
    return KubernetesEnvironment(
        environment,
        KubernetesTarget(open_cluster(found.context), shape=options.shape),
        options,
        tracking_uri=mlflow.tracking_uri,
        storage=mlflow.storage,
    )
