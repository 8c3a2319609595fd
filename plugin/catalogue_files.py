"""What a version's files say: MLmodel, the bundle's certificate, the images of its run. Called by `catalogue`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mlflow_hydraulic.bundle.manifest import CERTIFICATE
from mlflow_hydraulic.bundle.plain_yaml import read_yaml
from mlflow_hydraulic.errors import BadData, NotFound
from mlflow_hydraulic.plugin.artifacts import Artifacts
from mlflow_hydraulic.web.catalogue import Card, Certificate, Column, Figure, Tag, media_of
from mlflow_hydraulic.web.models.flat import flat

MOST_FIGURES, MOST_FOLDERS, DEEPEST = 60, 40, 3
LARGEST_CARD = 4 * 2**20  # bytes
LARGEST_IMAGE = 8 * 2**20
MODEL_FILE, FLAVOR = "MLmodel", "hydraulic"
KINDS = {"inputs": "input", "outputs": "output", "params": "parameter"}


def read_card(artifacts: Artifacts) -> Card:
    """The model's card; `BadData` where its MLmodel cannot be read."""
    said = _yaml(artifacts.read(MODEL_FILE, LARGEST_CARD))
    flavors = said.get("flavors")
    flavors = flavors if isinstance(flavors, dict) else {}
    ours = flavors.get(FLAVOR)
    ours = ours if isinstance(ours, dict) else {}
    return Card(
        columns=list(_columns(said.get("signature"))),
        flavors=sorted(map(str, flavors)),
        certificate=_certificate(artifacts, ours["bundle"]) if _is_within(ours.get("bundle")) else None,
        digest=digest if isinstance(digest := ours.get("bundle_digest"), str) else "",
    )


def read_figures(artifacts: Artifacts) -> list[Figure]:
    """The images among a run's artifacts, few folders deep; folders of models are left out."""
    found: list[Figure] = []
    folders = [""]
    looked = 0
    while folders and looked < MOST_FOLDERS and len(found) < MOST_FIGURES:
        folder = folders.pop(0)
        looked += 1
        entries = artifacts.entries(folder)
        if any(entry.path.rpartition("/")[2] == MODEL_FILE for entry in entries):
            continue
        folders += [entry.path for entry in entries if entry.folder and entry.path.count("/") < DEEPEST]
        found += [
            Figure(path=entry.path, media=media, bytes=entry.bytes)
            for entry in entries
            if not entry.folder and (media := media_of(entry.path))
        ]
    return sorted(found[:MOST_FIGURES], key=lambda figure: figure.path)


def read_image(artifacts: Artifacts, path: str) -> bytes:
    """The content of an image by its path; `NotFound` for all that is no image in this folder."""
    if not media_of(path) or not _is_within(path):
        raise NotFound(f"{path!r}: there is no such image among the run's artifacts")
    return artifacts.read(path, LARGEST_IMAGE)


def _is_within(path: object) -> bool:
    """Whether it is a path that stays in the folder that it is looked up in."""
    return isinstance(path, str) and not any(part in ("", ".", "..") or "\\" in part for part in path.split("/"))


def _yaml(content: bytes) -> dict[str, Any]:  # Any: parsed YAML
    try:
        said = read_yaml(content.decode("utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadData(MODEL_FILE, f"cannot be read: {type(error).__name__}; log the model again") from error
    if not isinstance(said, dict):
        raise BadData(MODEL_FILE, "holds no mapping: log the model again")
    return said


def _columns(signature: object) -> Iterator[Column]:
    """Whatever of the signature is as MLflow writes it; the rest is left out."""
    if not isinstance(signature, dict):
        return
    for key, kind in KINDS.items():
        try:
            specs = json.loads(signature.get(key) or "[]")
        except (TypeError, ValueError):
            continue
        specs = specs if isinstance(specs, list) else []
        for number, spec in enumerate(specs, start=1):
            if isinstance(spec, dict):
                yield Column(
                    kind=kind,
                    name=str(spec.get("name", f"#{number}")),
                    type=_type(spec),
                    required=bool(spec.get("required", True)),
                )


def _type(spec: Mapping[str, Any]) -> str:
    tensor = spec.get("tensor-spec")
    if isinstance(tensor, dict):
        return f"{tensor.get('dtype')} {tensor.get('shape')}"
    kind = spec.get("type")
    return str(kind) if kind not in ("array", "object", "map") else json.dumps(spec, sort_keys=True)[:200]


def _certificate(artifacts: Artifacts, bundle: str) -> Certificate | None:
    """None where the bundle has none: nothing was converted, and Python itself scores."""
    try:
        said = json.loads(artifacts.read(f"{bundle}/{CERTIFICATE}", LARGEST_CARD))
        summary = said["summary"]
        return Certificate(
            passed=bool(summary["passed"]),
            rows=int(summary["rows"]),
            largest_difference=float(summary["largest_difference"]),
            flips=int(summary["flips"]),
            ties=int(summary["ties"]),
            problems=[str(problem) for problem in said.get("problems", [])],
            said=[Tag(key=key, value=value) for key, value in flat(said)],
        )
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadData(CERTIFICATE, f"is none: {type(error).__name__}: {error}") from error
