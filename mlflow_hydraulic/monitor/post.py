"""One HTTP POST to an address that the operator configured, for `webhook` and `alertmanager`.

No redirect is followed, no log-in of the machine's is sent along, an answer ends after so many seconds and bytes, and
no error tells the address beyond its host: at Slack the path is the secret.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.monitor.channels import Secret, check_url
from mlflow_hydraulic.version import VERSION

MOST_ANSWER = 4096  # bytes that are read
SHOWN_ANSWER = 200  # characters that are told
LONGEST_WAIT_S = 3600.0
OVERTIME_S = 2.0
REFUSED = (400, 405, 413, 415, 422)  # this very message is wrong: the same again would be as well
Done = TypeVar("Done")


class Later(Unavailable):
    """The other side is away, or asks for patience: after_s, 0 where it names no time."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


def post(
    url: Secret,
    body: bytes,
    headers: Mapping[str, str],
    *,
    token: Secret,
    ca_file: str,
    timeout_s: float,
    now: datetime,
) -> str:
    """Send `body` as JSON and say what was answered. `Later` where another try may help, `Failed` where none will."""
    address = url.read()
    try:
        check_url(address)
        host = urlsplit(address).hostname
    except ValueError as error:
        raise Later(f"the address in the {url.where} cannot be used: {error}") from None  # it may hold a secret
    sent = {**headers, "Content-Type": "application/json", "User-Agent": f"mlflow-hydraulic/{VERSION}"}
    if token:
        sent["Authorization"] = f"Bearer {token.read()}"
    asked = _Asked(address=address, host=str(host), body=body, headers=sent, ca_file=ca_file, timeout_s=timeout_s)
    return within(3 * timeout_s + OVERTIME_S, lambda: _post(asked, now))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    address: str
    host: str
    body: bytes
    headers: Mapping[str, str]
    ca_file: str
    timeout_s: float


def within(limit_s: float, act: Callable[[], Done]) -> Done:
    """What `act` gives, or `Later` when it takes longer: time-outs of sockets begin anew with every byte.

    What hangs is left to a thread of its own, which ends with the connection or with this process.
    """
    box: list[Done] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            box.append(act())
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: raised again by whoever waits for it
            failed.append(error)

    thread = threading.Thread(target=run, name="notify", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not box:
        raise Later(f"it did not end within {limit_s:.0f} s")
    return box[0]


def _post(asked: _Asked, now: datetime) -> str:
    host = asked.host
    try:
        with requests.Session() as session:
            asking = requests.Request("POST", asked.address, data=asked.body, headers=asked.headers, auth=_no_login)
            prepared = session.prepare_request(asking)
            ways: Any = session.merge_environment_settings(asked.address, {}, True, asked.ca_file or True, None)
            # By its adapter: the session itself would read a redirect's body to its end, however long it is.
            with session.get_adapter(asked.address).send(prepared, timeout=asked.timeout_s, **ways) as answer:
                return _judge(answer, _text(answer, time.monotonic() + asked.timeout_s), host, now)
    except requests.exceptions.SSLError:
        raise Later(f"{host}: its certificate is not trusted here, or it does not speak TLS; see ca_file") from None
    except requests.exceptions.Timeout:
        raise Later(f"{host}: no answer within {asked.timeout_s:g} s") from None
    except (requests.exceptions.RequestException, OSError, ValueError) as error:  # their texts hold the address
        raise Later(f"{host}: {_cause(error)}") from None


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Else requests takes one from ~/.netrc."""
    return request


def _text(answer: requests.Response, end: float) -> str:
    """The beginning of the answer, on one line; "" where it does not come: the status is what counts."""
    found = b""
    try:
        for piece in answer.iter_content(512):
            found += piece
            if len(found) >= MOST_ANSWER or time.monotonic() > end:
                break
    except (requests.exceptions.RequestException, OSError):
        pass
    text = found.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)[:SHOWN_ANSWER].strip()


def _judge(answer: requests.Response, text: str, host: str, now: datetime) -> str:
    status = answer.status_code
    said = f"{status} {text}".strip()
    if 200 <= status < 300:
        return said
    if 300 <= status < 400:
        goal = _host(answer.headers.get("Location", "")) or "another path"
        raise Later(f"{host} sends us on to {goal} ({status}): that is not followed, configure the last address")
    if status in REFUSED:
        raise Failed(f"{host} refused the message: {said}")
    raise Later(f"{host} answered {said}", retry_after(answer.headers.get("Retry-After", ""), now))


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # no address at all
        return ""


def retry_after(text: str, now: datetime) -> float:
    """The seconds that a Retry-After header asks for, at most an hour; 0 where it says nothing that can be read."""
    try:
        asked = float(text) if text.strip().isdecimal() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return 0.0
    return min(max(0.0, asked), LONGEST_WAIT_S)


def _cause(error: Exception) -> str:
    """What happened, in words that hold no address."""
    seen: BaseException | None = error
    while seen is not None:
        reason = getattr(seen, "reason", None)
        if isinstance(seen, OSError) and seen.strerror and seen.errno:
            return str(seen.strerror)
        seen = reason if isinstance(reason, BaseException) else seen.__cause__ or seen.__context__
    return "it cannot be reached, or it ended the connection"
