"""Names of what a deployment becomes on Kubernetes, kept within 63 characters; label values from any text.

Seldon's operator replaces longer names by a hash that nobody finds again; so we shorten ours, readably, before it must.
"""

from __future__ import annotations

import hashlib
import re

from mlflow_hydraulic.deploy_targets.kubernetes.pod import NODE
from mlflow_hydraulic.errors import BadInput

LONGEST = 63
TAIL = 6  # hex digits of the hash that ends a shortened name
LABEL_TEXT = re.compile(r"[^A-Za-z0-9_.-]+")


def predictor_name(deployment: str, predictor: str) -> str:
    """`predictor`, or what of it leaves room for `<deployment>-<predictor>-0-model`, ended by a hash of the whole.

    >>> predictor_name("cooler", "default")
    'default'
    >>> predictor_name("a-deployment-with-a-name-of-forty-letter", "challenger-of-autumn")
    'challen-7ae0e1'
    """
    room = LONGEST - len(f"{deployment}--0-{NODE}")
    return shortened(predictor, room)


def seldon_deployment_name(deployment: str, predictor: str) -> str:
    """The Deployment that Seldon's operator makes for a predictor."""
    return f"{deployment}-{predictor_name(deployment, predictor)}-0-{NODE}"


def seldon_service_name(deployment: str, predictor: str) -> str:
    """The Service of a predictor: its orchestrator, or the model where there is none."""
    return f"{deployment}-{predictor_name(deployment, predictor)}"


def seldon_model_service_name(deployment: str, predictor: str) -> str:
    """The Service of the model itself, beside the orchestrator; explanations are asked here."""
    return f"{seldon_service_name(deployment, predictor)}-{NODE}"


def kserve_name(deployment: str, namespace: str) -> str:
    """The InferenceService's name; `BadInput` where Knative's host label `<name>-predictor-<namespace>` is too long."""
    label = f"{deployment}-predictor-{namespace}"
    if len(label) > LONGEST:
        raise BadInput(
            f"deployment {deployment!r} in namespace {namespace!r}: the host label {label!r} has {len(label)} "
            f"characters and may have {LONGEST}: shorten the name by {len(label) - LONGEST}"
        )
    return deployment


def shortened(name: str, room: int) -> str:
    """`name` in at most `room` characters (10 at least), ended by a hash where something was cut."""
    if len(name) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:TAIL]
    return f"{name[: room - TAIL - 1].rstrip('-')}-{digest}"


def label_value(text: str) -> str:
    """`text` as a label's value: other characters become hyphens; a hash tells apart what was changed.

    >>> label_value("hydraulic-cooler"), label_value("models:/m/3")
    ('hydraulic-cooler', 'models-m-3-e64a48')
    """
    plain = LABEL_TEXT.sub("-", text).strip("-_.")
    if plain == text and len(plain) <= LONGEST:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:TAIL]
    return f"{plain[: LONGEST - TAIL - 1]}-{digest}" if plain else digest
