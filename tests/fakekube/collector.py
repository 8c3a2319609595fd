"""The garbage collector: what an owner owned goes after it, and a foreground delete waits for it. Runs beside `kube`.

Also empties a namespace that is deleted.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.storage import Event, Key

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
FOREGROUND = "foregroundDeletion"


class Collector:
    """A thread that follows the store's events."""

    def __init__(self, kube: FakeKube) -> None:
        self._kube = kube
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what is not collected stays."""
        self._ended.set()
        store = self._kube.store
        with store.lock:
            store.lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        store, version = self._kube.store, 0
        while not self._ended.is_set():
            with store.lock:
                try:
                    fresh = store.since(version)
                except Refusal:
                    fresh = []  # compacted: what stands now is looked at anew with the next event
                version = store.version
                if not fresh:
                    store.lock.wait(0.5)
                for event in fresh:
                    self._follow(event)

    def _follow(self, event: Event) -> None:
        if event.change == "DELETED":
            self._orphaned(event.after["metadata"]["uid"])
            if event.key.plural == "namespaces":
                for key in [key for key in self._kube.store.objects if key.namespace == event.key.name]:
                    self._drop(key)
        elif "deletionTimestamp" in event.after["metadata"]:
            self._foreground(event.key)
        elif owners := event.after["metadata"].get("ownerReferences"):
            alive = {value["metadata"]["uid"] for value in self._kube.store.objects.values()}
            if event.key in self._kube.store.objects and not any(owner["uid"] in alive for owner in owners):
                self._drop(event.key)  # made for an owner that had gone meanwhile

    def _owned(self, uid: str) -> list[Key]:
        return [
            key
            for key, value in self._kube.store.objects.items()
            if any(owner["uid"] == uid for owner in value["metadata"].get("ownerReferences") or [])
        ]

    def _orphaned(self, uid: str) -> None:
        alive = {value["metadata"]["uid"] for value in self._kube.store.objects.values()}
        for key in self._owned(uid):
            owners = self._kube.store.objects[key]["metadata"]["ownerReferences"]
            if not any(owner["uid"] in alive for owner in owners):
                self._drop(key)

    def _foreground(self, key: Key) -> None:
        value = self._kube.store.objects.get(key)
        if value is None or FOREGROUND not in (value["metadata"].get("finalizers") or []):
            return
        for owned in self._owned(value["metadata"]["uid"]):
            self._drop(owned)
        new = copy.deepcopy(value)
        new["metadata"]["finalizers"].remove(FOREGROUND)
        self._kube.store.write(key, new, "MODIFIED" if new["metadata"]["finalizers"] else "DELETED")

    def _drop(self, key: Key) -> None:
        value = self._kube.store.objects.get(key)
        if value is not None and not value["metadata"].get("finalizers"):
            self._kube.store.write(key, copy.deepcopy(value), "DELETED")
