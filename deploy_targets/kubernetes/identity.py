"""What we write on objects so that they can be found, told from others' and read back: labels and annotations.

Labels are for selecting; what may hold any text (URIs, the selector that asked for it) stands in annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.deploy_targets.codec import parse_json
from mlflow_hydraulic.deploy_targets.kubernetes.names import label_value
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_table, options_to_json
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput

Json = dict[str, Any]  # Any: the value is JSON

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "mlflow-hydraulic"
SELECTOR = f"{MANAGED_BY}={MANAGER}"  # all that is ours, in one list call
INSTANCE = "app.kubernetes.io/instance"
NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
MODEL_VERSION = "app.kubernetes.io/version"

FORMAT_NOTE = "hydraulic.format"
FORMAT = "1"
LABELS_NOTE = "hydraulic.labels"
OPTIONS_NOTE = "hydraulic.options"
DEPLOYMENT_NOTE = "hydraulic.deployment"  # the whole value as JSON, where the object itself cannot hold it
PREDICTOR_NOTE = "hydraulic.predictor"
URI_NOTE = "hydraulic.model-uri"
NAME_NOTE = "hydraulic.model-name"
VERSION_NOTE = "hydraulic.model-version"
DIGEST_NOTE = "hydraulic.model-digest"
MODEL_NOTES = {"uri": URI_NOTE, "name": NAME_NOTE, "version": VERSION_NOTE, "digest": DIGEST_NOTE}


def object_labels(deployment: Deployment, options: KubernetesOptions) -> dict[str, str]:
    """Labels of an object that stands for `deployment`."""
    return {
        **options.labels,
        MANAGED_BY: MANAGER,
        NAME: "model",
        INSTANCE: deployment.name,
        PART_OF: label_value(deployment.predictors[0].model.name),
    }


def object_notes(options: KubernetesOptions, **more: str) -> dict[str, str]:
    """Annotations of an object: who wrote it and with which options; `more` by its own keys."""
    return {**options.annotations, FORMAT_NOTE: FORMAT, OPTIONS_NOTE: options_to_json(options), **more}


def pod_labels(deployment: Deployment, predictor: Predictor, options: KubernetesOptions) -> dict[str, str]:
    """Labels of a predictor's pods. Nothing here changes with shares or replicas: that would restart them."""
    return {
        **options.labels,
        NAME: "model",
        INSTANCE: deployment.name,
        MODEL_VERSION: label_value(predictor.model.version),
    }


def predictor_notes(predictor: Predictor) -> dict[str, str]:
    """Annotations of a predictor: its name before it was shortened, and the pinned model."""
    model = {note: getattr(predictor.model, one) for one, note in MODEL_NOTES.items()}
    return {PREDICTOR_NOTE: predictor.name, **model}


def is_ours(manifest: Mapping[str, Any]) -> bool:
    """Whether the object carries our label; what does not is never touched."""
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    return isinstance(labels, Mapping) and labels.get(MANAGED_BY) == MANAGER


def check_ours(where: str, manifest: Mapping[str, Any]) -> None:
    """`BadInput` for an object that we did not write, or that another release wrote in another way."""
    if not is_ours(manifest):
        raise BadInput(f"{where}: does not carry {SELECTOR}: it is not ours")
    found = notes_of(manifest).get(FORMAT_NOTE, FORMAT)
    if found != FORMAT:
        raise BadInput(
            f"{where}: {FORMAT_NOTE}={found!r} is not known here, only {FORMAT}: use the release that wrote it"
        )


def model_of(where: str, notes: Mapping[str, str]) -> ModelVersion:
    """The pinned model that the annotations tell; `BadInput` where one is gone."""
    for note in MODEL_NOTES.values():
        if not isinstance(notes.get(note), str):
            raise BadInput(f"{where}: annotation {note} is missing: apply the deployment again")
    return ModelVersion(**{one: notes[note] for one, note in MODEL_NOTES.items()})


def read_options(manifest: Mapping[str, Any]) -> KubernetesOptions:
    """The options with which the object was made; `BadInput` where the annotation is no such thing."""
    text = notes_of(manifest).get(OPTIONS_NOTE)
    return options_from_table(OPTIONS_NOTE, parse_json(OPTIONS_NOTE, text)) if text else KubernetesOptions()


def read_labels(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The deployment's own labels, kept in an annotation since their values may hold any text."""
    value = parse_json(LABELS_NOTE, notes_of(manifest).get(LABELS_NOTE, "{}"))
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadInput(f"annotation {LABELS_NOTE}: must be an object of texts: apply the deployment again")
    return value


def notes_of(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    return (manifest.get("metadata") or {}).get("annotations") or {}
