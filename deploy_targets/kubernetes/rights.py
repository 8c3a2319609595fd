"""What this package asks of the Kubernetes API, right by right, each with its reason: the one list of it.

Preflight asks the cluster for these; the Helm chart grants these and no others (a test holds both to this list); the
table in install/README.md is made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

OBSERVE = ("get", "list", "watch")
CHANGE = ("create", "patch", "delete")  # apply is a patch, and the first one of an object needs create too


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing that is done to one kind of object, in one namespace. resource: plural, with its subresource.

    names: the only objects that it is needed for; none: all of the namespace.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """As `kubectl auth can-i` spells it: pods/log, deployments.apps."""
        plural, slash, sub = self.resource.partition("/")
        return f"{plural}.{self.group}{slash}{sub}" if self.group else self.resource


# Whatever the shape: to tell how a deployment fares, and why it fails.
EVERYWHERE = (
    Right(group="", resource="pods", verbs=("list",), why="states and causes: image, memory, crash, schedule"),
    Right(group="", resource="pods/log", verbs=("get",), why="the last lines of a pod that fails"),
    Right(group="", resource="events", verbs=("list",), why="why no pod came: quota, scheduling, image"),
)
# Seldon's operator makes them; its own status says "Available" of the old model for a while.
OWNED = (
    Right(group="apps", resource="deployments", verbs=("get", "list"), why="whether a new version has rolled out"),
)
PROXIED = (
    Right(
        group="",
        resource="services/proxy",
        verbs=("get", "create"),
        why="predict and explain where no gateway is configured",
    ),
)
JUDGED = (Right(group="", resource="pods/proxy", verbs=("get",), why="a canary is judged by its pods' own metrics"),)
SHAPES: dict[str, tuple[Right, ...]] = {
    "seldon": (
        Right(
            group="machinelearning.seldon.io",
            resource="seldondeployments",
            verbs=(*OBSERVE, *CHANGE),
            why="the deployments themselves",
        ),
        *OWNED,
        *EVERYWHERE,
        *JUDGED,
    ),
    "kserve": (
        Right(
            group="serving.kserve.io",
            resource="inferenceservices",
            verbs=(*OBSERVE, *CHANGE),
            why="the deployments themselves",
        ),
        *EVERYWHERE,
        *JUDGED,
    ),
    "plain": (
        Right(group="apps", resource="deployments", verbs=(*OBSERVE, *CHANGE), why="the deployments themselves"),
        Right(group="", resource="services", verbs=("get", "create", "patch"), why="the address of a deployment"),
        Right(
            group="autoscaling",
            resource="horizontalpodautoscalers",
            verbs=("get", *CHANGE),
            why="where autoscaling is asked for",
        ),
        Right(
            group="policy",
            resource="poddisruptionbudgets",
            verbs=("get", *CHANGE),
            why="where a disruption budget is asked for",
        ),
        *EVERYWHERE,
    ),
}


def deployment_rights(shape: str, *, proxy: bool = True) -> tuple[Right, ...]:
    """What the target needs in the namespace of an environment. proxy: no gateway is configured there."""
    return (*SHAPES[shape], *(PROXIED if proxy else ()))


def watching_rights(shape: str) -> tuple[Right, ...]:
    """What the monitor needs there: to see what runs and to read what pods count, and to change nothing."""
    main, *_ = SHAPES[shape]
    look = Right(group=main.group, resource=main.resource, verbs=("list",), why="what runs, and how it is")
    rolled = replace(OWNED[0], verbs=("list",)) if shape == "seldon" else None
    pods = Right(group="", resource="pods", verbs=("list",), why="which pods answer")
    page = Right(group="", resource="pods/proxy", verbs=("get",), why="what each counted: requests, errors, latency")
    return tuple(right for right in (look, rolled, pods, page) if right is not None)


def leader_rights(lease: str) -> tuple[Right, ...]:
    """What a controller needs in its own namespace to be elected by the Lease of that name."""
    group, resource = "coordination.k8s.io", "leases"
    return (
        Right(group=group, resource=resource, verbs=("create",), why="the first controller makes the Lease"),
        Right(group=group, resource=resource, verbs=("get", "patch"), names=(lease,), why="hold it, and see who does"),
    )


def role_rules(rights: Iterable[Right]) -> list[dict[str, list[str]]]:
    """The rules of a Role that grants these and nothing else, in their order."""
    return [
        {
            "apiGroups": [right.group],
            "resources": [right.resource],
            **({"resourceNames": list(right.names)} if right.names else {}),
            "verbs": list(right.verbs),
        }
        for right in rights
    ]


def table_markdown(rights: Iterable[Right]) -> str:
    """The rights as the documentation shows them."""
    lines = ["| what | verbs | why |", "|---|---|---|"]
    for right in rights:
        only = f" named {', '.join(right.names)}" if right.names else ""
        lines.append(f"| `{right.kind}`{only} | {', '.join(right.verbs)} | {right.why} |")
    return "\n".join(lines) + "\n"
