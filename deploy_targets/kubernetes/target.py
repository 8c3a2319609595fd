"""The target `seldon`: apply, observe and delete deployments on a Kubernetes cluster, in one of three shapes.

Called by the MLflow plugin and by the controller's environment. Nothing is kept here between calls: the cluster's
objects, with their annotations, are the whole memory.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Literal

from mlflow_hydraulic.deploy_targets.kubernetes import evidence, identity, preflight
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.identity import is_ours, read_options
from mlflow_hydraulic.deploy_targets.kubernetes.judge import Sight, judge
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Stale
from mlflow_hydraulic.deploy_targets.kubernetes.resources import POD
from mlflow_hydraulic.deploy_targets.kubernetes.rollout import Change, Rollout
from mlflow_hydraulic.deploy_targets.kubernetes.shape import SHAPES
from mlflow_hydraulic.deploy_targets.kubernetes.sights import Sights
from mlflow_hydraulic.deploy_targets.kubernetes.waiting import Waiting
from mlflow_hydraulic.deployment import Deployment, Exists, Observed, check_name
from mlflow_hydraulic.errors import BadInput, Conflict, NotFound, Unavailable

Mode = Literal["create", "update", "either"]
TRIES = 5  # of a change that names no generation, against others that change the same deployment
DELETE_TIMEOUT_S = 120.0


class KubernetesTarget:
    """Deployments on one cluster.

    shape: the one in use, which must be readable; the others are looked at where the role lets us. "" is the one that
    the role is made for, where nobody can say it beforehand.
    look_s: how often to look while waiting, where no event comes. fatal_s: how long trouble that no waiting heals must
    last until it is believed.
    """

    name = "seldon"

    def __init__(self, cluster: Cluster, *, shape: str = "seldon", look_s: float = 2.0, fatal_s: float = 10.0) -> None:
        self._cluster = cluster
        self._sights = Sights(cluster, shape)
        self._waiting = Waiting(cluster, self._sights, look_s=look_s, fatal_s=fatal_s)
        self._rollout = Rollout(cluster, self._sights, self._waiting)
        self._checked: set[tuple[str, str]] = set()

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._cluster.server

    @property
    def cluster(self) -> Cluster:
        """For calls that are no deployment's, such as a prediction through the service proxy."""
        return self._cluster

    def apply(
        self,
        deployment: Deployment,
        *,
        options: KubernetesOptions | None = None,
        mode: Mode = "either",
        expected: int | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        force: bool = False,
        storage: Mapping[str, str] | None = None,
    ) -> Observed:
        """Makes `deployment` run; with `wait`, returns when it answers and nothing of what it replaced does.

        mode: "create" raises `Exists` where one is there, "update" `NotFound` where none is.
        expected: the generation that the change was made from; `Conflict` when someone changed it meanwhile.
        options: None keeps those that are. force: takes fields over that other field managers hold; else `Owned`.
        storage: where an init container finds a model, by the model's URI.

        Raises `Failed` with cause and last log lines when it cannot run: a new deployment is removed; one that was
        there is set back to what it was, and the old pods, which had gone on serving, are kept. `Unavailable` when
        `timeout_s` (the options' start_timeout_s and grace_s) is over; it is then still being changed.
        """
        for _ in range(TRIES):
            seen = self._found(deployment.namespace, deployment.name)
            _check(deployment, seen, mode, expected)
            change = self._planned(deployment, seen, options, storage or {}, force=force)
            try:
                self._rollout.make(change, wait=wait, timeout_s=timeout_s)
            except Stale as error:
                if mode == "create" and seen is None:
                    raise _exists(deployment) from error
                if expected is not None:
                    raise Conflict(f"deployment {deployment.name!r} was changed by someone else meanwhile") from error
                continue
            return self.get(deployment.namespace, deployment.name)
        raise Unavailable(f"deployment {deployment.name!r} is changed by others all the time: try again")

    def observe(self, namespace: str | None = None) -> list[Observed]:
        """Every deployment, or those in `namespace`, by namespace and name: a few lists, whatever their number."""
        if namespace is not None:
            check_name("namespace", namespace)
        found = [judge(sight).observed for sight in self._sights.all(namespace)]
        return sorted(found, key=lambda one: (one.namespace, one.name))

    def get(self, namespace: str, name: str) -> Observed:
        """How one deployment is; its state is "not found" where there is none of ours."""
        sight = self._ours(namespace, name)
        if sight is None:
            return Observed(name=name, namespace=namespace, state="not found")
        return evidence.explained(self._cluster, judge(self._sights.clear(sight)))

    def options(self, namespace: str, name: str) -> KubernetesOptions:
        """What only this target knows of a deployment."""
        sight = self._ours(namespace, name)
        return read_options(sight.main) if sight else KubernetesOptions()

    def delete(self, namespace: str, name: str, *, expected: int | None = None, timeout_s: float | None = None) -> None:
        """Ends a deployment and waits until it and its pods' owners are gone; does nothing where there is none.

        expected: the generation that was seen; `Conflict` when someone changed it meanwhile. `BadInput` for an object
        that is not ours. `Unavailable` when `timeout_s` is over; it is then still ending.
        """
        timeout_s = DELETE_TIMEOUT_S if timeout_s is None else timeout_s
        end = self._cluster.now() + timeout_s
        for _ in range(TRIES):
            sight = self._found(namespace, name)
            if sight is None:
                return
            check_is_ours(sight)
            metadata = sight.main["metadata"]
            if expected is not None and metadata["generation"] != expected:
                raise _changed(name, metadata["generation"], expected)
            version = metadata["resourceVersion"] if expected is not None else ""
            try:
                self._cluster.delete(sight.shape.main, namespace, name, uid=metadata["uid"], version=version)
            except Stale:
                continue  # its status moved, or it is another one by now: look again
            self._waiting.until_gone(sight, end, timeout_s)
            return
        raise Unavailable(f"deployment {name!r} changes faster than it can be deleted: try again")

    def logs(self, namespace: str, name: str, lines: int = 50) -> dict[str, tuple[str, ...]]:
        """The last lines of each container's log, by "POD/CONTAINER"."""
        if self._ours(namespace, name) is None:
            raise missing(namespace, name)
        pods = self._cluster.list(POD, namespace, labels=f"{identity.INSTANCE}={name}").items
        places = [
            (namespace, pod["metadata"]["name"], container["name"])
            for pod in pods
            for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"])
        ]
        return {f"{at[1]}/{at[2]}": evidence.container_log(self._cluster, at, lines) for at in places}

    def preflight(self, namespace: str, options: KubernetesOptions) -> None:
        """`Failed` where the shape's operator is missing, `Refused` with all rights that are missing in `namespace`."""
        check_name("namespace", namespace)
        preflight.check(self._cluster, namespace, SHAPES[options.shape])

    def close(self) -> None:
        """Closes the connections."""
        self._cluster.close()

    def _found(self, namespace: str, name: str) -> Sight | None:
        check_name("namespace", namespace)
        check_name("deployment", name)
        return self._sights.one(namespace, name)

    def _ours(self, namespace: str, name: str) -> Sight | None:
        sight = self._found(namespace, name)
        return sight if sight is not None and is_ours(sight.main) else None

    def _planned(
        self,
        deployment: Deployment,
        seen: Sight | None,
        options: KubernetesOptions | None,
        storage: Mapping[str, str],
        *,
        force: bool,
    ) -> Change:
        if options is None:
            options = read_options(seen.main) if seen else KubernetesOptions()
        shape = SHAPES[options.shape]
        if seen is not None and seen.shape != shape:
            raise BadInput(
                f"deployment {deployment.name!r} has shape={seen.shape.name}, not {shape.name}: "
                "delete it, then create it"
            )
        manifests = shape.make(deployment, options, storage)
        if (deployment.namespace, shape.name) not in self._checked:
            preflight.check(self._cluster, deployment.namespace, shape)
            self._checked.add((deployment.namespace, shape.name))
        if seen is None:
            there = self._sights.main(shape, deployment.namespace, deployment.name)
            if there is not None:
                check_is_ours(Sight(shape=shape, main=there))
        seen = self._sights.with_pods(seen) if seen else None
        return Change(
            deployment=deployment,
            options=options,
            shape=shape,
            manifests=manifests,
            seen=seen,
            was=judge(seen).observed if seen else None,
            mark=uuid.uuid4().hex[:16],
            force=force,
        )


