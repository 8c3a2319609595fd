"""What the API server says no with, as errors of ours: each with its words, what they mean here, and the way out.

Called by the client, which alone sees the foreign client's errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.deploy_targets.codec import parse_json
from mlflow_hydraulic.errors import BadInput, Conflict, HydraulicError, NotFound, Refused, Unavailable

OWNER = re.compile(r'conflict with "([^"]*)"')
LONGEST_WORDS = 1500


class Stale(Conflict):
    """A precondition does not hold: the object was changed, or is another one, since it was read."""


class Expired(Conflict):
    """410: the list or watch reaches back too far; list again."""


class Forbidden(Refused):
    """403: a right is missing, or a quota is used up."""


class NotServed(NotFound):
    """404 for a whole kind: it is not installed in the cluster."""


class Owned(Conflict):
    """Fields belong to other managers; `owners` are their names, `fields` what they hold."""

    def __init__(self, message: str, owners: frozenset[str]) -> None:
        super().__init__(message)
        self.owners = owners


KINDS: Mapping[int, type[HydraulicError]] = {
    401: Refused,
    403: Forbidden,
    410: Expired,
    **dict.fromkeys((400, 405, 406, 413, 415, 422), BadInput),
}


def refusal(status: int, body: str | bytes | None, what: str) -> HydraulicError:
    """The error for an answer that is none of 2xx. `what`: the call, as messages name it."""
    document = _document(body)
    words = str(document.get("message") or _text(body) or "no words given")[:LONGEST_WORDS]
    reason, details = document.get("reason", ""), document.get("details") or {}
    told = f"{what}: the API server answers {status}: {words}"
    if status == 401:
        told += ": it does not know who asks; log in again or renew the token of the kubeconfig"
    if status == 403 and "exceeded quota" in words:
        told += ": ask for less (replicas, cpu_request, memory_request) or for a larger quota"
    if status == 404:
        return NotFound(told) if details.get("name") else NotServed(told)
    if status == 409:
        return _conflict(told, reason, details)
    return KINDS.get(status, Unavailable)(told)


def _conflict(told: str, reason: str, details: Mapping[str, Any]) -> HydraulicError:
    causes = [c for c in details.get("causes") or [] if c.get("reason") == "FieldManagerConflict"]
    if not causes:
        return Conflict(told) if reason == "AlreadyExists" else Stale(told)
    held = [(c.get("field", "?"), OWNER.search(c.get("message", ""))) for c in causes]
    fields = [f"{field} belongs to {owner[1] if owner else 'somebody else'!r}" for field, owner in held]
    owners = frozenset(owner[1] if owner else "" for _, owner in held)
    what = told.partition(": the API server")[0]
    return Owned(f"{what}: {'; '.join(fields)}: leave that to its owner, or take it over with force=true", owners)


def _document(body: str | bytes | None) -> Mapping[str, Any]:
    try:
        found = parse_json("answer", body or "{}")
    except BadInput:
        return {}  # a proxy's page, or a line of text
    return found if isinstance(found, dict) else {}


def _text(body: str | bytes | None) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    return text.strip()
