"""An environment's target as the controller's pass uses it: what runs there, apply until healthy, delete."""

from __future__ import annotations

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, Observed
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.settings import Settings

KNOWN = (LocalTarget.name,)


class LocalEnvironment:
    """The deployments of one environment as processes on this machine, in the namespace that it names."""

    def __init__(self, environment: Environment, target: LocalTarget) -> None:
        self._environment = environment
        self._target = target

    def observe(self) -> list[Running]:
        """All that serves or is to serve there; a folder that cannot be read is left to `hydraulic local`."""
        seen = (running(self._environment.name, one) for one in self._target.observe(self._environment.namespace))
        return [one for one in seen if one is not None]

    def apply(self, deployment: Deployment) -> None:
        self._target.apply(deployment)

    def delete(self, name: str) -> None:
        self._target.delete(self._environment.namespace, name)


def running(environment: str, observed: Observed) -> Running | None:
    """What a target shows, in the plan's words; None where nothing is known of it."""
    if observed.deployment is None or observed.state == "not found":
        return None
    not_running = observed.state == "unhealthy" and observed.pid is None  # stopped, killed, or the machine restarted
    return Running(
        environment=environment,
        deployment=observed.deployment,
        state="failed" if not_running else observed.state,
        endpoint=observed.url,
        cause=observed.cause,
    )


def open_environment(environment: Environment, settings: Settings) -> LocalEnvironment:
    """The target that `environment` names; `BadInput` lists the known ones."""
    if environment.target != LocalTarget.name:
        known = ", ".join(KNOWN)
        raise BadInput(f"environments.{environment.name}.target={environment.target!r}: known targets are {known}")
    return LocalEnvironment(environment, LocalTarget(settings))
