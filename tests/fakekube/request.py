"""What a URL of the API asks: kind, namespace, name, subresource and verb. Called by `server`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakekube.access import Asked
from tests.fakekube.objects import Options
from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]
REVIEWS = {
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
    "selfsubjectrulesreviews": "SelfSubjectRulesReview",
    "subjectaccessreviews": "SubjectAccessReview",
}
AUTHORIZATION = "authorization.k8s.io/v1"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}
TRUE = {"1", "t", "T", "true", "TRUE", "True"}
NO_PATH = "the server could not find the requested resource"


@dataclass(frozen=True, kw_only=True)
class Url:
    """One request's address. group_version and below are empty for `/version`, `/api` and `/apis`."""

    path: str
    query: dict[str, str]
    raw_query: str
    group_version: str = ""
    namespace: str | None = None
    plural: str = ""
    name: str = ""
    sub: str = ""
    rest: str = ""

    @property
    def watch(self) -> bool:
        """Whether a list is to be watched."""
        return self.query.get("watch") in TRUE


def read_url(target: str) -> Url:
    """The parts of a request's target; `Refusal` 404 for an address that no API server has."""
    split = urlsplit(target)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    parts = [unquote(part) for part in split.path.split("/") if part]
    bare = Url(path=split.path, query=query, raw_query=split.query)
    if parts in (["api"], ["apis"], ["version"], ["healthz"], ["livez"], ["readyz"]):
        return bare
    if parts[:1] == ["api"] and len(parts) > 1:
        group_version, parts = parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 2:
        group_version, parts = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        raise Refusal(404, NO_PATH)
    namespace = None
    if parts[:1] == ["namespaces"] and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    plural, name, sub, *rest = [*parts, "", "", ""][: max(3, len(parts))]
    return Url(
        path=split.path,
        query=query,
        raw_query=split.query,
        group_version=group_version,
        namespace=namespace,
        plural=plural,
        name=name,
        sub=sub,
        rest="/".join(rest),
    )


def asked(url: Url, resource: Resource, method: str) -> Asked:
    """What the user must be allowed for this request. Kubernetes counts a namespace as inside itself."""
    verb = VERBS.get(method, "")
    if not url.name:
        verb = {"GET": "watch" if url.watch else "list", "DELETE": "deletecollection"}.get(method, verb)
    whole = f"{url.plural}/{url.sub}" if url.sub else url.plural
    namespace = url.name or None if url.plural == "namespaces" else url.namespace
    return Asked(verb=verb, group=resource.group, resource=whole, namespace=namespace, name=url.name)


def options(url: Url, agent: str) -> Options:
    """The write options of a request; without a fieldManager the client's name in User-Agent owns what it writes."""
    dry_run = url.query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise Refusal(422, f'Invalid value: "{dry_run}": dryRun: supported values: "All"')
    validation = url.query.get("fieldValidation", "Warn")
    if validation not in ("Strict", "Warn", "Ignore"):
        raise Refusal(422, f'fieldValidation: Unsupported value: "{validation}": supported: "Ignore", "Strict", "Warn"')
    return Options(
        manager=url.query.get("fieldManager") or agent.partition("/")[0] or "unknown",
        dry_run=bool(dry_run),
        validation=validation,
        force=url.query.get("force") in TRUE,
        status=url.sub == "status",
    )
