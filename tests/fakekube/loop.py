"""A controller's loop: a thread that follows the store and is called once for each object that may need work.

`workloads` and `operator` are such controllers; level-triggered, as real ones are.
"""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.storage import Key

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]


class Loop:
    """Follows the kinds in `plurals`; `reconcile` says after how many seconds an object wants to be looked at again."""

    plurals: tuple[str, ...] = ()

    def __init__(self, kube: FakeKube) -> None:
        self.kube = kube
        self.store = kube.store
        self.failures: list[str] = []
        self._due: dict[Key, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def reconcile(self, key: Key, value: Json | None) -> float | None:
        """Brings one object nearer to what it asks; None for `value`: it is gone. Called with the store's lock held."""
        raise NotImplementedError

    def concerns(self, key: Key, value: Json) -> Key:
        """The object that a change of `value` means work for: itself, unless a controller says otherwise."""
        return key

    def look_again(self) -> None:
        """Calls `reconcile` for everything: something outside the store has changed."""
        with self.store.lock:
            for key, value in self.store.objects.items():
                if key.plural in self.plurals:
                    self._due[self.concerns(key, value)] = 0.0
            self.store.lock.notify_all()

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()
        self.look_again()

    def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()
        with self.store.lock:
            self.store.lock.notify_all()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        version = self.store.version
        while not self._ended.is_set():
            with self.store.lock:
                version = self._follow(version)
                now = time.monotonic()
                for key in [key for key, due in self._due.items() if due <= now]:
                    del self._due[key]
                    self._work(key)
                if self.store.version == version:
                    soonest = min(self._due.values(), default=now + 0.5)
                    self.store.lock.wait(max(0.0, min(0.5, soonest - time.monotonic())))

    def _follow(self, version: int) -> int:
        try:
            fresh = self.store.since(version)
        except Refusal:  # compacted: everything may have changed
            self.look_again()
            fresh = []
        for event in fresh:
            if event.key.plural in self.plurals:
                self._due[self.concerns(event.key, event.after)] = 0.0
        return self.store.version

    def _work(self, key: Key) -> None:
        try:
            again = self.reconcile(key, self.store.objects.get(key))
        except Exception:  # noqa: BLE001 - a controller outlives what it trips over; the test reads `failures`
            self.failures.append(traceback.format_exc())
            return
        if again is not None:
            self._due[key] = time.monotonic() + again
