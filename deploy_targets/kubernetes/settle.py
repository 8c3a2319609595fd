"""Whether what is seen after a change speaks of that change, or still of what stood before it. Pure.

Called by the target while it waits: an operator that has not noticed an update looks settled, with the old model; and
a change may be over before anybody looked, so that no state between was ever seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight, behind
from mlflow_hydraulic.deploy_targets.kubernetes.names import seldon_deployment_name
from mlflow_hydraulic.deploy_targets.kubernetes.workload import covers, template_of

SHARES = ("traffic", "replicas", "shadow")  # what changes no pod template


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What stood before a change, as far as it helps to tell it from what comes; empty before a creation."""

    main: Json | None = None
    templates: Mapping[str, Json] = field(default_factory=dict)  # by the Deployment's uid
    pods: frozenset[str] = frozenset()  # uids


def before(sight: Sight | None) -> Before:
    """What was seen when the change was made."""
    if sight is None:
        return Before()
    return Before(
        main=sight.main,
        templates={one["metadata"]["uid"]: template_of(one) for one in behind(sight)},
        pods=frozenset(one["metadata"]["uid"] for one in sight.pods or ()),
    )


def without_old_pods(sight: Sight, old: Before) -> Sight:
    """The sight without pods of before the change: their trouble is not the change's."""
    if not _spec_changed(sight, old):
        return sight
    return replace(sight, pods=[one for one in sight.pods or () if one["metadata"]["uid"] not in old.pods])


def stirred(sight: Sight, old: Before) -> bool:
    """Whether the operator began anew: it has noticed the change.

    Only from a state at rest: what was Creating before may get Available by the change before this one.
    """
    was = ((old.main or {}).get("status") or {}).get("state")
    return was in ("Available", "Failed") and (sight.main.get("status") or {}).get("state") == "Creating"


def noticed(sight: Sight, old: Before) -> bool:
    """Whether every Deployment stands as the change wants it, or moved since."""
    if old.main is None or not _spec_changed(sight, old) or sight.shape.name != "seldon":
        return True  # the others tell by observedGeneration
    had = {one["name"]: _lasting(one) for one in old.main["spec"].get("predictors") or []}
    return all(
        had.get(one["name"]) == _lasting(one) or _is_new(sight, one, old) for one in sight.main["spec"]["predictors"]
    )


def _is_new(sight: Sight, predictor: Json, old: Before) -> bool:
    name = seldon_deployment_name(sight.main["metadata"]["name"], predictor["name"])
    held = [one for one in behind(sight) if one["metadata"]["name"] == name]
    wanted = [component.get("spec") for component in predictor.get("componentSpecs") or []]
    return any(
        old.templates.get(one["metadata"]["uid"]) != template_of(one)
        or any(covers(template_of(one).get("spec"), spec) for spec in wanted)
        for one in held
    )


def _spec_changed(sight: Sight, old: Before) -> bool:
    if old.main is None:
        return True
    was, is_now = old.main["metadata"], sight.main["metadata"]
    return any(was.get(key) != is_now.get(key) for key in ("uid", "generation"))


def _lasting(predictor: Json) -> Json:
    return {key: value for key, value in predictor.items() if key not in SHARES}
