"""What is answered to a request: who asks, may they, and then discovery, a verb, a watch, a log or a proxied call.

Called by `server`; pure but for the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tests.fakekube.access import Asked, User
from tests.fakekube.patches import APPLY
from tests.fakekube.pods import pod_log
from tests.fakekube.proxy import proxied
from tests.fakekube.refusal import Refusal
from tests.fakekube.request import AUTHORIZATION, NO_PATH, REVIEWS, Url, asked, options
from tests.fakekube.resources import Resource, group_list, resource_list
from tests.fakekube.watch import Watch

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake", "platform": "tests"}
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    code: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, code: int, document: Json, **headers: str) -> Answer:
        """An answer of JSON."""
        return cls(code, json.dumps(document).encode(), {"Content-Type": JSON, **headers})


@dataclass(frozen=True)
class Stream:
    """An answer that goes on: the events of a watch."""

    events: Iterable[tuple[str, Json]]


def answer_of(kube: FakeKube, method: str, url: Url, headers: dict[str, str], body: bytes) -> Answer | Stream:
    """The answer; `Refusal` for everything that is not 2xx."""
    given = {name.lower(): value for name, value in headers.items()}
    user = kube.access.user(given.get("authorization", ""))
    if not url.plural:
        return Answer.of(200, _discovery(kube, url))
    if url.group_version == AUTHORIZATION and url.plural in REVIEWS and method == "POST":
        review = _document(body, JSON)
        status = kube.access.review(REVIEWS[url.plural], user, review.get("spec") or {})
        return Answer.of(201, {**review, "status": status})
    resource = kube.resource(url.group_version, url.plural)
    if resource is None or (url.sub not in ("", "status", *resource.subresources)):
        raise Refusal(404, NO_PATH)
    if url.sub == "status" and not resource.status:
        raise Refusal(404, NO_PATH)
    kube.access.check(user, asked(url, resource, method))
    if url.sub == "proxy":
        code, text, sent = proxied(kube, method, url, given, body)
        return Answer(code, text, sent)
    if url.sub == "log":
        return Answer(200, pod_log(kube, resource, url).encode(), {"Content-Type": "text/plain"})
    if method in ("GET", "HEAD"):
        return _read(kube, resource, url)
    kind = given.get("content-type", JSON).partition(";")[0]
    return _write(kube, method, resource, url, kind, given.get("user-agent", ""), body, user)


def _discovery(kube: FakeKube, url: Url) -> Json:
    held = list(kube.resources.values())
    if url.path.endswith(("/healthz", "/livez", "/readyz")):
        return {"status": "ok"}
    if url.path.rstrip("/") == "/version":
        return VERSION
    if url.path.rstrip("/") == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if url.path.rstrip("/") == "/apis":
        return group_list(held, [AUTHORIZATION])
    found = [resource for resource in held if resource.api_version == url.group_version]
    if url.group_version == AUTHORIZATION:
        return resource_list(url.group_version, [], REVIEWS.values())
    if not found:
        raise Refusal(404, NO_PATH)
    return resource_list(url.group_version, found)


def _read(kube: FakeKube, resource: Resource, url: Url) -> Answer | Stream:
    if url.name and not url.watch:
        return Answer.of(200, kube.objects.read(resource, url.namespace, url.name))
    query = dict(url.query)
    if url.name:
        query["fieldSelector"] = f"metadata.name={url.name}"
    if url.watch:
        watch = Watch(resource=resource, namespace=url.namespace, query=query, bookmark_every_s=kube.bookmark_every_s)
        return Stream(watch.stream(kube.objects))
    with kube.store.lock:
        page = kube.objects.list_page(resource, url.namespace, query)
    return Answer.of(200, page)


def _write(
    kube: FakeKube, method: str, resource: Resource, url: Url, kind: str, agent: str, raw: bytes, user: User
) -> Answer:
    chosen, objects = options(url, agent), kube.objects
    body = _document(raw, kind) if raw else None
    if method == "DELETE":
        if not url.name:
            return Answer.of(200, _delete_all(kube, resource, url, body))
        return Answer.of(200, objects.delete(resource, url.namespace, url.name, body, chosen))
    if body is None:
        raise Refusal(400, "the body of the request is empty")
    if method == "POST" and url.sub == "token":
        token = kube.access.account_token(url.namespace or "", url.name)
        spec = {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 3600, **(body.get("spec") or {})}
        return Answer.of(
            201, {**body, "spec": spec, "status": {"token": token, "expirationTimestamp": "2999-01-01T00:00:00Z"}}
        )
    if method == "POST" and not url.name:
        return Answer.of(201, objects.create(resource, url.namespace, body, chosen))
    if method == "PUT" and url.name:
        return Answer.of(200, objects.update(resource, url.namespace, url.name, body, chosen))
    if method != "PATCH" or not url.name:
        raise Refusal(405, "the server does not allow this method on the requested resource")
    if kind != APPLY:
        return Answer.of(200, objects.patch(resource, url.namespace, url.name, body, kind, chosen))
    return _apply(kube, resource, url, body, agent, user)


def _apply(kube: FakeKube, resource: Resource, url: Url, body: Json, agent: str, user: User) -> Answer:
    if not url.query.get("fieldManager"):
        told = "fieldManager: Required value: is required for apply patch"
        raise Refusal(422, f'PatchOptions.meta.k8s.io "" is invalid: {told}')
    with kube.store.lock:
        if not url.sub and (resource.plural, url.namespace, url.name) not in kube:
            # An apply that would make the object needs the right to create it too.
            wanted = Asked(verb="create", group=resource.group, resource=resource.plural, namespace=url.namespace)
            kube.access.check(user, wanted)
        value, new = kube.objects.apply(resource, url.namespace, url.name, body, options(url, agent))
    return Answer.of(201 if new else 200, value)


def _delete_all(kube: FakeKube, resource: Resource, url: Url, body: Json | None) -> Json:
    with kube.store.lock:
        page = kube.objects.list_page(resource, url.namespace, url.query)
        for value in page["items"]:
            metadata = value["metadata"]
            kube.objects.delete(resource, metadata.get("namespace"), metadata["name"], body, options(url, ""))
    return page


def _document(raw: bytes, kind: str) -> Any:
    try:
        return yaml.safe_load(raw) if kind == APPLY and not raw.startswith(b"{") else json.loads(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise Refusal(400, f"error decoding the body: {error}") from error
