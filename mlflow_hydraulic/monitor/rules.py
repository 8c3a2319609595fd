"""Alert rules: which findings make an alert, how many of them, when it ends, and who is told. Pure.

[monitor]
notify = ["team"]                  # the channels of every rule that names none
stale = "1h"                       # whoever was not looked at for so long is grey
[[monitor.rules]]                  # the first rule that fits decides; what it does not say has a default by level
environment = "prod"
deployment = "cooler*"
model = "hydraulic-*"
level = "drift"                    # service, drift, accuracy, anomaly
rule = "inputs"
raise_after = 2                    # findings that are bad ...
of = 3                             # ... of the last so many
clear_after = 3                    # good ones in a row that end it
notify = ["red"]                   # colours that people are told of; all by default, [] keeps it in the lists only
channels = ["team", "on-call"]
again = "24h"                      # told again while it is open and nobody acknowledged it; 0: never
quiet = "10m"                      # an alert that comes back is told of once in so long, unless it is worse
grey_after = "2h"                  # no data for so long is an alert of its own; 0: never
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, get_args

from mlflow_hydraulic import typed
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.alert import Key
from mlflow_hydraulic.monitor.findings import LEVELS, Colour, Level

PATTERNS = ("environment", "deployment", "predictor", "model", "level", "rule")
COUNTS = ("raise_after", "of", "clear_after")
LENGTHS = ("again", "quiet", "grey_after")
KEYS = (*PATTERNS, *COUNTS, "notify", "channels", *LENGTHS)
MOST_LOOKS = 100
STALE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What a rule or a mute is about: shell patterns, all of which must fit; "*" fits anything.

    >>> Pattern(environment="prod", rule="latency *")
    Pattern(environment='prod', deployment='*', predictor='*', model='*', level='*', rule='latency *')
    """

    environment: str = "*"
    deployment: str = "*"
    predictor: str = "*"
    model: str = "*"
    level: str = "*"
    rule: str = "*"

    def fits(self, key: Key) -> bool:
        subject = key.subject
        pairs = (
            (subject.environment, self.environment),
            (subject.deployment, self.deployment),
            (subject.predictor, self.predictor),
            (subject.model, self.model),
            (key.level, self.level),
            (key.rule, self.rule),
        )
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)

    def __str__(self) -> str:
        """For people: "environment=prod, level=drift", or "everything"."""
        said = [f"{name}={getattr(self, name)}" for name in PATTERNS if getattr(self, name) != "*"]
        return ", ".join(said) or "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do with the findings that `pattern` fits. Lengths in seconds, 0 for never.

    raise_after, of: a colour is believed when so many of the last `of` findings were at least that bad.
    clear_after: so many findings in a row that are better make it better, or end it.
    """

    pattern: Pattern = field(default_factory=Pattern)
    raise_after: int = 1
    of: int = 1
    clear_after: int = 2
    notify: tuple[Colour, ...] = ("grey", "orange", "red")
    channels: tuple[str, ...] = ()
    again_s: float = 86_400.0
    quiet_s: float = 600.0
    grey_after_s: float = 0.0


# Drift and accuracy count once: their thresholds are calibrated for a false-alarm budget. Service and single rows are
# noisy: two of three looks must agree.
DEFAULTS: Mapping[Level, Rule] = {
    "service": Rule(raise_after=2, of=3, clear_after=3),
    "drift": Rule(),
    "accuracy": Rule(),
    "anomaly": Rule(raise_after=2, of=3, clear_after=3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules, in their order, and what holds for those that say nothing. `given`: TOML keys of each rule."""

    given: tuple[Mapping[str, Any], ...] = ()
    notify: tuple[str, ...] = ("log",)
    stale_s: float = STALE_S

    def every(self) -> Iterator[tuple[int, Level, Rule]]:
        """Each rule, whole, with its number (0: the defaults), for each level that it fits."""
        for number, given in enumerate((*self.given, {}), start=1):
            for level in LEVELS:
                if fnmatchcase(level, given.get("level", "*")):
                    yield number if given else 0, level, self._whole(number, given, level)

    def of(self, key: Key) -> Rule:
        """The rule for `key`, whole."""
        return self.found(key)[1]

    def found(self, key: Key) -> tuple[int, Rule]:
        """The same with its number in hydraulic.toml, from 1; 0 for the defaults."""
        for number, given in enumerate(self.given, start=1):
            if _pattern(given).fits(key):
                return number, self._whole(number, given, key.level)
        return 0, replace(DEFAULTS[key.level], channels=self.notify)

    def _whole(self, number: int, given: Mapping[str, Any], level: Level) -> Rule:
        base = replace(DEFAULTS[level], channels=self.notify, pattern=_pattern(given))
        return _rule(f"monitor.rules[{number}]", given, base)


