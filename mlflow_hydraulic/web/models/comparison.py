"""Two versions side by side: what differs, and which of two metrics is the better one. For the models' pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.catalogue import Card, Line, Version
from mlflow_hydraulic.web.models import version_facts
from mlflow_hydraulic.web.models.flat import told

HIGHER = re.compile(r"accuracy|f1|auc|precision|recall|r2|score$|specificity|sensitivity|coverage")
LOWER = re.compile(r"loss|error|brier|(^|[/_.-])(ece|mse|rmse|mae|mape|rmsle|deviance)($|[/_.-])|(_low|_high)?/?time")


class Pair(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which two versions. other: the registered model of the right one; "" for the same. only: "differences", or ""."""

    left: Annotated[int, Meta(ge=1, le=version_facts.MOST_VERSIONS)] = 0
    right: Annotated[int, Meta(ge=1, le=version_facts.MOST_VERSIONS)] = 0
    other: Annotated[str, Meta(max_length=256)] = ""
    only: Annotated[str, Meta(max_length=20)] = ""


class Both(Struct, frozen=True, kw_only=True):
    """One line: what it says left and right; "" where it is not there.

    difference: right less left, of two numbers. better: "left", "right", or "" where they are alike or nobody knows.
    """

    name: str
    left: str
    right: str
    differs: bool
    difference: float | None = None
    better: str = ""


class Group(Struct, frozen=True, kw_only=True):
    """Lines of one kind. differing: how many of them differ."""

    title: str
    lines: list[Both]
    differing: int


class Compared(Struct, frozen=True, kw_only=True):
    """problems: what could not be read of the artifacts of either."""

    left: Line
    right: Line
    groups: list[Group]
    problems: list[str]


def compare(ask: Ask, model: str, pair: Pair) -> Compared:
    """Both versions, all groups; with only="differences" what is alike is left out."""
    other = pair.other or model
    if other != model:
        version_facts.require_view(ask, other)
    known = version_facts.catalogue(ask)
    left, right = known.version(model, pair.left), known.version(other, pair.right)
    problems = list[str]()
    cards = [
        version_facts.card(ask, name, number, problems) for name, number in ((model, pair.left), (other, pair.right))
    ]
    groups = [
        _group("About", _about(left), _about(right)),
        _group("Parameters", _parameters(left), _parameters(right)),
        _metrics(left, right),
        _group("Tags", _tags(left), _tags(right)),
        _group("Data", _data(left), _data(right)),
        _group("Signature", _signature(cards[0]), _signature(cards[1])),
        _group("Certificate", _certificate(cards[0]), _certificate(cards[1])),
    ]
    if pair.only:
        groups = [
            Group(title=group.title, lines=[line for line in group.lines if line.differs], differing=group.differing)
            for group in groups
        ]
    return Compared(
        left=left.line, right=right.line, groups=[group for group in groups if group.lines], problems=problems
    )


def better_of(name: str, left: float, right: float) -> str:
    """ "left" or "right" by what the metric's name says; "" where it says nothing.

    >>> better_of("unseen_runs/accuracy", 0.9, 0.95), better_of("val/log_loss", 0.9, 0.95), better_of("depth", 3, 4)
    ('right', 'left', '')
    """
    if left == right or math.isnan(left) or math.isnan(right):
        return ""
    lowered = name.lower()
    if LOWER.search(lowered):
        return "left" if left < right else "right"
    return ("left" if left > right else "right") if HIGHER.search(lowered) else ""


def _group(title: str, left: Iterable[tuple[str, str]], right: Iterable[tuple[str, str]]) -> Group:
    ours, theirs = dict(left), dict(right)
    lines = [
        Both(name=name, left=ours.get(name, ""), right=theirs.get(name, ""), differs=ours.get(name) != theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
    ]
    return Group(title=title, lines=lines, differing=sum(line.differs for line in lines))


def _metrics(left: Version, right: Version) -> Group:
    ours, theirs = (
        {metric.key: metric.value for metric in (one.run.metrics if one.run else ())} for one in (left, right)
    )
    lines = [_metric(name, ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})]
    return Group(title="Metrics", lines=lines, differing=sum(line.differs for line in lines))


def _metric(name: str, left: float | None, right: float | None) -> Both:
    if left is None or right is None:
        return Both(name=name, left=told(left), right=told(right), differs=True)
    finite = math.isfinite(left) and math.isfinite(right)
    return Both(
        name=name,
        left=told(left),
        right=told(right),
        differs=left != right and not (math.isnan(left) and math.isnan(right)),
        difference=right - left if finite else None,
        better=better_of(name, left, right),
    )


def _about(version: Version) -> list[tuple[str, str]]:
    line, run = version.line, version.run
    return [
        ("stage", line.stage),
        ("aliases", ", ".join(line.aliases)),
        ("owner", line.owner),
        ("created", line.created),
        ("runs in", ", ".join(f"{place.environment} ({place.role}, {place.state})" for place in line.environments)),
        ("source", version.source),
        ("training took, seconds", told(run.duration_s) if run else ""),
        ("description", version.description),
    ]


def _parameters(version: Version) -> list[tuple[str, str]]:
    """Of the run; and of the logged model, where that says something else."""
    of_run = version.run.params if version.run else ()
    return [(tag.key, tag.value) for tag in of_run] + [
        (f"model: {tag.key}", tag.value) for tag in version.logged_params if tag not in of_run
    ]


def _tags(version: Version) -> list[tuple[str, str]]:
    of_run = version.run.tags if version.run else ()
    return [(tag.key, tag.value) for tag in version.line.tags] + [(f"run: {tag.key}", tag.value) for tag in of_run]


def _data(version: Version) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for count, dataset in enumerate(version.run.datasets if version.run else (), start=1):
        where = f"{dataset.context or 'dataset'} {count}"
        found += [
            (f"{where}: name", dataset.name),
            (f"{where}: digest", dataset.digest),
            (f"{where}: source", dataset.source),
            (f"{where}: profile", dataset.profile),
        ]
    return found


def _signature(card: Card | None) -> Sequence[tuple[str, str]]:
    columns = card.columns if card else ()
    return [(f"{one.kind} {one.name}", one.type + ("" if one.required else ", optional")) for one in columns]


def _certificate(card: Card | None) -> Sequence[tuple[str, str]]:
    return [(tag.key, tag.value) for tag in card.certificate.said] if card and card.certificate else []
