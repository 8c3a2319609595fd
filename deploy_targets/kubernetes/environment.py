"""An environment on Kubernetes, as the controller's pass uses it: what runs there, apply until healthy, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deploy_targets.kubernetes.delivery import reachable, storage_of
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_to_table
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.service_level import service_level
from mlflow_hydraulic.deploy_targets.seen import running
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import BadInput, Conflict, Unavailable
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.service_level import Counters

if TYPE_CHECKING:
    from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget


class KubernetesEnvironment:
    """The deployments of one environment in one namespace of a cluster, all with the options of the TOML file.

    tracking_uri: MLflow's address, for pods that the options tell none. storage: where a model's files lie.
    """

    def __init__(
        self,
        environment: Environment,
        target: KubernetesTarget,
        options: KubernetesOptions,
        *,
        tracking_uri: str,
        storage: Callable[[ModelVersion], str],
    ) -> None:
        self._environment = environment
        self._target = target
        self._options = options
        self._tracking_uri = tracking_uri
        self._storage = storage

    @property
    def place(self) -> str:
        """Where it is: no two environments may be in one place."""
        return f"{self._target.server} namespace {self._environment.namespace}"

    def observe(self) -> list[Running]:
        """All of ours that is in the namespace; `Unavailable` where the API server does not answer."""
        found = self._target.observe(self._environment.namespace)
        seen = ((running(self._environment.name, one), one.settings) for one in found)
        return [replace(one, stale=self._stale(one.deployment, settings)) for one, settings in seen if one is not None]

    def _stale(self, deployment: Deployment, settings: Mapping[str, object]) -> str:
        """What the TOML file says otherwise than the object, as a person reads it; "" where nothing."""
        try:
            wanted = options_to_table(reachable(deployment, self._options, self._tracking_uri))
        except BadInput:
            return ""  # to apply it again would fail; `apply` tells why
        other = [key for key in sorted({*wanted, *settings}) if wanted.get(key) != settings.get(key)]
        names = ", ".join(f"{key}={_shown(wanted.get(key))}" for key in other)
        return f"environments.{self._environment.name}.kubernetes says {names}" if other else ""

    def apply(self, deployment: Deployment, seen: Running | None) -> None:
        """Create or update, and return when it is healthy. `Unavailable` where a later try may succeed."""
        options = reachable(deployment, self._options, self._tracking_uri)
        with _retryable():
            made = self._target.apply(
                deployment,
                options=options,
                mode="create" if seen is None else "either",
                expected=seen.generation if seen else None,
                storage=storage_of(deployment, options, self._storage),
            )
        if made.state != "healthy":
            raise Unavailable(f"deployment {deployment.name!r} is {made.state}: {made.cause}")

    def delete(self, name: str, seen: Running | None) -> None:
        with _retryable():
            self._target.delete(self._environment.namespace, name, expected=seen.generation if seen else None)

    def service(self, name: str) -> dict[str, Counters]:
        """The counters of each predictor; `Unavailable` where the API server does not answer."""
        return service_level(self._target.cluster, self._environment.namespace, name)


def _shown(value: object) -> str:
    return "its default" if value is None else json.dumps(value)


@contextmanager
def _retryable() -> Iterator[None]:
    """A deployment that somebody else changed meanwhile is no fault of the model: the next pass looks anew."""
    try:
        yield
    except Conflict as error:
        raise Unavailable(f"somebody else was quicker: {error}") from error
