"""The proxy: a call to a service or a pod goes on to the real local address that stands for it. Called by `answers`."""

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
    """(code, body, headers) of what is behind; `Refusal` 404 without it, 503 where nothing backs it."""
    name = _service_name(url.name)
    namespace = url.namespace or ""
    if Key("", url.plural, namespace, name) not in kube.store.objects:
        raise Refusal(404, f'{url.plural} "{name}" not found', details={"name": name, "kind": url.plural})
    pod = url.plural == "pods"
    base, path, more = kube.backends.get((namespace, f"pods/{name}" if pod else name)), url.rest, {}
    if base is None and kube.endpoints is not None and pod:
        base = kube.endpoints.pod(namespace, name) or None
    elif base is None and kube.endpoints is not None:
        way = kube.endpoints.way(namespace, name, _port(kube, namespace, url.name), url.rest)
        base, path, more = way.base, way.path, way.headers
    if base is None:
        raise Refusal(503, f'no endpoints available for service "{url.name}"')
    split = urlsplit(base)
    target = f"{split.path.rstrip('/')}/{quote(path)}" + (f"?{url.raw_query}" if url.raw_query else "")
    passed = {**more, **{key: value for key, value in headers.items() if key not in NOT_PASSED}}
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


def _port(kube: FakeKube, namespace: str, text: str) -> int:
    """The port of `NAME:PORT`, by its number or its name; `Refusal` 503 for one that the Service does not have."""
    name, asked = _service_name(text), text.rsplit(":", maxsplit=1)[-1] if ":" in text else ""
    ports = kube["services", namespace, name]["spec"]["ports"]
    fits = [one["port"] for one in ports if asked in (str(one["port"]), one.get("name", ""))]
    if not asked and len(ports) == 1:
        fits = [ports[0]["port"]]
    if not fits:
        raise Refusal(503, f'no endpoints available for service "{text}"')
    return int(fits[0])


def _service_name(text: str) -> str:
    """The service of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`."""
    parts = text.split(":")
    return parts[1] if len(parts) == 3 else parts[0]
