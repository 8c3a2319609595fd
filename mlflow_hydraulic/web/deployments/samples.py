"""Sample requests of a deployment, in each dialect as curl and as Python, true as given: made of a real row.

The bodies are those that the scorer's own OpenAPI document shows. Pure but for reading the row; called by route and
page.
"""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from mlflow_hydraulic.scoring.describe import sample_row
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
from mlflow_hydraulic.scoring.dialects.tutorial import TutorialDialect
from mlflow_hydraulic.scoring.dialects.v2 import V2Dialect
from mlflow_hydraulic.scoring.values import Dialect, ModelCard
from mlflow_hydraulic.web.deployments.ways import DIALECTS, TITLES, Way

MAKERS: dict[str, Callable[[ModelCard], Dialect]] = {
    "mlflow": MlflowDialect,
    "seldon": SeldonDialect,
    "v2": V2Dialect,
    "tutorial": TutorialDialect,
}
TIMEOUT_S = 30


class Sample(Struct, frozen=True, kw_only=True):
    """One request. curl, python: ready to be pasted; "" where `why_not` says why nobody answers this dialect there."""

    dialect: str
    title: str
    url: str
    body: Any  # Any: JSON
    curl: str
    python: str
    why_not: str = ""


class Input(Struct, frozen=True, kw_only=True):
    """One input of the model with its value in the real row; None for a missing one."""

    name: str
    type: str
    unit: str
    required: bool
    value: float | int | bool | str | None


class Samples(Struct, frozen=True, kw_only=True):
    """All four, and the row. source: where the row is from, "" where it is made of zeros. inside: only pods of the
    cluster reach the address. version: the one that most callers reach."""

    samples: list[Sample]
    inputs: list[Input]
    source: str
    version: str
    inside: bool


def samples_of(card: ModelCard, source: str, ways: dict[str, Way]) -> Samples:
    """The requests that `ways` lead to."""
    row = sample_row(card)
    inputs = [
        Input(name=field.name, type=field.type, unit=field.unit or "", required=field.required, value=value)
        for field, value in zip(card.schema.inputs, row, strict=True)
    ]
    return Samples(
        samples=[_sample(card, ways[dialect]) for dialect in DIALECTS],
        inputs=inputs,
        source=source,
        version=card.version,
        inside=any(way.inside for way in ways.values()),
    )


def body_of(card: ModelCard, dialect: str) -> Any:  # Any: JSON
    """The request that scores the first row of the card's sample."""
    made = MAKERS[dialect](card)
    document = made.openapi()[made.score_paths[0]]["post"]
    return document["requestBody"]["content"]["application/json"]["example"]


def _sample(card: ModelCard, way: Way) -> Sample:
    body = body_of(card, way.dialect)
    return Sample(
        dialect=way.dialect,
        title=TITLES[way.dialect],
        url=way.url,
        body=body,
        curl="" if way.why_not else curl(way, body),
        python="" if way.why_not else python(way, body),
        why_not=way.why_not,
    )


def curl(way: Way, body: Any) -> str:  # Any: JSON
    """For a POSIX shell: each word quoted, nothing but ASCII."""
    headers = ["Content-Type: application/json", *([f"Host: {way.host}"] if way.host else [])]
    words = [f"curl -sS -X POST {shlex.quote(way.url)}"]
    words += [f"-H {shlex.quote(header)}" for header in headers]
    words.append(f"-d {shlex.quote(json.dumps(body))}")
    return " \\\n  ".join(words)


def python(way: Way, body: Any) -> str:  # Any: JSON
    """With the library requests, which MLflow brings."""
    host = f'    headers={{"Host": {way.host!r}}},\n' if way.host else ""
    value = pprint.pformat(body, width=110, compact=True, sort_dicts=False).replace("\n", "\n    ")
    return (
        "import requests\n\n"
        f"body = (\n    {value}\n)\n"
        "answer = requests.post(\n"
        f"    {way.url!r},\n"
        f"    json=body,\n{host}"
        f"    timeout={TIMEOUT_S},\n"
        ")\n"
        "answer.raise_for_status()\n"
        "print(answer.json())\n"
    )
