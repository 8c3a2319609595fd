"""Who asks, and why: from the request in MLflow's server, or from this process when the store is used directly."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import quote, unquote

REASON_HEADER = "X-Hydraulic-Reason"
ANONYMOUS = "anonymous"
LONGEST_REASON = 2000
LONGEST_HEADER = 8000  # bytes; gunicorn refuses a header of 8190
_reason: ContextVar[str] = ContextVar("hydraulic_reason", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """user: who logged in, "" where nobody did. reason: what they typed, percent-decoded, cut to 2000 characters.

    logged_in: a server knows who they are; of a process of one's own only the system's user is known.
    """

    user: str
    reason: str = ""
    logged_in: bool = False

    @property
    def name(self) -> str:
        """The ledger's actor."""
        return self.user or ANONYMOUS


@contextmanager
def why(reason: str) -> Iterator[None]:
    """Give the changes made within it a reason, over REST and on a store of this process alike.

    In a request to the server it goes before the header's: it came in the body, or says more.

    with why("beats version 3 on last week's cycles"):
        client.transition_model_version_stage("hydraulic-cooler", "4", "Production")
    """
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)


def caller() -> Caller:
    """The caller of the change under way."""
    flask = sys.modules.get("flask")  # MLflow's client alone has none
    if flask is not None and flask.has_request_context():
        user = flask.g.get("mlflow_authenticated_user") or ""
        reason = _reason.get() or unquote(flask.request.headers.get(REASON_HEADER, ""))
        return Caller(user=user, reason=_storable(reason), logged_in=bool(user))
    return Caller(user=_login(), reason=_storable(_reason.get()))


def _login() -> str:
    """Who runs this process; "" where the system has no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        return ""


def _storable(reason: str) -> str:
    """At most 2000 characters, and none that a database refuses: no NUL, no half of a surrogate pair."""
    return reason[:LONGEST_REASON].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class ReasonHeader:
    """An MLflow request header provider: carries the reason of `why` to the server."""

    def in_context(self) -> bool:
        return bool(_reason.get())

    def request_headers(self) -> dict[str, str]:
        reason = _storable(_reason.get())
        while len(quote(reason)) > LONGEST_HEADER:
            reason = reason[: len(reason) * LONGEST_HEADER // len(quote(reason))]
        return {REASON_HEADER: quote(reason)}
