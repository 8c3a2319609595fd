"""One object as it changes: list, watch from that version on, list again where the watch ends or lies too far behind.

Called by the target while it waits. The deadline is its own, by a clock that no one sets.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Generator, Iterator

import urllib3

from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Expired
from mlflow_hydraulic.deploy_targets.kubernetes.resources import Resource

GONE = 410
SILENT_S = 10.0  # beyond the watch's own end: then the connection is dead
log = logging.getLogger(__name__)


def changes(
    cluster: Cluster, resource: Resource, namespace: str, name: str, *, until: float, look_s: float = 2.0
) -> Generator[Json | None, None, None]:
    """The object now, after each change, and every `look_s` at least, until the clock says `until`.

    None where it is not there. `Unavailable` where the API server does not answer for longer than its patience.
    """
    lost = 0
    while True:
        page = cluster.list(resource, namespace, fields=f"metadata.name={name}")
        yield page.items[0] if page.items else None
        if cluster.now() >= until:
            return
        seconds = max(1, math.ceil(min(look_s, until - cluster.now())))
        query: dict[str, str | int] = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": page.version,
            "timeoutSeconds": seconds,
        }
        try:
            with contextlib.closing(cluster.stream(resource, namespace, query, seconds + SILENT_S)) as response:
                for value in _events(response):
                    lost = 0
                    yield value
                    if cluster.now() >= until:
                        return
        except Expired as error:
            log.info("watch of %s/%s: %s; listing again", namespace, name, error)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: half a line
            lost += 1
            log.info("watch of %s/%s was lost: %s; listing again", namespace, name, type(error).__name__)
            cluster.sleep(cluster.patience.wait_s(lost, None))


def _events(response: urllib3.HTTPResponse) -> Iterator[Json | None]:
    for line in _lines(response):
        event = json.loads(line)
        value: Json = event["object"]
        if event["type"] == "ERROR" and value.get("code") == GONE:
            raise Expired(str(value.get("message")))
        if event["type"] == "ERROR":
            raise urllib3.exceptions.ProtocolError(f"the watch failed: {value.get('message')}")
        if event["type"] != "BOOKMARK":
            yield None if event["type"] == "DELETED" else value


def _lines(response: urllib3.HTTPResponse) -> Iterator[bytes]:
    """The lines of a stream, whatever the pieces it comes in; `ValueError` later for half a line at its end."""
    left = b""
    for piece in response.stream(amt=None, decode_content=True):
        *whole, left = (left + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
    if left.strip():
        yield left
