"""The service proxy: a call to a service goes on to the real local address that stands for it. Called by `answers`."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from tests.fakekube.refusal import Refusal
from tests.fakekube.storage import Key

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube
    from tests.fakekube.request import Url

NOT_PASSED = {"authorization", "host", "connection", "content-length", "transfer-encoding", "keep-alive"}
TIMEOUT_S = 60


def proxied(
    kube: FakeKube, method: str, url: Url, headers: dict[str, str], body: bytes
) -> tuple[int, bytes, dict[str, str]]:
    """(code, body, headers) of the service behind; `Refusal` 404 without it, 503 where nothing backs it."""
    name = _service_name(url.name)
    namespace = url.namespace or ""
    if Key("", "services", namespace, name) not in kube.store.objects:
        raise Refusal(404, f'services "{name}" not found', details={"name": name, "kind": "services"})
    base = kube.backends.get((namespace, name))
    if base is None:
        raise Refusal(503, f'no endpoints available for service "{url.name}"')
    split = urlsplit(base)
    target = f"{split.path.rstrip('/')}/{quote(url.rest)}" + (f"?{url.raw_query}" if url.raw_query else "")
    passed = {key: value for key, value in headers.items() if key not in NOT_PASSED}
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, target, body or None, passed)
        answer = connection.getresponse()
        text = answer.read()
    except OSError as error:
        raise Refusal(503, f"error trying to reach service: {error}") from error
    finally:
        connection.close()
    return answer.status, text, {key: value for key, value in answer.getheaders() if key.lower() not in NOT_PASSED}


def _service_name(text: str) -> str:
    """The service of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`."""
    parts = text.split(":")
    return parts[1] if len(parts) == 3 else parts[0]
