"""The order of conditions on the test rig: which fault is set when, for how many cycles. Called by `simulate`.

It is the order of the measured campaign: three cooler blocks, each opened by some 200 warm-up cycles; in each, four
accumulator pressures; in each, three pump leakages; in each, four valve conditions of ten cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARM_UP, BLOCK = 200, 10
LAST_BLOCK = BLOCK + 9  # the measured campaign ended with nine cycles more


def schedule(cycles: int) -> NDArray[np.int64]:
    """Conditions of whole campaigns, at least `cycles` cycles, shape (n, 5) in the order of `CONDITIONS`."""
    campaign = np.array([row for *row, count in _blocks() for _ in range(count)], dtype=np.int64)
    return np.tile(campaign, (-(-cycles // len(campaign)), 1))


def _blocks() -> Iterator[tuple[int, int, int, int, int, int]]:
    """Cooler, valve, pump, accumulator, stable flag, and for how many cycles."""
    for cooler in (3, 20, 100):
        yield cooler, 100, 0, 130 if cooler == 3 else 90, 1, WARM_UP
        for pressure in (130, 115, 100, 90):
            yield cooler, 100, 0, pressure, 1, BLOCK
            for leakage in (2, 1, 0):
                yield cooler, 100, leakage, pressure, 1, 1
                for valve in (73, 80, 90, 100):
                    last = (cooler, pressure, leakage, valve) == (100, 90, 0, 100)
                    yield cooler, valve, leakage, pressure, 0, LAST_BLOCK if last else BLOCK
