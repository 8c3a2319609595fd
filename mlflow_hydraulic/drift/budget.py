"""The user's false-alarm budget and what it leaves for one look. Read by `check`; set by the rules of `monitor`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlflow_hydraulic.errors import BadInput

DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`false_reds` expected at most in `period_days` of one deployment in which nothing is wrong.

    look_every_s: how often a window is looked at. oranges: as many times more false oranges are accepted.
    The level of one look is the budget shared over all looks of the period. By linearity of expectation the expected
    number of false reds keeps the budget however much the windows of neighbouring looks overlap.
    """

    false_reds: float = 1.0
    period_days: float = 90.0
    look_every_s: float = 3600.0
    oranges: float = 20.0

    def __post_init__(self) -> None:
        for name in ("false_reds", "period_days", "look_every_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name}={value!r}: must be a number above 0")
        if not (math.isfinite(self.oranges) and self.oranges >= 1):
            raise BadInput(f"oranges={self.oranges!r}: must be 1 or more: an orange is the softer alarm")

    def level(self, elapsed_s: float | None = None) -> float:
        """The chance of a false red that one look may take, at most 0.5.

        elapsed_s: time since the look before, for looks at no fixed interval: who looks twice as often gets half.
        """
        since = self.look_every_s if elapsed_s is None else elapsed_s
        if not (math.isfinite(since) and since > 0):
            raise BadInput(f"elapsed_s={since!r}: must be above 0 s: a look back at the same moment tells nothing new")
        return min(self.false_reds * since / (self.period_days * DAY_S), 0.5)

    def orange_level(self, elapsed_s: float | None = None) -> float:
        """The same for a false orange or red."""
        return min(self.oranges * self.level(elapsed_s), 0.5)


def per_look(level: float) -> Budget:
    """A budget that takes `level` at every look, for tests and benchmarks: 0.05 is the textbook's."""
    if not 0 < level <= 0.5:
        raise BadInput(f"level={level!r}: must be above 0 and at most 0.5")
    return Budget(false_reds=level, period_days=1.0, look_every_s=DAY_S, oranges=1.0)