def missing(namespace: str, name: str) -> NotFound:
    """The error for a deployment that is not there."""
    return NotFound(
        f'there is no deployment {name!r} in namespace {namespace!r}: "mlflow deployments list -t '
        f'seldon:/{namespace}" shows those that are'
    )


def check_is_ours(sight: Sight) -> None:
    """`BadInput` for an object that does not carry our label."""
    if not is_ours(sight.main):
        place = sight.main["metadata"]
        raise BadInput(
            f"{sight.shape.main.kind} {place['name']!r} in namespace {place['namespace']!r} is not ours: it does not "
            f"carry {identity.SELECTOR}; choose another name, or delete it with whatever made it"
        )


def _check(deployment: Deployment, seen: Sight | None, mode: Mode, expected: int | None) -> None:
    if seen is not None:
        check_is_ours(seen)
    if mode == "create" and seen is not None:
        raise _exists(deployment)
    if mode == "update" and seen is None:
        raise missing(deployment.namespace, deployment.name)
    if seen is None:
        return
    metadata = seen.main["metadata"]
    if "deletionTimestamp" in metadata:
        raise Unavailable(f"deployment {deployment.name!r} is being deleted: wait until it is gone")
    if expected is not None and metadata["generation"] != expected:
        raise _changed(deployment.name, metadata["generation"], expected)


def _exists(deployment: Deployment) -> Exists:
    return Exists(
        f"deployment {deployment.name!r} exists already in namespace {deployment.namespace!r}: "
        'change it with "mlflow deployments update", or choose another name'
    )


def _changed(name: str, generation: int, expected: int) -> Conflict:
    return Conflict(
        f"deployment {name!r} was changed by someone else meanwhile (generation {generation}, not {expected}): "
        "look at it and make your change again"
    )
