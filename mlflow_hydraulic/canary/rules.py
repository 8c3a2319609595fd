"""The rules of an environment's canary, as hydraulic.toml gives them. Read by `configuration`.

[environments.prod.canary]
steps = [5, 25, 50]        # percent of callers that the new champion gets, one step after the other; then 100
hold_s = 600               # how long a step lasts at least: seconds, or "10m"
min_requests = 100         # how many requests the new champion must have answered in a step
max_error_rate = 0.01      # answers of 500 and above
max_p99_ms = 250           # 99 of 100 answers come within this
max_p99_ratio = 1.5        # ... and within this many times what the champion before it takes in the same step
patience_s = "1h"          # how long a step may stay undecided, or fail to start
when_unsure = "hold"       # then: hold, go on, or roll back
on_breach = "roll back"    # or halt: it stays at its step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlflow_hydraulic import typed
from mlflow_hydraulic.errors import BadInput

MOST_REQUESTS = 10**9
UNSURE = ("hold", "go on", "roll back")
BREACH = ("roll back", "halt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What each step of a canary must show. Times in s, shares in percent; None: not asked for."""

    steps: tuple[int, ...] = (5, 25, 50)
    hold_s: float = 600.0
    min_requests: int = 100
    max_error_rate: float = 0.01
    max_p99_ms: float | None = None
    max_p99_ratio: float | None = None
    patience_s: float = 3600.0
    when_unsure: str = "hold"
    on_breach: str = "roll back"

    def after(self, share: int) -> int:
        """The share of the step that follows `share`; 100 after the last one."""
        return next((step for step in self.steps if step > share), 100)

    def number(self, share: int) -> str:
        """Which step `share` is, such as "2 of 4"; 100 % is the last one."""
        return f"{sum(step < share for step in self.steps) + 1} of {len(self.steps) + 1}"

    def text(self, old: int, new: int, share: int) -> str:
        """ "canary step 2 of 4: v4 25 % (v3 75 %)"."""
        return f"canary step {self.number(share)}: v{new} {share} % (v{old} {100 - share} %)"

    def fact(self, share: int) -> str:
        """What the version's page shows during a step: "step 2 of 4: 25 %"."""
        return f"step {self.number(share)}: {share} %"


def read_rules(where: str, value: Any) -> Rules:  # Any: parsed TOML
    """The rules in a table of TOML, `where` in the file; `BadInput` names the key, the value and the rule."""
    given = typed.known(where, typed.table(where, value), tuple(field.name for field in fields(Rules)))
    values: dict[str, Any] = {}
    for key, found in given.items():
        at = f"{where}.{key}"
        if key == "steps":
            values[key] = _steps(at, found)
        elif key in ("hold_s", "patience_s"):
            values[key] = typed.seconds(at, found)
        elif key == "min_requests":
            values[key] = typed.whole(at, found, 1, MOST_REQUESTS)
        elif key in CHOICES:
            values[key] = _one_of(at, found, CHOICES[key])
        else:
            values[key] = _number(at, found, *LIMITS[key])
    rules = Rules(**values)
    if rules.patience_s < rules.hold_s:
        raise BadInput(
            f"{where}.patience_s={rules.patience_s:g}: a step lasts {rules.hold_s:g} s (hold_s) at least; "
            f"give it as long or longer"
        )
    return rules


CHOICES: Mapping[str, tuple[str, ...]] = {"when_unsure": UNSURE, "on_breach": BREACH}
LIMITS: Mapping[str, tuple[float, float]] = {
    "max_error_rate": (0.0, 1.0),
    "max_p99_ms": (0.001, 1e7),
    "max_p99_ratio": (1.0, 1e6),
}


def _steps(where: str, value: Any) -> tuple[int, ...]:
    steps = tuple(typed.whole(where, step, 1, 99) for step in typed.items(where, value))
    if not steps or list(steps) != sorted(set(steps)):
        raise BadInput(f"{where}={value!r}: give at least one share from 1 to 99, each larger than the one before")
    return steps


def _one_of(where: str, value: Any, known: tuple[str, ...]) -> str:
    text = typed.text(where, value)
    if text not in known:
        raise BadInput(f"{where}={text!r}: must be one of {', '.join(known)}")
    return text


def _number(where: str, value: Any, least: float, most: float) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        raise BadInput(f"{where}={value!r}: must be a number from {least:g} to {most:g}")
    return float(value)