def _pattern(given: Mapping[str, Any]) -> Pattern:
    return Pattern(**{name: given[name] for name in PATTERNS if name in given})


def read_rules(table: Mapping[str, Any], channels: Collection[str]) -> Rules:
    """The rules in the table [monitor]; `BadInput` names what is wrong. channels: the names of those that there are."""
    given = tuple(
        typed.known(f"monitor.rules[{number}]", typed.table(f"monitor.rules[{number}]", rule), KEYS)
        for number, rule in enumerate(typed.items("monitor.rules", table.get("rules", [])), start=1)
    )
    notify = typed.texts("monitor.notify", table.get("notify", ["log"]))
    stale_s = typed.seconds("monitor.stale", table.get("stale", STALE_S))
    for number, rule in enumerate(given, start=1):
        _check(f"monitor.rules[{number}]", rule, channels)
    _refuse_unknown("monitor.notify", notify, channels)
    return Rules(given=given, notify=notify, stale_s=stale_s)


def _check(where: str, given: Mapping[str, Any], channels: Collection[str]) -> None:
    for name in PATTERNS:
        typed.text(f"{where}.{name}", given.get(name, "*"))
    level = given.get("level", "*")
    fitting = [known for known in LEVELS if fnmatchcase(known, level)]
    if not fitting:
        raise BadInput(f"{where}.level={level!r}: there is no such level; known are {', '.join(LEVELS)}")
    for known in fitting:
        rule = _rule(where, given, DEFAULTS[known])
        _refuse_unknown(f"{where}.channels", rule.channels, channels)


def _rule(where: str, given: Mapping[str, Any], base: Rule) -> Rule:
    values: dict[str, Any] = {
        **{name: typed.whole(f"{where}.{name}", given[name], 1, MOST_LOOKS) for name in COUNTS if name in given},
        **{f"{name}_s": typed.seconds(f"{where}.{name}", given[name]) for name in LENGTHS if name in given},
    }
    if "raise_after" in given and "of" not in given:
        values["of"] = max(values["raise_after"], base.of)
    if "of" in given and "raise_after" not in given:
        values["raise_after"] = min(values["of"], base.raise_after)
    if "channels" in given:
        values["channels"] = typed.texts(f"{where}.channels", given["channels"])
    if "notify" in given:
        values["notify"] = _colours(f"{where}.notify", given["notify"])
    rule = replace(base, **values)
    if rule.raise_after > rule.of:
        raise BadInput(f"{where}: raise_after={rule.raise_after} of={rule.of}: it cannot be more than there are looks")
    return rule


def _colours(where: str, value: Any) -> tuple[Colour, ...]:
    alarming = [colour for colour in get_args(Colour) if colour != "green"]
    found = typed.texts(where, value)
    for colour in found:
        if colour not in alarming:
            raise BadInput(f"{where}={colour!r}: choose of {', '.join(alarming)}; channels are named by `channels`")
    return tuple(colour for colour in alarming if colour in found)


def _refuse_unknown(where: str, named: tuple[str, ...], channels: Collection[str]) -> None:
    for name in named:
        if name not in channels:
            raise BadInput(f"{where}: there is no channel {name!r}; known are {', '.join(sorted(channels))}")
