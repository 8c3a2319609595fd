"""Guessing passwords is made slow, per user and address, without locking anybody out. In the memory of one worker.

Each wrong attempt over a rule's free ones doubles the wait, from one second to the rule's longest. A browser that has
logged in before is counted by itself, so that a stranger's guesses at the same name do not keep it waiting.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

FORGET_S = 900.0
MOST = 10_000  # keys that are remembered; the least recently missed go first
MOST_VOUCHED = 1_000
LONGEST_NAME = 256


@dataclass(frozen=True, kw_only=True)
class Rule:
    """free: wrong attempts that cost nothing. longest_s: the longest wait."""

    free: int
    longest_s: float


# all at an address: many people may share it; one name from everywhere: its owner must still get in
RULES: Mapping[str, Rule] = {
    "pair": Rule(free=5, longest_s=60.0),
    "browser": Rule(free=5, longest_s=60.0),
    "address": Rule(free=50, longest_s=60.0),
    "user": Rule(free=100, longest_s=5.0),
}
Key = tuple[str, str, str]  # rule, and what it counts


def keys_of(user: str, address: str, browser: str = "") -> Sequence[Key]:
    """What one attempt is counted for. browser: the mark of one that logged in as this user before."""
    user = user[:LONGEST_NAME]
    if browser:
        return (("browser", user, browser),)
    return (("pair", user, address), ("address", "", address), ("user", user, ""))


@dataclass
class _Misses:
    count: int
    last_s: float

    def wait_s(self, rule: Rule, now_s: float) -> float:
        if self.count <= rule.free:
            return 0.0
        wait = min(2.0 ** min(self.count - rule.free - 1, 16), rule.longest_s)
        return max(self.last_s + wait - now_s, 0.0)


class Throttle:
    """now: a clock that only goes forward, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._misses: OrderedDict[Key, _Misses] = OrderedDict()
        self._vouched: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def begin(self, keys: Sequence[Key]) -> float:
        """Seconds to wait before the next attempt; 0.0: attempt now, and it counts as wrong until `hit` is called.

        Counted beforehand, so that a thousand attempts at once are not all let through.
        """
        now = self._now()
        with self._lock:
            wait = max(self._of(key, now).wait_s(RULES[key[0]], now) for key in keys)
            if wait == 0.0:
                for key in keys:
                    found = self._of(key, now)
                    self._misses[key] = _Misses(found.count + 1, now)
                    self._misses.move_to_end(key)
                while len(self._misses) > MOST:
                    self._misses.popitem(last=False)
            return wait

    def hit(self, keys: Sequence[Key]) -> None:
        """The attempt was right: the pair begins anew, and what others share is as it was before."""
        with self._lock:
            for key in keys:
                found = self._misses.get(key)
                if found is None:
                    continue
                if key[0] in ("pair", "browser") or found.count == 1:
                    del self._misses[key]
                else:
                    found.count -= 1

    def vouch(self, digest: str) -> None:
        """Credentials that were right lately: whoever sends them is not kept waiting. digest: keyed, of both."""
        with self._lock:
            self._vouched[digest] = None
            self._vouched.move_to_end(digest)
            while len(self._vouched) > MOST_VOUCHED:
                self._vouched.popitem(last=False)

    def doubt(self, digest: str) -> None:
        with self._lock:
            self._vouched.pop(digest, None)

    def is_vouched(self, digest: str) -> bool:
        with self._lock:
            return digest in self._vouched

    def _of(self, key: Key, now: float) -> _Misses:
        found = self._misses.get(key)
        return found if found is not None and now - found.last_s < FORGET_S else _Misses(0, now)
