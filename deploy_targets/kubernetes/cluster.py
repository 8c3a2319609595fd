"""Calls to one cluster's API server, with their patience and their errors.

Called by everything of the target that reads or writes the cluster; made by `client`, which alone knows the Kubernetes
library. A token is never logged, nor is a header or a body.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import AGAIN, Patience, retry_after_s
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Expired, NotServed, refusal
from mlflow_hydraulic.deploy_targets.kubernetes.resources import Resource
from mlflow_hydraulic.errors import NotFound, Unavailable, Untrusted

Json = dict[str, Any]  # Any: the value is JSON
Query = Mapping[str, str | int]

PAGE = 500
RELISTS = 5  # of a list that changes faster than it can be read
APPLY = "application/apply-patch+yaml"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """All objects of a list, and the version of the moment that it shows."""

    items: list[Json]
    version: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Service answered through the API server's proxy; `headers` by small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(kw_only=True)
class Cluster:
    """One cluster as one user of it. It closes its connections as a context manager.

    name, namespace: the context's. server: the API server's address. call, refused: the library's own request, and the
    exception that it raises.
    """

    name: str
    server: str
    namespace: str
    call: Callable[..., Any]
    refused: type[Exception]
    close: Callable[[], None]
    patience: Patience = field(default_factory=Patience)
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object; `NotFound`, or its child `NotServed` where the kind is not installed."""
        return self._json("GET", resource.path(namespace, name), what=_told("read", resource, namespace, name))

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """One object; None where it or its whole kind is not there."""
        try:
            return self.get(resource, namespace, name)
        except NotFound:
            return None

    def list(self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "") -> Page:
        """All objects of a kind that match, page by page; from the start again where its moment has passed."""
        for _ in range(RELISTS):
            try:
                return self._all_pages(resource, namespace, {"labelSelector": labels, "fieldSelector": fields})
            except Expired as error:
                log.info("%s: the list expired before its last page: %s", resource.plural, error)
        raise Unavailable(f"{resource.plural}: changes faster than it can be listed; try again later")

    def apply(
        self, resource: Resource, manifest: Mapping[str, Any], *, manager: str, force: bool = False, dry: bool = False
    ) -> Json:
        """Server-side apply with unknown fields refused; dry: nothing is kept.

        Raises `Owned` for fields of others, `Stale` where the manifest's uid or resourceVersion is not the object's.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        if dry:
            query["dryRun"] = "All"
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        what = _told("apply", resource, namespace, name)
        return self._json(
            "PATCH", resource.path(namespace, name), what=what, query=query, body=manifest, content_type=APPLY
        )

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str, version: str = "") -> None:
        """Asks for the end of exactly this object; one that is gone already is done.

        Raises `Stale` where another object has the name, or where `version` is given and is not the object's.
        """
        wanted = {"uid": uid, "resourceVersion": version} if version else {"uid": uid}
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": wanted,
            "propagationPolicy": "Background",
        }
        try:
            what = _told("delete", resource, namespace, name)
            self._json("DELETE", resource.path(namespace, name), what=what, body=body)
        except NotServed:
            raise
        except NotFound:
            return

    def create(self, path: str, body: Json) -> Json:
        """POST of what keeps nothing, such as an access review: it is repeated like a read."""
        return self._json("POST", path, what=f"create {path.rpartition('/')[2]}", body=body)

    def serves(self, resource: Resource) -> bool:
        """Whether the kind's group and version are installed."""
        try:
            found = self._json("GET", resource.home, what=f"read {resource.home}")
        except NotFound:
            return False
        return any(one["name"] == resource.plural for one in found.get("resources") or [])

    def text(self, path: str, query: Query) -> str:
        """An answer that is no JSON, such as a log."""
        found: bytes = self._patiently(f"read {path}", lambda: self._once("GET", path, query=query).data)
        return found.decode("utf-8", "replace")

    def proxy(
        self,
        method: str,
        place: tuple[str, str, int],
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Answer:
        """Asks port `place[2]` of the Service `place[1]` in the namespace `place[0]` once, by the API server's proxy.

        What the Service answers is given back whatever its status. `Unavailable` where nobody answers.
        """
        namespace, service, port = place
        url = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy/{path.lstrip('/')}"
        try:
            with self._lost(f"{method} {url}"):
                answer = self._once(method, url, body=body, headers=headers, call_s=timeout_s)
                return Answer(answer.status, _lower(answer.headers), answer.data)
        except self.refused as error:
            status, said, held = _parts(error)
            if not status:
                raise self._untrusted(error) from error
            return Answer(status, _lower(held), said if isinstance(said, bytes) else str(said or "").encode())

    def stream(self, resource: Resource, namespace: str, query: Query, read_s: float) -> Any:
        """An open watch: the library's response, read in lines by `watch`. read_s: how long it may be silent."""
        what = _told("watch", resource, namespace)
        return self._patiently(what, lambda: self._once("GET", resource.path(namespace), query=query, call_s=read_s))

    @contextmanager
    def _lost(self, what: str) -> Iterator[None]:
        """Connections that break are the library's library's errors, not its own."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{what}: no answer from the API server of {self.name}: {error}") from error

    def _all_pages(self, resource: Resource, namespace: str | None, selectors: Query) -> Page:
        query: dict[str, str | int] = {"limit": PAGE, **{k: v for k, v in selectors.items() if v}}
        what = _told("list", resource, namespace)
        items: list[Json] = []
        while True:
            page = self._json("GET", resource.path(namespace), what=what, query=query)
            items += page.get("items") or []
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Page(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    def _json(self, method: str, path: str, *, what: str, **call: Any) -> Json:  # Any: as `_once`
        def read() -> Json:
            try:
                value: Json = json.loads(self._once(method, path, **call).data)
            except ValueError as error:
                raise urllib3.exceptions.ProtocolError(f"half an answer: {error}") from error
            return value

        found: Json = self._patiently(what, read)
        return found

    def _once(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        call_s: float | None = None,
    ) -> Any:
        """One call. The dynamic client's request is the only one that takes an apply in every release from 29 on."""
        call_s = self.patience.call_s if call_s is None else call_s
        try:
            return self.call(
                method.lower(),
                path,
                body=body,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json, */*", **(headers or {})},
                content_type=content_type,
                serialize=False,
                _request_timeout=(min(call_s, self.patience.call_s), call_s),
            )
        except (AttributeError, UnicodeDecodeError) as error:
            # The library decodes its exception's body as UTF-8 text, though it may be none, or another page.
            if isinstance(error.__context__, self.refused):
                raise error.__context__ from None
            raise

    def _patiently(self, what: str, call: Callable[[], Any]) -> Any:
        """`call` until it is answered: all that we send may be sent twice. Gives up after `patience.total_s`."""
        end, tries = self.now() + self.patience.total_s, 0
        while True:
            tries += 1
            asked_s = None
            try:
                return call()
            except self.refused as error:
                status, body, headers = _parts(error)
                if not status:
                    raise self._untrusted(error) from error
                told, cause = refusal(status, body, what), error
                if status not in AGAIN:
                    raise told from error
                asked_s = retry_after_s(headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                told, cause = Unavailable(f"{what}: no answer from the API server of {self.name}: {error}"), error
            wait_s = self.patience.wait_s(tries, asked_s)
            log.debug("%s: try %d failed (%s); again in %.2f s", what, tries, type(cause).__name__, wait_s)
            if self.now() + wait_s > end:
                raise Unavailable(f"{told}; given up after {tries} tries in {self.patience.total_s:g} s") from cause
            self.sleep(wait_s)

    def _untrusted(self, error: Exception) -> Untrusted:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        return Untrusted(f"the certificate of {self.name} does not hold: {reason}; see certificate-authority-data")


def _told(verb: str, resource: Resource, namespace: str | None, name: str = "") -> str:
    """A call as messages name it: apply SeldonDeployment prod/cooler."""
    place = f"{namespace}/{name}" if name else f"of {namespace or 'all namespaces'}"
    return f"{verb} {resource.kind if name else resource.plural} {place}"


def _parts(error: Exception) -> tuple[int, str | bytes | None, Mapping[str, str] | None]:
    """Status, body and headers of the library's exception; its other fields differ between releases."""
    return getattr(error, "status", 0) or 0, getattr(error, "body", None), getattr(error, "headers", None)


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in (headers or {}).items()}
