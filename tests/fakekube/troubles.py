"""What can befall the pods of a Deployment, as the kubelet and the scheduler report it. Pure; called by `workloads`."""

from __future__ import annotations

from typing import Any, Literal, get_args

Json = dict[str, Any]
Trouble = Literal[
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "CrashLoopBackOff",
    "OOMKilled",
    "Unschedulable",
    "Quota",
    "NotReady",
    "Slow",
]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
CRASH_LOG = "Loading the model\nTraceback (most recent call last):\nValueError: digest of the model does not match\n"
OOM_LOG = "Loading the model\nAllocating 2 GiB\n"
STARTING_LOG = "Loading the model\n"
NODES = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available."


def pod_status(trouble: Trouble | None, containers: list[Json], when: str) -> Json:
    """status of a pod whose first container has the trouble and whose others run; None: all is well."""
    if trouble == "Unschedulable":
        scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NODES}
        return {"phase": "Pending", "conditions": [scheduled]}
    statuses = [
        _running(container, ready=trouble is None or at > 0, when=when) for at, container in enumerate(containers)
    ]
    if trouble not in (None, "NotReady", "Slow"):
        statuses[0] = {**statuses[0], **_broken(trouble, containers[0], when)}
    ready = "True" if trouble is None else "False"
    waits = trouble in ("ImagePullBackOff", "CreateContainerConfigError")
    return {
        "phase": "Pending" if waits else "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}],
        "containerStatuses": statuses,
        "startTime": when,
    }


def _running(container: Json, *, ready: bool, when: str) -> Json:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": {"running": {"startedAt": when}},
    }


def _broken(trouble: str | None, container: Json, when: str) -> Json:
    image, name = container.get("image", ""), container["name"]
    if trouble == "ImagePullBackOff":
        message = f'Back-off pulling image "{image}": ErrImagePull: {image}: not found'
        return _waiting("ImagePullBackOff", message)
    if trouble == "CreateContainerConfigError":
        return _waiting("CreateContainerConfigError", 'secret "storage-credentials" not found')
    ended = {"exitCode": 137, "reason": "OOMKilled"} if trouble == "OOMKilled" else {"exitCode": 1, "reason": "Error"}
    waiting = _waiting("CrashLoopBackOff", f"back-off 5m0s restarting failed container={name}")
    last = {"terminated": {**ended, "startedAt": when, "finishedAt": when}}
    return {**waiting, "lastState": last, "restartCount": 4}


def _waiting(reason: str, message: str) -> Json:
    return {"ready": False, "started": False, "state": {"waiting": {"reason": reason, "message": message}}}


def event_of(trouble: Trouble, pod: str, container: Json) -> tuple[str, str, str]:
    """(kind of the object, reason, message) of the Warning that goes with a trouble."""
    image, name = container.get("image", ""), container.get("name", "")
    if trouble == "Quota":
        used = "requested: limits.cpu=2, used: limits.cpu=7, limited: limits.cpu=8"
        return "ReplicaSet", "FailedCreate", f'Error creating: pods "{pod}" is forbidden: exceeded quota: team, {used}'
    told = {
        "ImagePullBackOff": ("Failed", f'Failed to pull image "{image}": rpc error: {image}: not found'),
        "CreateContainerConfigError": ("Failed", 'Error: secret "storage-credentials" not found'),
        "CrashLoopBackOff": ("BackOff", f"Back-off restarting failed container {name} in pod {pod}"),
        "OOMKilled": ("BackOff", f"Back-off restarting failed container {name} in pod {pod}"),
        "Unschedulable": ("FailedScheduling", NODES),
        "NotReady": ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        "Slow": ("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503"),
    }
    return ("Pod", *told[trouble])


def log_of(trouble: Trouble | None) -> tuple[str | None, str | None]:
    """(log, log before the last restart) of the troubled container; None where there is none."""
    if trouble == "CrashLoopBackOff":
        return CRASH_LOG, CRASH_LOG
    if trouble == "OOMKilled":
        return OOM_LOG, OOM_LOG
    if trouble in ("NotReady", "Slow"):
        return STARTING_LOG, None
    return (None, None) if trouble else (STARTING_LOG + "Ready\n", None)
