"""CloudEvents as Seldon's request logger posts them, to values of ours. Called by the intake.

Read in seldon-core's executor/logger/worker.go and predictor_process.go: binary mode, a new `id` for each event,
`requestid` the puid, `modelid` the graph's node, `inferenceservicename` the SeldonDeployment, `endpoint` the predictor.
Structured and batched mode are CloudEvents 1.0: https://github.com/cloudevents/spec (HTTP binding, JSON format).
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from mlflow_hydraulic.errors import BadInput

REQUEST, RESPONSE = "io.seldon.serving.inference.request", "io.seldon.serving.inference.response"
FEEDBACK = "io.seldon.serving.feedback"
KINDS: dict[str, Literal["request", "response", "feedback"]] = {
    REQUEST: "request",
    RESPONSE: "response",
    FEEDBACK: "feedback",
}
STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
NEEDED = ("id", "type", "requestid", "inferenceservicename", "namespace", "endpoint")
LONGEST = 512  # of one attribute
MOST_EVENTS = 1000  # of one batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. at_ns: when it was sent, or where it does not say, when it came. body: the payload as it was."""

    id: str
    kind: Literal["request", "response", "feedback"]
    request_id: str
    namespace: str
    deployment: str
    predictor: str
    node: str
    at_ns: int
    body: bytes

    @property
    def key(self) -> str:
        """What request and response have in common."""
        return "/".join((self.namespace, self.deployment, self.predictor, self.node, self.request_id))


def read_events(headers: Mapping[str, str], body: bytes) -> Iterator[Event]:
    """The events of one HTTP request; header names in lower case. `BadInput` says what is wrong with which."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (STRUCTURED, BATCHED):
        attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
        if not attributes:
            raise BadInput(f"no CloudEvent: send the headers ce-id, ce-type, ..., or content type {STRUCTURED}")
        yield _event(attributes, body)
        return
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the CloudEvent is no valid JSON: {error}") from error
    events = value if media == BATCHED else [value]
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise BadInput(f"a batch must be a list of at most {MOST_EVENTS} events")
    for one in events:
        if not isinstance(one, dict):
            raise BadInput("a CloudEvent must be a JSON object")
        yield _event({name: one[name] for name in one if name not in ("data", "data_base64")}, _data(one))


def _event(attributes: Mapping[str, Any], body: bytes) -> Event:  # Any: JSON values until they are checked
    for name in NEEDED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value or len(value) > LONGEST:
            raise BadInput(f"CloudEvent attribute {name}: must be there, as text of 1 to {LONGEST} characters")
    kind = KINDS.get(attributes["type"])
    if kind is None:
        raise BadInput(f"CloudEvent type {attributes['type']!r}: known are {', '.join(KINDS)}")
    node = attributes.get("modelid", "")
    return Event(
        id=attributes["id"],
        kind=kind,
        request_id=attributes["requestid"],
        namespace=attributes["namespace"],
        deployment=attributes["inferenceservicename"],
        predictor=attributes["endpoint"],
        node=node if isinstance(node, str) else "",
        at_ns=_time_ns(attributes.get("time")),
        body=body,
    )


def _data(event: Mapping[str, Any]) -> bytes:
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise BadInput(f"CloudEvent attribute data_base64: {error}") from error
    data = event.get("data")
    if isinstance(data, str):
        return data.encode()
    return b"" if data is None else msgspec.json.encode(data)


def _time_ns(text: object) -> int:
    """The time of an event, which Go writes with nine digits of a second; now where there is none."""
    if not isinstance(text, str) or not text:
        return time.time_ns()
    whole, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if dot else ""
    zone = rest[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat((whole + zone).replace("Z", "+00:00").replace("z", "+00:00"))
        if moment.tzinfo is None:
            raise BadInput(f"CloudEvent attribute time={text!r}: has no zone")
        return int(moment.timestamp()) * 10**9 + int(digits[:9].ljust(9, "0") or 0)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"CloudEvent attribute time={text!r}: must be a time as in RFC 3339") from error
