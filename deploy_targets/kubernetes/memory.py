"""What an object remembers of its changes, in annotations: whose the last one was, what served before it, what failed.

Written by `apply`, read by `judge`. A target's process may end at any moment, and nobody else keeps these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_hydraulic.deploy_targets.codec import (
    deployment_from_dict,
    deployment_to_dict,
    from_json,
    parse_json,
    to_json,
)
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json, notes_of
from mlflow_hydraulic.deployment import Deployment
from mlflow_hydraulic.errors import BadInput

CHANGE_NOTE = "hydraulic.change"
PREVIOUS_NOTE = "hydraulic.previous"
REFUSED_NOTE = "hydraulic.refused"
# Of what is kept of a failure: annotations have 256 KiB in all, and a cluster's words may be any length.
LINES, LONGEST_LINE, LONGEST_CAUSE = 20, 300, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that failed and was taken back."""

    deployment: Deployment
    cause: str
    log: tuple[str, ...] = ()


def remembering(
    manifest: Mapping[str, Any],  # Any: JSON
    change: str,
    *,
    previous: Deployment | None = None,
    refused: Refusal | None = None,
) -> Json:
    """The manifest with the mark of one change, so that its writer knows it again after a lost answer."""
    notes = {**notes_of(manifest), CHANGE_NOTE: change}
    notes.pop(PREVIOUS_NOTE, None)
    notes.pop(REFUSED_NOTE, None)
    if previous is not None:
        notes[PREVIOUS_NOTE] = to_json(previous)
    if refused is not None:
        lines = [line[:LONGEST_LINE] for line in refused.log[-LINES:]]
        kept = {
            "deployment": deployment_to_dict(refused.deployment),
            "cause": refused.cause[:LONGEST_CAUSE],
            "log": lines,
        }
        notes[REFUSED_NOTE] = json.dumps(kept)
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": notes}}


def change_of(live: Mapping[str, Any]) -> str:  # Any: JSON
    """The mark of the last change; "" where somebody else made the object."""
    return notes_of(live).get(CHANGE_NOTE, "")


def previous_of(live: Mapping[str, Any]) -> Deployment | None:  # Any: JSON
    """What served when the last change began."""
    text = notes_of(live).get(PREVIOUS_NOTE)
    try:
        return from_json(text) if text else None
    except BadInput:
        return None  # another release's, or edited: it is a help, not a truth


def refused_of(live: Mapping[str, Any]) -> Refusal | None:  # Any: JSON
    """The last change, where it failed and was taken back."""
    text = notes_of(live).get(REFUSED_NOTE)
    if not text:
        return None
    try:
        kept = parse_json(REFUSED_NOTE, text)
        if not isinstance(kept, dict):
            return None
        lines = kept.get("log")
        return Refusal(
            deployment=deployment_from_dict(kept.get("deployment")),
            cause=str(kept.get("cause", "")),
            log=tuple(map(str, lines)) if isinstance(lines, list) else (),
        )
    except BadInput:
        return None
