"""A finding: what one look at one deployment on one level said. Made by the levels, turned into alerts by `alerts`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["service", "drift", "accuracy", "anomaly"]
Colour = Literal["grey", "green", "orange", "red"]
LEVELS: tuple[Level, ...] = ("service", "drift", "accuracy", "anomaly")
COLOURS: tuple[Colour, ...] = ("grey", "green", "orange", "red")  # the later, the worse; grey is "no data to judge"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Subject:
    """What is looked at: a deployment in an environment, or one predictor of it ("" is the whole)."""

    environment: str
    deployment: str
    predictor: str = ""
    workspace: str = "default"
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one subject is on one level, and why a person should believe it.

    rule: which check said it ("latency p99", "inputs", "correlation", "prediction share", "accuracy", ...).
    cause: one sentence with numbers and units; for green and grey too.
    numbers: what was measured: effect, p_value or e_value, threshold, rows, ...
    features: the inputs that it is about, the most changed first.
    since, until: the window, in seconds since 1970, UTC.
    plot: SVG that shows it, or "".
    """

    subject: Subject
    level: Level
    rule: str
    colour: Colour
    cause: str
    since: float
    until: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    plot: str = ""


def worst(colours: Iterable[Colour]) -> Colour:
    """The worst of some colours; grey where there are none, and where all are grey.

    >>> worst(["green", "orange", "grey"]), worst([])
    ('orange', 'grey')
    """
    found = [COLOURS.index(colour) for colour in colours]
    return COLOURS[max(found, default=0)]
