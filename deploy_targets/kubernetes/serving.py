"""Which models really answer, by the pods that are ready, whatever is asked for meanwhile. Pure; called by `judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.workload import is_ready, told
from mlflow_hydraulic.deployment import Deployment, Predictor


def serving(
    pods: Sequence[Json], desired: Deployment, previous: Deployment | None, *, settled: bool
) -> Deployment | None:
    """What answers now; None where nobody does, or where no pods were looked at. settled: `desired` was rolled out.

    previous: what served when the last change began: while its pods still answer, it does. The shares are those of
    the deployment that is named, since which of them the gateway knows already cannot be seen.
    """
    if settled:
        return desired
    running: dict[str, list[Predictor]] = {}
    for pod in pods:
        if is_ready(pod) and (said := told(pod)) is not None:
            running.setdefault(said.predictor, []).append(Predictor(name=said.predictor, model=said.model))
    for candidate in (previous, desired):
        if candidate is not None and all(_answers(one, running) for one in candidate.predictors):
            return candidate
    if not running or any(one.name not in running for one in desired.predictors):
        return None
    return _mixed(desired, running)


def _answers(one: Predictor, running: Mapping[str, Sequence[Predictor]]) -> bool:
    wanted = (one.model.name, one.model.version, one.model.digest)
    held = [each.model for each in running.get(one.name, ())]
    return any((model.name, model.version, model.digest) == wanted for model in held)


def _mixed(desired: Deployment, running: Mapping[str, Sequence[Predictor]]) -> Deployment:
    """Predictors as asked for, each with a model that it runs: the asked one where it does."""

    def really(one: Predictor) -> Predictor:
        return one if _answers(one, running) else replace(one, model=running[one.name][0].model)

    shadow = desired.shadow
    return replace(
        desired,
        predictors=tuple(map(really, desired.predictors)),
        shadow=really(shadow) if shadow is not None and shadow.name in running else None,
    )
