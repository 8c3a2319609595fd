"""Who is asking and what they may: bearer tokens, rules given in a test, and the RBAC objects in the store.

Called by `server` for each request, and for access reviews.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.storage import Store

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
ADMIN = "system:masters"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One thing to be allowed. resource holds the subresource: pods/log. namespace None: the whole cluster."""

    verb: str
    group: str
    resource: str
    namespace: str | None = None
    name: str = ""


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    groups: tuple[str, ...] = ()


class Access:
    """Tokens and rules. Roles and bindings in the store count as in a cluster."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tokens: dict[str, User] = {}
        self._given: list[tuple[str, str | None, Json]] = []

    def admin(self) -> str:
        """A token that may do everything."""
        return self.token("admin", ADMIN)

    def token(self, user: str, *groups: str) -> str:
        """A fresh token of a user."""
        token = secrets.token_urlsafe(24)
        self.tokens[token] = User(user, (*groups, "system:authenticated"))
        return token

    def account_token(self, namespace: str, name: str) -> str:
        """A fresh token of a service account."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return self.token(f"system:serviceaccount:{namespace}:{name}", *groups)

    def grant(self, user: str, verbs: Iterable[str], group: str, *resources: str, namespace: str | None = None) -> None:
        """A rule without RBAC objects: short for tests. namespace None: everywhere."""
        rule = {"verbs": list(verbs), "apiGroups": [group], "resources": list(resources)}
        self._given.append((user, namespace, rule))

    def user(self, header: str) -> User:
        """Whom an Authorization header names; `Refusal` 401 for no token or an unknown one."""
        word, _, token = header.partition(" ")
        if word != "Bearer" or token not in self.tokens:
            raise Refusal(401, "Unauthorized")
        return self.tokens[token]

    def check(self, user: User, asked: Asked) -> None:
        """`Refusal` 403 in the API server's words where the user may not."""
        if self.allowed(user, asked):
            return
        qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        named = f' "{asked.name}"' if asked.name else ""
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        raise Refusal(
            403,
            f'{qualified}{named} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.resource}" '
            f'in API group "{asked.group}" {where}',
            details={"name": asked.name, "group": asked.group, "kind": asked.resource.partition("/")[0]},
        )

    def allowed(self, user: User, asked: Asked) -> bool:
        """Whether some rule lets the user."""
        return ADMIN in user.groups or any(_covers(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str | None) -> Iterator[Json]:
        """The rules that count for a user in one namespace (None: for the whole cluster)."""
        for name, where, rule in self._given:
            if name == user.name and where in (None, namespace):
                yield rule
        with self.store.lock:
            held = [(key, value) for key, value in self.store.objects.items() if key.group == RBAC]
        for key, binding in held:
            whole = key.plural == "clusterrolebindings"
            if not whole and not (key.plural == "rolebindings" and key.namespace == namespace):
                continue
            if any(_is_subject(subject, user, key.namespace) for subject in binding.get("subjects") or []):
                kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
                for other, role in held:
                    if other.name == name and (
                        (kind == "ClusterRole" and other.plural == "clusterroles")
                        or (kind == "Role" and other.plural == "roles" and other.namespace == key.namespace)
                    ):
                        yield from role.get("rules") or []

    def review(self, kind: str, user: User, spec: Json) -> Json:
        """The status of a SelfSubjectAccessReview, SubjectAccessReview or SelfSubjectRulesReview."""
        if kind == "SelfSubjectRulesReview":
            rules = list(self.rules(user, spec.get("namespace")))
            return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
        if kind == "SubjectAccessReview":
            user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        asked = spec.get("resourceAttributes") or {}
        sub = f"/{asked['subresource']}" if asked.get("subresource") else ""
        wanted = Asked(
            verb=asked.get("verb", ""),
            group=asked.get("group", ""),
            resource=asked.get("resource", "") + sub,
            namespace=asked.get("namespace") or None,
            name=asked.get("name", ""),
        )
        return {"allowed": self.allowed(user, wanted), "reason": ""}


def _is_subject(subject: Json, user: User, namespace: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        place = subject.get("namespace") or namespace
        return user.name == f"system:serviceaccount:{place}:{subject['name']}"
    return bool(subject["name"] == user.name if subject["kind"] == "User" else subject["name"] in user.groups)


def _covers(rule: Json, asked: Asked) -> bool:
    def has(field: str, *values: str) -> bool:
        held = rule.get(field) or []
        return "*" in held or any(value in held for value in values)

    sub = asked.resource.partition("/")[2]
    names = rule.get("resourceNames") or []
    return (
        has("verbs", asked.verb)
        and has("apiGroups", asked.group)
        and has("resources", asked.resource, *([f"*/{sub}"] if sub else []))
        and (not names or asked.name in names)
    )
