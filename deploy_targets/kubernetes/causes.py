"""Why a pod or a Deployment does not get ready, in words, with the way out. Pure; called by `judge` and `evidence`.

The reasons are the kubelet's, the scheduler's and the deployment controller's own; `fatal` are those that no waiting
heals: somebody has to change the deployment, its image or its model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.workload import condition, is_ending, is_ready

NO_IMAGE = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
NO_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
CRASHES = 3  # restarts after which a container is believed not to get up: about a minute of the kubelet's back-off
CRASH_LOOP = "CrashLoopBackOff"
OUT_OF_MEMORY = "OOMKilled"
Container = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One reason. pod, container: whose log tells more, where one can; previous: the log of before the restart.

    rank: the higher, the more it explains.
    """

    words: str
    rank: int
    pod: str = ""
    namespace: str = ""
    container: str = ""
    previous: bool = False
    fatal: bool = False


def worst(pods: Iterable[Json], deployments: Iterable[Json]) -> Trouble | None:
    """What explains most; None where all is well."""
    found = [*map(of_pod, pods), *map(of_deployment, deployments)]
    return max((one for one in found if one is not None), key=lambda one: one.rank, default=None)


def of_pod(pod: Json) -> Trouble | None:
    """Why a pod does not answer; None for one that does, and for one that is ending."""
    if is_ready(pod) or is_ending(pod):
        return None
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if status.get("phase") == "Failed" and not status.get("containerStatuses"):
        why = f"{status.get('reason', 'Failed')}: {status.get('message', 'no words given')}"
        return _trouble(pod, f"pod {name} was ended: {why}", rank=6)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        words = f"no node takes the pod: {scheduled.get('message') or scheduled.get('reason')}"
        return _trouble(pod, f"{words}; ask for less (cpu_request, memory_request) or add nodes", rank=5)
    found = [
        trouble
        for kind, held in (("init container", "initContainerStatuses"), ("container", "containerStatuses"))
        for one in status.get(held) or []
        if (trouble := _of_container(pod, kind, one)) is not None
    ]
    return max(found, key=lambda one: one.rank, default=_trouble(pod, f"pod {name} starts", rank=1))


def of_deployment(deployment: Json) -> Trouble | None:
    """Why a Deployment makes no pods, or gave up waiting for them."""
    failure, progress = condition(deployment, "ReplicaFailure"), condition(deployment, "Progressing")
    if failure.get("status") == "True":
        words = str(failure.get("message", "no words given"))
        way = "; ask for less or for a larger quota" if "exceeded quota" in words else ""
        return Trouble(words=f"no pod can be made: {words}{way}", rank=8)
    if progress.get("status") == "False":
        limit = deployment["spec"].get("progressDeadlineSeconds")
        within = f" within {limit} s" if limit else ""
        words = f"{deployment['metadata']['name']} did not get ready{within} ({progress.get('reason')})"
        return Trouble(words=words, rank=2)
    return None


def _of_container(pod: Json, kind: str, status: Container) -> Trouble | None:
    name, state = status.get("name", ""), status.get("state") or {}
    waiting, restarts = state.get("waiting") or {}, int(status.get("restartCount") or 0)
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if reason in NO_IMAGE:
        words = f"image {status.get('image', '?')!r} of {kind} {name} cannot be pulled ({reason}): {message}"
        return _trouble(pod, f"{words}; check its name, and image_pull_secrets", rank=9, fatal=reason != "ErrImagePull")
    if reason in NO_CONTAINER:
        words = f"{kind} {name} cannot be made ({reason}): {message}"
        return _trouble(pod, f"{words}; create what is missing", rank=9, fatal=True)
    crashed = ended and (ended.get("exitCode") != 0 or reason == CRASH_LOOP)
    if crashed and not status.get("ready"):
        looping = reason == CRASH_LOOP and restarts >= CRASHES
        previous = bool(not state.get("terminated"))
        words = _crash(pod, kind, name, ended, restarts)
        return _trouble(pod, words, rank=10, fatal=looping, container=name, previous=previous)
    if "running" in state and not status.get("ready") and kind == "container":
        words = f"{kind} {name} runs but is not ready: its readiness probe does not answer yet"
        return _trouble(pod, words, rank=4, container=name)
    if "running" in state and kind == "init container":
        return _trouble(pod, f"{kind} {name} is still at work", rank=3, container=name)
    return None


def _crash(pod: Json, kind: str, name: str, ended: Container, restarts: int) -> str:
    times = f"{restarts} times, " if restarts > 1 else ""
    if ended.get("reason") == OUT_OF_MEMORY:
        limit = _memory_limit(pod, name)
        return (
            f"{kind} {name} was killed {times}for want of memory (OOMKilled{limit}): raise memory_limit, "
            "or serve a smaller model"
        )
    why = f"exit code {ended.get('exitCode')}" + (f", {ended['reason']}" if ended.get("reason") else "")
    told = f": {ended['message'].strip()}" if ended.get("message") else ""
    return f"{kind} {name} crashed ({times}{why}){told}: see its log"


def _memory_limit(pod: Json, name: str) -> str:
    held = [*pod["spec"].get("containers", []), *pod["spec"].get("initContainers", [])]
    container: Container = next((one for one in held if one["name"] == name), {})
    limit = (container.get("resources") or {}).get("limits", {}).get("memory")
    return f", limit {limit}" if limit else ""


def _trouble(pod: Json, words: str, *, rank: int, **more: Any) -> Trouble:  # Any: fields of Trouble
    place = pod["metadata"]
    return Trouble(words=words, rank=rank, pod=place["name"], namespace=place.get("namespace", ""), **more)
