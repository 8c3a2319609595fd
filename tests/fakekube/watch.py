"""A watch: the events of one kind from a version on, as the API server streams them. Called by `server`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakekube.objects import Objects
from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource
from tests.fakekube.selectors import matcher
from tests.fakekube.storage import Event

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What to stream. bookmark_every_s: how often a quiet watch that asked for bookmarks gets one."""

    resource: Resource
    namespace: str | None
    query: dict[str, str]
    bookmark_every_s: float = 60.0

    def stream(self, objects: Objects) -> Iterator[tuple[str, Json]]:
        """(type, object) until timeoutSeconds pass; an ERROR with 410 where the history does not reach back so far."""
        store, match = objects.store, matcher(self.resource, self.query)
        end = time.monotonic() + float(self.query.get("timeoutSeconds") or 1800)
        bookmarks = self.query.get("allowWatchBookmarks") in ("1", "true", "True")
        told = time.monotonic()
        start = self.query.get("resourceVersion") or "0"
        if not start.isdigit():
            raise Refusal(400, f"invalid resource version: {start!r}")
        version = int(start)
        if version == 0:
            with store.lock:
                version, found = store.version, objects.find(self.resource, self.namespace, **self._selectors())
            yield from (("ADDED", value) for value in found)
        while (left := end - time.monotonic()) > 0:
            with store.lock:
                try:
                    fresh = store.since(version)
                except Refusal as refusal:
                    yield "ERROR", refusal.document()
                    return
                version = store.version
                if not fresh:
                    store.lock.wait(min(left, 0.5, self.bookmark_every_s))
            for event in fresh:
                if (change := self._seen(event, match)) is not None:
                    yield change
            if bookmarks and time.monotonic() - told >= self.bookmark_every_s:
                told = time.monotonic()
                yield "BOOKMARK", self._bookmark(version)
        if bookmarks:
            yield "BOOKMARK", self._bookmark(version)

    def _selectors(self) -> dict[str, str]:
        return {key: self.query[key] for key in ("labelSelector", "fieldSelector") if key in self.query}

    def _bookmark(self, version: int) -> Json:
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, "metadata": metadata}

    def _seen(self, event: Event, match: Any) -> tuple[str, Json] | None:
        """The event as this watch sees it: what leaves the selection is DELETED, what enters it is ADDED."""
        key = event.key
        if (key.group, key.plural) != (self.resource.group, self.resource.plural):
            return None
        if self.namespace not in (None, key.namespace):
            return None
        was = event.before is not None and match(event.before)
        matches = event.change != "DELETED" and match(event.after)
        if matches:
            return ("MODIFIED" if was else "ADDED"), event.after
        return ("DELETED", event.after) if was else None
