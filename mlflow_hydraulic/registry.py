"""What the MLflow registry says, as plain values in MLflow's words. Read by `plugin.registry`, judged by `bindings`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

STAGES = ("None", "Staging", "Production", "Archived")
TAG_PREFIX = "hydraulic."
WEIGHT_TAG = "hydraulic.weight"
REPLICAS_TAG = "hydraulic.replicas"
CANARY_TAG = "hydraulic.canary"  # what a person says of a version's canary: promote, abort, retry
INTENT_TAGS = (
    WEIGHT_TAG,
    REPLICAS_TAG,
    CANARY_TAG,
)  # tags that say what is wanted; every other tag of ours is a fact written back


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One model version. `aliases` and `tags` are its own; `trainer` is the user of its run, or ""."""

    model: str
    number: int
    stage: str = "None"
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    run_id: str = ""
    trainer: str = ""

    @property
    def uri(self) -> str:
        """The pinned URI, never a moving alias or stage."""
        return f"models:/{self.model}/{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One registered model with its versions that are not deleted, oldest first, and its alias map.

    `aliases` may name a version that is deleted: MLflow allows it for a moment, and we must survive it.
    """

    name: str
    versions: tuple[Version, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    workspace: str = "default"

    def version(self, number: int) -> Version | None:
        return next((version for version in self.versions if version.number == number), None)


@dataclass(frozen=True, slots=True)
class Registry:
    """All registered models of `workspaces` at one moment."""

    models: tuple[RegisteredModel, ...]
    workspaces: tuple[str, ...] = ("default",)

    def model(self, name: str) -> RegisteredModel | None:
        return next((model for model in self.models if model.name == name), None)

    def fingerprint(self) -> str:
        """sha256 over all that can be intent: names, stages, aliases and intent tags; never facts written back."""
        return intent_digest(self.models)


def intent_digest(models: Iterable[RegisteredModel]) -> str:
    """sha256, hex, over the intent that `models` carry, whatever order they come in."""
    said = [
        [
            model.workspace,
            model.name,
            sorted(model.aliases.items()),
            [
                [version.number, version.stage, {tag: version.tags.get(tag) for tag in INTENT_TAGS}]
                for version in sorted(model.versions, key=lambda version: version.number)
            ],
        ]
        for model in sorted(models, key=lambda model: (model.workspace, model.name))
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
