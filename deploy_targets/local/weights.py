"""Who answers the next request: smooth weighted round robin, as nginx does it. Called by the router."""

from __future__ import annotations

from collections.abc import Mapping


class Wheel:
    """Deals names in proportion to their weights, evenly spread and exact over each round of the weights' sum.

    >>> wheel = Wheel({"a": 3, "b": 1, "never": 0})
    >>> "".join(wheel.next() for _ in range(8))
    'aabaaaba'
    """

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}
        self._total = sum(self._weights.values())
        self._credit = dict.fromkeys(self._weights, 0)
        self._only = next(iter(self._weights)) if len(self._weights) == 1 else None

    def next(self) -> str:
        """The next name; raises `LookupError` where no weight is above 0."""
        if self._only is not None:
            return self._only
        if not self._weights:
            raise LookupError("no name has a weight above 0")
        for name, weight in self._weights.items():
            self._credit[name] += weight
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= self._total
        return chosen


class Share:
    """Says yes to `percent` of 100 calls, evenly spread.

    >>> share = Share(25)
    >>> [share.next() for _ in range(8)]
    [False, False, False, True, False, False, False, True]
    """

    def __init__(self, percent: int) -> None:
        self._percent = percent
        self._credit = 0

    def next(self) -> bool:
        self._credit += self._percent
        if self._credit >= 100:
            self._credit -= 100
            return True
        return False
