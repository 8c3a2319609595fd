"""How the API server says no: a code and a Status document. Raised by every room of the fake, sent by `server`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakekube.resources import Resource

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refusal(Exception):
    """An answer of 4xx or 5xx in the Status shape."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS.get(code, "Unknown")
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def not_found(resource: Resource, name: str) -> Refusal:
    """404 for one object."""
    return Refusal(404, f'{resource.qualified} "{name}" not found', details=_about(resource, name))


def already_exists(resource: Resource, name: str) -> Refusal:
    """409 of a create."""
    return Refusal(
        409,
        f'{resource.qualified} "{name}" already exists',
        reason="AlreadyExists",
        details=_about(resource, name),
    )


def stale(resource: Resource, name: str, why: str = "") -> Refusal:
    """409 of a write that carried an old resourceVersion, or of a precondition that does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return Refusal(
        409,
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        details=_about(resource, name),
    )


def invalid(resource: Resource, name: str, causes: list[tuple[str, str]]) -> Refusal:
    """422 with one cause (field, message) for each field that breaks a rule."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    listed = [{"reason": "FieldValueInvalid", "message": text, "field": field} for field, text in causes]
    words = [f"{field}: {text}" for field, text in causes]
    told = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    details = {"name": name, "group": resource.group, "kind": resource.kind, "causes": listed}
    return Refusal(422, f'{kind} "{name}" is invalid: {told}', details=details)


def _about(resource: Resource, name: str) -> dict[str, str]:
    return {"name": name, "group": resource.group, "kind": resource.plural}
