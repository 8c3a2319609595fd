"""What a cluster does with a Deployment: pods of the new template beside the old, then without them; or trouble.

Stands for the deployment controller, the scheduler and the kubelet. A test starts it beside `FakeKube`.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fakekube.loop import Loop
from tests.fakekube.objects import Options, now
from tests.fakekube.storage import Key
from tests.fakekube.troubles import Trouble, event_of, log_of, pod_status

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
Befalls = Callable[[Json], Trouble | None]
WRITER = Options(manager="kube-controller-manager")
STATUS_WRITER = Options(manager="kube-controller-manager", status=True)
HASH = "pod-template-hash"


class Workloads(Loop):
    """Rolls Deployments out.

    rollout_s: from a new template to ready pods. deadline_s: until trouble is called ProgressDeadlineExceeded; None:
    never. befalls: the trouble of the pods of a Deployment (given whole); None: they become ready.
    """

    plurals = ("deployments", "pods")

    def __init__(
        self,
        kube: FakeKube,
        *,
        rollout_s: float = 0.02,
        deadline_s: float | None = 0.2,
        befalls: Befalls = lambda deployment: None,
    ) -> None:
        super().__init__(kube)
        self.befalls = befalls
        self._rollout_s, self._deadline_s = rollout_s, deadline_s
        self._seen: dict[Key, tuple[str, int, float]] = {}
        self._rolled: dict[Key, tuple[str, int]] = {}
        self._pods = kube.kind("v1", "pods")
        self._deployments = kube.kind("apps/v1", "deployments")
        kube.objects.pods_linger = True

    def concerns(self, key: Key, value: Json) -> Key:
        """A pod's change is work for its Deployment."""
        owner = value["metadata"].get("labels", {}).get("fake/deployment")
        return Key("apps", "deployments", key.namespace, owner) if key.plural == "pods" and owner else key

    def trouble_of(self, key: Key, value: Json) -> Trouble | None:
        """What keeps the pods of a Deployment from being ready."""
        return self.befalls(value)

    def reconcile(self, key: Key, value: Json | None) -> float | None:
        """One step of a rollout; ends pods that were asked to stop."""
        for pod in self.kube.objects.find(self._pods, key.namespace):
            if "deletionTimestamp" in pod["metadata"] and not pod["metadata"].get("finalizers"):
                self.kube.objects.drop(self._pods, key.namespace, pod)
        if key.plural != "deployments" or value is None or "deletionTimestamp" in value["metadata"]:
            return None
        generation = value["metadata"]["generation"]
        asked = (value["metadata"]["uid"], generation)
        if key not in self._seen or self._seen[key][:2] != asked:
            self._seen[key] = (*asked, time.monotonic())
        since = time.monotonic() - self._seen[key][2]
        if value.get("status", {}).get("observedGeneration") != generation:
            self._write(key, value, trouble=None, begun=True)
        trouble = self.trouble_of(key, value)
        if since < self._rollout_s:
            return self._rollout_s - since
        self._roll(key, value, trouble)
        if trouble is None:
            self._rolled[key] = asked  # the deadline is one of rollouts: later trouble only makes pods unready
        limit = None if trouble == "Slow" or self._rolled.get(key) == asked else self._deadline_s
        late = limit is not None and since >= limit
        self._write(key, value, trouble=trouble, late=late)
        return limit - since if limit is not None and not late else None

    def _roll(self, key: Key, value: Json, trouble: Trouble | None) -> None:
        """Pods as they are at the end of this step: old ones stay where the new ones are not ready."""
        wanted, fresh = value["spec"].get("replicas", 1), template_hash(value)
        old: list[Json] = []
        new: list[Json] = []
        for pod in self._pods_of(key):
            (new if pod["metadata"]["labels"][HASH] == fresh else old).append(pod)
        # What is not ready of an older template goes first, what is ready when it is no longer needed.
        surplus = [*old, *new[wanted:]] if trouble is None else [pod for pod in old if not is_ready(pod)]
        for pod in surplus:
            self.kube.objects.drop(self._pods, key.namespace, pod)
        old, new = [pod for pod in old if pod not in surplus], new[:wanted]
        count = 0 if trouble == "Quota" else (1 if trouble and old else wanted)
        for pod in new:
            self._report(key, pod, trouble)
        for _ in range(count - len(new)):
            self._report(key, self._new_pod(key, value, fresh), trouble)
        if trouble and not (trouble != "Quota" and new):
            self._warn(key, value, trouble, fresh)

    def _pods_of(self, key: Key) -> list[Json]:
        return self.kube.objects.find(self._pods, key.namespace, labelSelector=f"fake/deployment={key.name}")

    def _new_pod(self, key: Key, value: Json, fresh: str) -> Json:
        template = value["spec"]["template"]
        metadata = {
            "name": f"{key.name}-{fresh}-{uuid.uuid4().hex[:5]}",
            "labels": {**template.get("metadata", {}).get("labels", {}), HASH: fresh, "fake/deployment": key.name},
            "annotations": template.get("metadata", {}).get("annotations", {}),
            "ownerReferences": [owner_of(value)],
        }
        return self.kube.objects.create(
            self._pods, key.namespace, {"metadata": metadata, "spec": template["spec"]}, WRITER
        )

    def _report(self, key: Key, pod: Json, trouble: Trouble | None) -> None:
        name, containers = pod["metadata"]["name"], pod["spec"]["containers"]
        status = pod_status(trouble, containers, pod["metadata"]["creationTimestamp"])
        self.kube.objects.update(self._pods, key.namespace, name, {**pod, "status": status}, STATUS_WRITER)
        text, before = log_of(trouble)
        for previous, lines in ((False, text), (True, before)):
            place = (key.namespace, name, containers[0]["name"], previous)
            if lines is not None:
                self.kube.logs.setdefault(place, lines)

    def _warn(self, key: Key, value: Json, trouble: Trouble, fresh: str) -> None:
        pods = [pod for pod in self._pods_of(key) if pod["metadata"]["labels"][HASH] == fresh]
        set_name = f"{key.name}-{fresh}"
        name = pods[0]["metadata"]["name"] if pods else f"{set_name}-xxxxx"
        kind, reason, message = event_of(trouble, name, value["spec"]["template"]["spec"]["containers"][0])
        about = {"kind": kind, "namespace": key.namespace, "name": name if kind == "Pod" else set_name}
        event = {
            "metadata": {"generateName": f"{about['name']}."},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": message,
            "count": 1,
            "lastTimestamp": now(),
        }
        self.kube.objects.create(self.kube.kind("v1", "events"), key.namespace, event, WRITER)

    def _write(
        self, key: Key, value: Json, *, trouble: Trouble | None, begun: bool = False, late: bool = False
    ) -> None:
        fresh, wanted = template_hash(value), value["spec"].get("replicas", 1)
        pods = self._pods_of(key)
        ready = [pod for pod in pods if is_ready(pod)]
        updated = [pod for pod in pods if pod["metadata"]["labels"][HASH] == fresh]
        enough = len(ready) >= wanted and bool(ready)
        asked = (value["metadata"]["uid"], value["metadata"]["generation"])
        done = not begun and (not trouble or self._rolled.get(key) == asked)  # as the real one, once it rolled out
        reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
        conditions = [
            {
                "type": "Available",
                "status": str(enough),
                "reason": "MinimumReplicas" + ("A" if enough else "Una") + "vailable",
            },
            {"type": "Progressing", "status": str(not late), "reason": "ProgressDeadlineExceeded" if late else reason},
        ]
        if late:
            set_name = f"{key.name}-{fresh}"
            conditions[1]["message"] = f'ReplicaSet "{set_name}" has timed out progressing.'
        if trouble == "Quota":
            container = value["spec"]["template"]["spec"]["containers"][0]
            message = event_of("Quota", f"{key.name}-{fresh}-xxxxx", container)[2].removeprefix("Error creating: ")
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
            conditions.append(failure)
        counts = {
            "replicas": len(pods),
            "updatedReplicas": len(updated),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "unavailableReplicas": max(0, wanted - len(ready)),
        }
        status = {"observedGeneration": value["metadata"]["generation"], **counts, "conditions": conditions}
        body = {**self.kube.objects.read(self._deployments, key.namespace, key.name), "status": status}
        self.kube.objects.update(self._deployments, key.namespace, key.name, body, STATUS_WRITER)


def owner_of(value: Json) -> Json:
    """The ownerReference to an object."""
    return {
        "apiVersion": value["apiVersion"],
        "kind": value["kind"],
        "name": value["metadata"]["name"],
        "uid": value["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def rolled_out(value: Json) -> bool:
    """Whether every replica of a Deployment is of its newest template and ready."""
    status, wanted = value.get("status", {}), value["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= value["metadata"]["generation"] and counts == [wanted] * 3


def template_hash(value: Json) -> str:
    """What tells pods of one template from those of another."""
    return hashlib.sha256(json.dumps(value["spec"]["template"], sort_keys=True).encode()).hexdigest()[:10]


def is_ready(pod: Json) -> bool:
    """Whether Services send it requests."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
