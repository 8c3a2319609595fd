"""Whether a deployment could be made at all, asked before anything is changed: the operator and every right at once.

Called by the target before its first change in a namespace, and by whoever wants to know whether a role is enough.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Forbidden
from mlflow_hydraulic.deploy_targets.kubernetes.rights import Right, deployment_rights, role_rules
from mlflow_hydraulic.deploy_targets.kubernetes.shape import Shape
from mlflow_hydraulic.errors import Failed

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
EXPLAINING = (
    "pods/log",
    "events",
    "pods/proxy",
)  # without them less is told, of causes and canaries


def missing(cluster: Cluster, namespace: str, rights: Iterable[Right]) -> list[str]:
    """The rights that the API server says we do not have there, as "VERB KIND"."""
    return [
        f"{verb} {right.kind}"
        for right in rights
        for verb in right.verbs
        if not _allowed(cluster, namespace, right, verb)
    ]


def check(cluster: Cluster, namespace: str, shape: Shape) -> None:
    """`Failed` where the shape's operator is not installed, `Forbidden` with every right that is missing."""
    if shape.operator and not cluster.serves(shape.main):
        raise Failed(
            f"{cluster.name} has no {shape.main.plural}.{shape.main.group}: install {shape.operator}, "
            "or give shape=plain, which needs nothing installed"
        )
    wanted = deployment_rights(shape.name, proxy=False)
    needed = [right for right in wanted if right.resource not in EXPLAINING]
    if lacking := missing(cluster, namespace, needed):
        rules = "\n".join(f"  - {json.dumps(rule)}" for rule in role_rules(wanted))
        raise Forbidden(
            f"namespace {namespace!r} of {cluster.name}: these rights are missing: {', '.join(lacking)}; "
            f"ask for a Role there with\nrules:\n{rules}"
        )


def _allowed(cluster: Cluster, namespace: str, right: Right, verb: str) -> bool:
    plural, _, sub = right.resource.partition("/")
    asked = {"namespace": namespace, "verb": verb, "group": right.group, "resource": plural, "subresource": sub}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    status = cluster.create(REVIEWS, review).get("status") or {}
    return bool(status.get("allowed"))
