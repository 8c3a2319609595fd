"""Objects and their versions: one counter for the whole store, a history for watches and for pages of a list.

What is stored is never changed in place: writers hand over an object of their own, readers copy before they edit.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]
Change = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, order=True)
class Key:
    """Where an object stands; namespace is empty for a kind of the cluster."""

    group: str
    plural: str
    namespace: str
    name: str

    @classmethod
    def of(cls, resource: Resource, namespace: str | None, name: str) -> Key:
        """The place of one object, whatever the version it is asked in."""
        return cls(resource.group, resource.plural, namespace or "", name)


@dataclass(frozen=True)
class Event:
    """One write: the object as it is from `version` on (at a delete, as it last was) and as it was before."""

    version: int
    change: Change
    key: Key
    after: Json
    before: Json | None


class Store:
    """All objects, under one lock that also wakes watches."""

    def __init__(self, history: int = 10_000) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.version = 1
        self.compacted = 0
        self.objects: dict[Key, Json] = {}
        self.events: deque[Event] = deque()
        self.history = history

    def write(self, key: Key, value: Json, change: Change) -> Json:
        """Stores, numbers and announces one object; `value` belongs to the store from here on."""
        with self.lock:
            self.version += 1
            value["metadata"]["resourceVersion"] = str(self.version)
            before = self.objects.pop(key, None) if change == "DELETED" else self.objects.get(key)
            if change != "DELETED":
                self.objects[key] = value
            self.events.append(Event(self.version, change, key, value, before))
            while len(self.events) > self.history:
                self.compacted = self.events.popleft().version
            self.lock.notify_all()
            return value

    def since(self, version: int) -> list[Event]:
        """The writes after `version`; `Refusal` 410 where the history no longer reaches back so far."""
        with self.lock:
            if version < self.compacted:
                raise Refusal(410, f"too old resource version: {version} ({self.compacted})")
            fresh: list[Event] = []
            for event in reversed(self.events):
                if event.version <= version:
                    break
                fresh.append(event)
            return fresh[::-1]

    def at(self, version: int) -> dict[Key, Json]:
        """All objects as they were at `version`; `Refusal` 410 as for `since`."""
        with self.lock:
            objects = dict(self.objects)
            for event in reversed(self.since(version)):
                if event.before is None:
                    objects.pop(event.key, None)
                else:
                    objects[event.key] = event.before
            return objects

    def compact(self) -> None:
        """Forgets the history: watches and pages that stand further back are told 410."""
        with self.lock:
            self.compacted = self.version
            self.events.clear()
            self.lock.notify_all()
