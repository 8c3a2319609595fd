"""Carries moves out in the registry, one after the other, through MLflow's client and so through gate and ledger.

Called by `hydraulic rollback` and `hydraulic deploy`, and by `registrar` in MLflow's server.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow_hydraulic.errors import BadData, BadInput, HydraulicError, NotFound, Unavailable, Untrusted
from mlflow_hydraulic.evidence.compositions import Composition
from mlflow_hydraulic.moves import Move
from mlflow_hydraulic.people.members import PROJECT_TAG
from mlflow_hydraulic.plugin.caller import why
from mlflow_hydraulic.plugin.errors import from_mlflow
from mlflow_hydraulic.registry import RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mlflow_hydraulic.plugin.client import OwnRegistry
    from mlflow_hydraulic.world import RegistryReader


def carry_out(client: MlflowClient, model: str, moves: Sequence[Move], reason: str) -> None:
    """Do all of `moves`, or none: what was done before a refusal is undone.

    A registry that goes away in between leaves an intent that the controller holds, and the same call, repeated,
    finishes it; then `Unavailable` says so. Other errors keep their kind and say what became of it.
    """
    for done, move in enumerate(moves):
        try:
            _do(client, model, move, reason)
        except Unavailable as error:
            raise Unavailable(
                f"{error}; {done} of {len(moves)} moves were made, what serves goes on serving: repeat it to finish"
            ) from error
        except HydraulicError as error:
            left = _undo(client, model, moves[:done], f"undone, because it was refused: {reason}")
            raise type(error)(f"{error}; {left or 'nothing was changed'}") from error


def carry_out_within(client: OwnRegistry, model: str, moves: Sequence[Move], reason: str) -> None:
    """Do all of `moves` in a transaction of the caller's, which is taken back as a whole where one is refused."""
    for move in moves:
        _do(client, model, move, reason)


def place(client: MlflowClient | OwnRegistry, model: str, project: str) -> None:
    """Bring a registered model into `project`, or out of the one it is in for "": by its tag, which the gate judges."""
    with from_mlflow(f"model {model!r}"):
        if project:
            client.set_registered_model_tag(model, PROJECT_TAG, project)
        else:
            client.delete_registered_model_tag(model, PROJECT_TAG)


def check_artefacts(registry: RegistryReader, model: RegisteredModel, target: Composition) -> None:
    """`NotFound` or `Untrusted` where an artefact of `target` is missing, or is not the one that ran then."""
    for part in target.parts:
        version = model.version(part.version)
        if version is None:
            raise NotFound(f"version {part.version} of {model.name!r} was deleted")
        try:
            pinned = registry.pin(version)
        except (NotFound, BadInput, BadData) as error:  # an empty folder is what MLflow fetches of what is gone
            raise NotFound(f"{version.uri} ran then, and its artefact is missing or unfit now: {error}") from error
        if pinned.digest != part.digest:
            raise Untrusted(
                f"{version.uri} ran with digest {part.digest[:12]} and has {pinned.digest[:12]} now: its artefact was "
                f"changed after registration; name another version with --to"
            )


def _undo(client: MlflowClient, model: str, done: Sequence[Move], reason: str) -> str:
    """Take back what was done; "" where there was nothing, else what became of it."""
    if not done:
        return ""
    try:
        for move in reversed(done):
            for back in move.inverse():
                _do(client, model, back, reason)
    except HydraulicError as error:
        return f"what was moved before could not be taken back ({error}): look at the version's page"
    return "what was moved before was taken back"


def _do(client: MlflowClient | OwnRegistry, model: str, move: Move, reason: str) -> None:
    with why(reason), from_mlflow(f"models:/{model}: {move}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MLflow's, about stages: they are what we are here for
        if move.kind == "stage":
            client.transition_model_version_stage(
                model, str(move.version), move.after, archive_existing_versions=bool(move.archives)
            )
        elif move.kind == "alias" and move.after is not None:
            client.set_registered_model_alias(model, move.name, move.after)
        elif move.kind == "alias":
            client.delete_registered_model_alias(model, move.name)
        elif move.after is not None:
            client.set_model_version_tag(model, str(move.version), move.name, move.after)
        else:
            client.delete_model_version_tag(model, str(move.version), move.name)
