"""From the bytes of a request to JSON: content type, encoding, malformed or endless JSON. Called by the dialects."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from mlflow_hydraulic.scoring.rows import kind_of
from mlflow_hydraulic.scoring.values import Call, RequestProblem

JSON_TYPES = ("application/json",)
ID_RULE = re.compile(r"[!-~]{1,128}")
"""Prediction ids go into headers and logs: printable ASCII without spaces, so no line break can forge either."""

T = TypeVar("T")


def media_type(call: Call) -> str:
    """The content type without its parameters, in lower case; empty when the request names none."""
    return call.content_type.partition(";")[0].strip().lower()


def require_media(call: Call, accepted: tuple[str, ...] = JSON_TYPES) -> str:
    """The request's media type; `RequestProblem` (415) unless it is one of `accepted` and its charset is UTF-8."""
    kind = media_type(call)
    if kind not in accepted:
        given = f"content type {kind!r}" if kind else "the request names no content type"
        raise RequestProblem(415, f"{given}: send {' or '.join(accepted)}")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", call.content_type, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise RequestProblem(415, f"charset {charset[1]!r}: send UTF-8")
    return kind


def read_json(body: bytes | str, what: str = "the body") -> Any:  # Any: the value is JSON
    """The JSON value in `body`; `RequestProblem` (400) when it is empty, not UTF-8, malformed or nested too deep."""
    if not body:
        raise RequestProblem(400, f"{what} is empty: send a JSON object")
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise RequestProblem(400, f"{what} is not UTF-8: byte {error.start} of a string is wrong") from error
    except RecursionError as error:
        raise RequestProblem(400, f"{what} is nested too deep: a request needs no more than five levels") from error
    except msgspec.ValidationError as error:
        raise RequestProblem(400, f"{what} holds a number that no 64-bit float holds: {error}") from error
    except msgspec.DecodeError as error:
        raise RequestProblem(400, f"{what} is no valid JSON: {error}") from error


def read_object(body: bytes | str, what: str = "the body") -> dict[str, Any]:  # Any: the value is JSON
    """As `read_json`, for a JSON object."""
    value = read_json(body, what)
    if not isinstance(value, dict):
        raise RequestProblem(400, f"{what} must be a JSON object, not {kind_of(value)}")
    return value


def read_quickly(body: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The body when it fits the decoder's types; None where the careful way must look, and say what is wrong."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_id(value: object, where: str) -> str | None:
    """The caller's own prediction id; None when there is none, `RequestProblem` (400) for one that breaks the rule."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not ID_RULE.fullmatch(value):
        raise RequestProblem(400, f"{where}: a prediction id is a string of 1 to 128 printable ASCII characters")
    return value
