"""All that is known of a version as lines of kind, name and value, which a reader filters. For the models' pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from mlflow_hydraulic.web.catalogue import Card, Version
from mlflow_hydraulic.web.models.flat import json_lines, told

MOST_SHOWN = 500
LONGEST_SHOWN = 2000  # characters of a value on the page; the report and the API have the whole


class Line(Struct, frozen=True, kw_only=True):
    """One line: of what kind, its name and its value as text."""

    kind: str
    name: str
    value: str


def lines(version: Version, card: Card | None) -> Iterator[Line]:
    """Tags, metrics, signature, datasets, facts, flattened."""
    for tag in version.line.tags:
        yield Line(kind="tag", name=tag.key, value=tag.value)
    for tag in version.facts:
        yield Line(kind="fact", name=tag.key, value=tag.value)
    run = version.run
    for metric in run.metrics if run else ():
        yield Line(kind="metric", name=metric.key, value=told(metric.value))
    for column in card.columns if card else ():
        yield Line(
            kind="signature",
            name=f"{column.kind} {column.name}",
            value=column.type + ("" if column.required else ", optional"),
        )
    for dataset in run.datasets if run else ():
        about = (("digest", dataset.digest), ("context", dataset.context))
        nested = (("source", dataset.source), ("schema", dataset.schema), ("profile", dataset.profile))
        said = [*about, *(line for name, text in nested for line in json_lines(text, name))]
        for name, value in said:
            yield Line(kind="dataset", name=f"{dataset.name}: {name}", value=value)
    for tag in run.tags if run else ():
        yield Line(kind="run tag", name=tag.key, value=tag.value)


def found(all_lines: Iterable[Line], text: str) -> list[Line]:
    """The lines that have every word of `text` in their kind, name or value, whatever the case."""
    words = text.lower().split()
    return [
        line for line in all_lines if all(word in f"{line.kind} {line.name} {line.value}".lower() for word in words)
    ]
