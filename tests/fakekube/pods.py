"""Logs of pods, with the API server's refusals. A test or the operator sets what is logged. Called by `answers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakekube.refusal import Refusal

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube
    from tests.fakekube.request import Url
    from tests.fakekube.resources import Resource

Json = dict[str, Any]


def pod_log(kube: FakeKube, resource: Resource, url: Url) -> str:
    """The log of one container; `Refusal` 400 where it is not named, not there or has not started."""
    pod = kube.objects.read(resource, url.namespace, url.name)
    containers = [container["name"] for container in pod.get("spec", {}).get("containers", [])]
    wanted = url.query.get("container", "")
    if not wanted and len(containers) != 1:
        choices = " ".join(containers)
        raise Refusal(400, f"a container name must be specified for pod {url.name}, choose one of: [{choices}]")
    wanted = wanted or containers[0]
    if wanted not in containers:
        raise Refusal(400, f"container {wanted} is not valid for pod {url.name}")
    previous = url.query.get("previous") in ("1", "true", "True")
    text = kube.logs.get((url.namespace or "", url.name, wanted, previous))
    if previous and text is None:
        raise Refusal(400, f'previous terminated container "{wanted}" in pod "{url.name}" not found')
    state: Json = next(
        (one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses", []) if one["name"] == wanted),
        {},
    )
    if text is None and "waiting" in state:
        why = WAITING.get(state["waiting"].get("reason", ""), state["waiting"].get("reason", ""))
        raise Refusal(400, f'container "{wanted}" in pod "{url.name}" is waiting to start: {why}')
    return _tail(text or "", url.query)


WAITING = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


def _tail(text: str, query: dict[str, str]) -> str:
    if "tailLines" in query:
        count = int(query["tailLines"])
        text = "".join(text.splitlines(keepends=True)[-count:]) if count else ""
    return text[: int(query["limitBytes"])] if "limitBytes" in query else text
