"""How a deployment is, from what was read of it: state, cause, what really serves. Pure; called by the target.

The operator's own word is never enough: right after an update it still says Available, of the old model. So what the
Deployments run is compared with what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlflow_hydraulic.deploy_targets.kubernetes import identity
from mlflow_hydraulic.deploy_targets.kubernetes.causes import Trouble, worst
from mlflow_hydraulic.deploy_targets.kubernetes.gateway import endpoint
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.memory import previous_of, refused_of
from mlflow_hydraulic.deploy_targets.kubernetes.names import seldon_deployment_name
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_to_table
from mlflow_hydraulic.deploy_targets.kubernetes.serving import serving
from mlflow_hydraulic.deploy_targets.kubernetes.shape import Shape
from mlflow_hydraulic.deploy_targets.kubernetes.workload import (
    condition,
    is_ending,
    is_owned,
    is_ready,
    ready_replicas,
    replicas_of,
    rolled_out,
    template_of,
    told,
    was_complete,
)
from mlflow_hydraulic.deployment import Deployment, Observed, Predictor, State
from mlflow_hydraulic.errors import BadInput

RANK_OF_DEADLINE = 2  # and below: the operator's own words say more


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All that was read of one deployment: its object, the Deployments behind it, their pods (None: not looked at)."""

    shape: Shape
    main: Json
    deployments: Sequence[Json] = ()
    pods: Sequence[Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the sight comes to. trouble: whose log goes with the cause."""

    observed: Observed
    trouble: Trouble | None = None


def judge(sight: Sight) -> Verdict:
    """The verdict; an object that cannot be read is `failed`, with what to do."""
    metadata = sight.main["metadata"]
    bare = Observed(
        name=metadata["name"],
        namespace=metadata["namespace"],
        state="failed",
        generation=int(metadata.get("generation") or 0),
    )
    try:
        desired, options = sight.shape.read(sight.main), identity.read_options(sight.main)
    except BadInput as error:
        return Verdict(observed=replace(bare, cause=f"{error}; or delete it and create it again"))
    state, cause, trouble = _state(sight, desired)
    url = (sight.main.get("status") or {}).get("url") or ""
    observed = replace(
        bare,
        state=state,
        cause=cause,
        desired=desired,
        serving=serving(sight.pods or (), desired, previous_of(sight.main), settled=state in ("healthy", "unhealthy")),
        ready=_ready(sight),
        url=endpoint(desired, options, told=url) if state not in ("preparing", "terminating") else "",
        settings=options_to_table(options),
    )
    refused = refused_of(sight.main)
    if refused is not None:
        cause = "; ".join(filter(None, (observed.cause, f"the last change failed: {refused.cause}")))
        observed = replace(observed, desired=refused.deployment, cause=cause, log=refused.log)
    return Verdict(observed=observed, trouble=trouble)


def behind(sight: Sight) -> list[Json]:
    """The Deployments that belong to this object and to no other of its name."""
    if sight.shape.name == "plain":
        return [sight.main]
    return [one for one in sight.deployments if is_owned(one, sight.main["metadata"]["uid"])]


def deployment_of(sight: Sight, one: Predictor) -> Json | None:
    """The Deployment of one predictor."""
    if sight.shape.name == "plain":
        return sight.main
    wanted = seldon_deployment_name(sight.main["metadata"]["name"], one.name)
    return next((held for held in behind(sight) if held["metadata"]["name"] == wanted), None)


def _state(sight: Sight, desired: Deployment) -> tuple[State, str, Trouble | None]:
    if is_ending(sight.main):
        return "terminating", "", None
    if sight.shape.name == "kserve":
        return _kserve_state(sight)
    parts = [(one, deployment_of(sight, one)) for one in desired.all]
    held = [deployment for _, deployment in parts if deployment is not None]
    fresh = all(deployment is not None and _is_of(deployment, one) for one, deployment in parts)
    operator = "Available" if sight.shape.name == "plain" else (sight.main.get("status") or {}).get("state", "")
    if fresh and operator == "Available" and all(map(rolled_out, held)) and not _surplus(sight, parts):
        return "healthy", "", None
    trouble = worst(sight.pods or (), held)
    if fresh and all(map(was_complete, held)) and not all(map(rolled_out, held)):
        short = [
            f"{one.name}: {ready_replicas(d)} of {replicas_of(d)} replicas answer"
            for one, d in parts
            if d is not None and not rolled_out(d)
        ]
        return "unhealthy", "; ".join([*short, *([trouble.words] if trouble else [])]), trouble
    failed = _failure(sight, trouble, believed=fresh or not held)
    if failed:
        return "failed", failed, trouble
    words = trouble.words if trouble else ""
    if operator == "Available" and not fresh:
        words = words or "Seldon's operator has not noticed the change yet: does it run?"
    return ("launching" if held or operator else "preparing"), words, trouble


def _failure(sight: Sight, trouble: Trouble | None, *, believed: bool) -> str:
    """Why it will not get ready by itself; "" while it may. believed: the operator's state is of what is asked for."""
    if trouble and trouble.fatal:
        return trouble.words
    status = sight.main.get("status") or {}
    if sight.shape.name == "plain":
        gave_up = condition(sight.main, "Progressing").get("status") == "False" and trouble is not None
        return trouble.words if gave_up and trouble else ""
    if status.get("state") != "Failed" or not believed:
        return ""
    description = str(status.get("description") or "Seldon's operator says Failed and gives no reason")
    return trouble.words if trouble and trouble.rank > RANK_OF_DEADLINE else description


def _kserve_state(sight: Sight) -> tuple[State, str, Trouble | None]:
    status = sight.main.get("status") or {}
    ready, model = condition(sight.main, "Ready"), status.get("modelStatus") or {}
    generation = sight.main["metadata"].get("generation", 0)
    component = (status.get("components") or {}).get("predictor") or {}
    newest = component.get("latestCreatedRevision")
    fresh = status.get("observedGeneration", generation) >= generation
    rolled = newest is None or newest == component.get("latestReadyRevision")
    progress = model.get("transitionStatus", "UpToDate")
    if fresh and rolled and ready.get("status") == "True" and progress == "UpToDate":
        return "healthy", "", None
    trouble = worst(sight.pods or (), ())
    words = trouble.words if trouble else ""
    if fresh and progress in ("BlockedByFailedLoad", "InvalidSpec"):
        told = (model.get("lastFailureInfo") or {}).get("message", "")
        return "failed", words or f"KServe says {progress}: {told or 'no words given'}", trouble
    if trouble and trouble.fatal:
        return "failed", words, trouble
    if not status:
        return "preparing", words, trouble
    return "launching", words or str(ready.get("message", "")), trouble


def _is_of(deployment: Json, one: Predictor) -> bool:
    """Whether a Deployment's template is of the predictor's model; one that does not tell is taken by its name."""
    said = told(template_of(deployment))
    return said is None or said.is_of(one)


def _surplus(sight: Sight, parts: Sequence[tuple[Predictor, Json | None]]) -> bool:
    """Whether something is left to do: replicas to change, or predictors of before that still stand."""
    if sight.shape.name == "plain":
        return False
    scaled = bool(identity.read_options(sight.main).autoscale_max)
    if not scaled and any(held is not None and replicas_of(held) != one.replicas for one, held in parts):
        return True
    names = {held["metadata"]["name"] for _, held in parts if held is not None}
    left = [one for one in behind(sight) if one["metadata"]["name"] not in names and not is_ending(one)]
    return any(told(template_of(one)) is not None for one in left)


def _ready(sight: Sight) -> dict[str, int]:
    """Replicas that answer, by predictor; those of a predictor of before as well while they stand."""
    found: dict[str, int] = {}
    if sight.shape.name == "kserve":
        for pod in sight.pods or ():
            if is_ready(pod) and (said := told(pod)) is not None:
                found[said.predictor] = found.get(said.predictor, 0) + 1
        return found
    for one in behind(sight):
        if (said := told(template_of(one))) is not None:
            found[said.predictor] = found.get(said.predictor, 0) + ready_replicas(one)
    return found
