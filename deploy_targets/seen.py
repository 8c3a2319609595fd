"""What a target shows, in the plan's words. Called by every target's environment."""

from __future__ import annotations

from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.plan import Running


def running(environment: str, observed: Observed) -> Running | None:
    """What runs under one name; None where nothing is known of it."""
    if observed.deployment is None or observed.state == "not found":
        return None
    return Running(
        environment=environment,
        deployment=observed.deployment,
        state=observed.state,
        endpoint=observed.url,
        cause=observed.cause,
        generation=observed.generation,
        log=observed.log,
        ready=observed.ready,
    )
