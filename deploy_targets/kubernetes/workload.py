"""What Kubernetes' own Deployments and pods say of a predictor: which model, rolled out or not, ready or not. Pure.

Called by `judge` and `settle`. All that is read here may lag behind what was asked for: so the model is taken from the
pod template itself, never from what the object above it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import identity, pod
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deployment import ModelVersion, Predictor

QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)")
FACTORS = {"m": Fraction(1, 1000), "": Fraction(1)}
FACTORS |= {unit: Fraction(1000 ** (n + 1)) for n, unit in enumerate("kMGTP")}
FACTORS |= {f"{unit}i": Fraction(1024 ** (n + 1)) for n, unit in enumerate("KMGTP")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The predictor and the model of a pod template or a pod."""

    predictor: str
    model: ModelVersion

    def is_of(self, one: Predictor) -> bool:
        """Whether this is the predictor's model; where its files came from makes no difference."""
        mine, its = self.model, one.model
        return (self.predictor, mine.name, mine.version, mine.digest) == (
            one.name,
            its.name,
            its.version,
            its.digest,
        )


def told(template: Mapping[str, Any]) -> Told | None:  # Any: JSON
    """What a pod template or a pod runs: by the container's variables, else by annotations; None if neither says."""
    notes = identity.notes_of(template)
    env: dict[str, str] = {}
    for container in (template.get("spec") or {}).get("containers") or []:
        env |= {one["name"]: one.get("value") or "" for one in container.get("env") or []}
    predictor = env.get(pod.PREDICTOR) or notes.get(identity.PREDICTOR_NOTE)
    found = {
        "uri": notes.get(identity.URI_NOTE) or env.get(pod.MODEL_URI),
        "name": env.get(pod.MODEL_NAME) or notes.get(identity.NAME_NOTE),
        "version": env.get(pod.MODEL_VERSION) or notes.get(identity.VERSION_NOTE),
        "digest": env.get(pod.MODEL_DIGEST) or notes.get(identity.DIGEST_NOTE),
    }
    if not predictor or not all(found.values()):
        return None
    return Told(predictor=predictor, model=ModelVersion(**{key: str(value) for key, value in found.items()}))


def template_of(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]
    return found


def replicas_of(deployment: Json) -> int:
    return int(deployment["spec"].get("replicas", 1))


def ready_replicas(deployment: Json) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def is_current(deployment: Json) -> bool:
    """Whether its status speaks of its newest template."""
    return bool((deployment.get("status") or {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"])


def rolled_out(deployment: Json) -> bool:
    """Whether every replica is of the newest template and ready, and none is left of an older."""
    status, wanted = deployment.get("status") or {}, replicas_of(deployment)
    counts = [status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return is_current(deployment) and counts == [wanted] * 3


def was_complete(deployment: Json) -> bool:
    """Whether its newest template was rolled out once: what is not ready now has failed since."""
    return is_current(deployment) and condition(deployment, "Progressing").get("reason") == "NewReplicaSetAvailable"


def condition(value: Mapping[str, Any], kind: str) -> Mapping[str, Any]:  # Any: JSON
    """One condition of a status; empty where there is none."""
    held = (value.get("status") or {}).get("conditions") or []
    return next((one for one in held if one.get("type") == kind), {})


def is_ready(one: Json) -> bool:
    """Whether a pod answers."""
    return condition(one, "Ready").get("status") == "True" and not is_ending(one)


def is_ending(value: Mapping[str, Any]) -> bool:  # Any: JSON
    return "deletionTimestamp" in value["metadata"]


def is_owned(value: Json, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in value["metadata"].get("ownerReferences") or [])


def covers(held: object, wanted: object) -> bool:
    """Whether `held` says all that `wanted` says: the API server and an operator add to what they are given.

    >>> covers({"cpu": "500m", "x": 1}, {"cpu": "0.5"}), covers([{"a": 1}, {"b": 2}], [{"b": 2}]), covers({}, {"a": 1})
    (True, True, False)
    """
    if wanted in (None, {}, [], ""):
        return True
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(covers(held.get(key), item) for key, item in wanted.items())
    if isinstance(wanted, list):
        return isinstance(held, list) and all(any(covers(one, item) for one in held) for item in wanted)
    return held == wanted or (_amount(held) is not None and _amount(held) == _amount(wanted))


def _amount(value: object) -> Fraction | None:
    """A quantity as a number: the API server writes it in its own way, 0.5 as 500m."""
    found = QUANTITY.fullmatch(str(value))
    return Fraction(found[1]) * FACTORS[found[2]] if found else None
