"""The kinds that the fake serves, built in or by a CustomResourceDefinition, and the discovery documents of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakekube.builtin import model_schema

Json = dict[str, Any]
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind in one version.

    schema: structural OpenAPI schema of the whole object; None accepts any field.
    custom: defined by a CRD. status: `/status` is an endpoint of its own. subresources: the others.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    schema: Json | None = None
    custom: bool = False
    status: bool = False
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As objects spell it: v1, apps/v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages spell it: pods, deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def counts_generations(self) -> bool:
        """Whether a change of the spec raises metadata.generation."""
        return self.custom or (self.status and bool(self.group))


def _builtin(
    api_version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    status: bool = False,
    sub: tuple[str, ...] = (),
) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        schema=model_schema(api_version, kind),
        status=status,
        subresources=sub,
    )


def builtin_resources() -> Iterator[Resource]:
    """What every cluster has, as far as a deployment target meets it."""
    rbac = "rbac.authorization.k8s.io/v1"
    yield _builtin("v1", "namespaces", "Namespace", namespaced=False, status=True)
    yield _builtin("v1", "nodes", "Node", namespaced=False, status=True)
    yield _builtin("v1", "pods", "Pod", status=True, sub=("log", "proxy"))
    yield _builtin("v1", "services", "Service", status=True, sub=("proxy",))
    for plural, kind in (
        ("secrets", "Secret"),
        ("configmaps", "ConfigMap"),
        ("events", "Event"),
        ("endpoints", "Endpoints"),
        ("limitranges", "LimitRange"),
    ):
        yield _builtin("v1", plural, kind)
    yield _builtin("v1", "persistentvolumeclaims", "PersistentVolumeClaim", status=True)
    yield _builtin("v1", "serviceaccounts", "ServiceAccount", sub=("token",))
    yield _builtin("v1", "resourcequotas", "ResourceQuota", status=True)
    yield _builtin("apps/v1", "deployments", "Deployment", status=True)
    yield _builtin("apps/v1", "replicasets", "ReplicaSet", status=True)
    yield _builtin("apps/v1", "statefulsets", "StatefulSet", status=True)
    yield _builtin("batch/v1", "jobs", "Job", status=True)
    yield _builtin("batch/v1", "cronjobs", "CronJob", status=True)
    yield _builtin("coordination.k8s.io/v1", "leases", "Lease")
    yield _builtin("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", status=True)
    yield _builtin("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", status=True)
    yield _builtin("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
    yield _builtin("networking.k8s.io/v1", "ingresses", "Ingress", status=True)
    yield _builtin(rbac, "roles", "Role")
    yield _builtin(rbac, "rolebindings", "RoleBinding")
    yield _builtin(rbac, "clusterroles", "ClusterRole", namespaced=False)
    yield _builtin(rbac, "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
    yield Resource(
        group="apiextensions.k8s.io",
        version="v1",
        plural="customresourcedefinitions",
        kind="CustomResourceDefinition",
        namespaced=False,
    )


def from_crd(crd: Json) -> Iterator[Resource]:
    """One resource for each served version of a CustomResourceDefinition."""
    spec = crd["spec"]
    for version in spec["versions"]:
        if version["served"]:
            yield Resource(
                group=spec["group"],
                version=version["name"],
                plural=spec["names"]["plural"],
                kind=spec["names"]["kind"],
                namespaced=spec["scope"] == "Namespaced",
                schema=version["schema"]["openAPIV3Schema"],
                custom=True,
                status="status" in version.get("subresources", {}),
            )


def open_custom(group: str, version: str, plural: str, kind: str) -> Resource:
    """A custom resource whose spec and status take any field: for an operator whose CRD is not at hand."""
    schema = {"type": "object", "properties": {"spec": OPEN, "status": OPEN}}
    return Resource(group=group, version=version, plural=plural, kind=kind, schema=schema, custom=True, status=True)


def group_list(resources: Iterable[Resource], extra: Iterable[str] = ()) -> Json:
    """`GET /apis`. extra: more "group/version" that have no stored kind."""
    served: dict[str, list[str]] = {}
    for name in [*(r.api_version for r in resources if r.group), *extra]:
        group, version = name.split("/")
        if version not in served.setdefault(group, []):
            served[group].append(version)
    groups = [_group(name, versions) for name, versions in served.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(group_version: str, resources: Iterable[Resource], reviews: Iterable[str] = ()) -> Json:
    """`GET /api/v1` or `GET /apis/GROUP/VERSION`. reviews: kinds that can only be created."""
    listed: list[Json] = []
    for resource in resources:
        names = [resource.plural]
        names += [f"{resource.plural}/status"] if resource.status else []
        names += [f"{resource.plural}/{sub}" for sub in resource.subresources]
        listed += [_listed(name, resource) for name in names]
    for kind in reviews:
        plural = f"{kind.lower()}s"
        listed.append(
            {"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind, "verbs": ["create"]}
        )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _listed(name: str, resource: Resource) -> Json:
    verbs = VERBS if "/" not in name else ["get", "patch", "update"] if name.endswith("/status") else ["get", "create"]
    return {
        "name": name,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    }
