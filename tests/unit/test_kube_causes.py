"""Why pods do not get ready, in words: from statuses as the kubelet, the scheduler and the controllers write them."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.causes import Trouble, of_deployment, of_pod, worst
from tests.fakekube.troubles import Trouble as Befallen
from tests.fakekube.troubles import pod_status

Json = dict[str, Any]  # Any: JSON
LIMIT = {"limits": {"memory": "1Gi"}}
CONTAINER = {"name": "model", "image": "registry/scorer:1", "resources": LIMIT}


def pod(status: Json, **metadata: Any) -> Json:
    return {
        "metadata": {"name": "cooler-1", "namespace": "prod", **metadata},
        "spec": {"containers": [CONTAINER], "initContainers": [{"name": "fetch"}]},
        "status": status,
    }


def told(status: Json) -> Trouble:
    found = of_pod(pod(status))
    assert found is not None
    return found


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "model", "image": "registry/scorer:1", "ready": False, "state": state, **more}


def ended(reason: str, code: int, **more: Any) -> Json:
    return {"terminated": {"reason": reason, "exitCode": code, **more}}


@pytest.mark.parametrize(
    ("befallen", "words", "fatal"),
    [
        ("ImagePullBackOff", "cannot be pulled (ImagePullBackOff)", True),
        ("CreateContainerConfigError", 'secret "storage-credentials" not found', True),
        ("CrashLoopBackOff", "crashed (4 times, exit code 1, Error)", True),
        ("OOMKilled", "for want of memory (OOMKilled, limit 1Gi): raise memory_limit", True),
        ("Unschedulable", "no node takes the pod: 0/3 nodes are available: 3 Insufficient cpu", False),
        ("NotReady", "runs but is not ready", False),
        ("Slow", "runs but is not ready", False),
    ],
)
def test_each_trouble_is_told_in_words(befallen: Befallen, words: str, fatal: bool) -> None:
    found = told(pod_status(befallen, [CONTAINER], "2026-01-01T00:00:00Z"))
    assert words in found.words
    assert found.fatal == fatal
    assert found.pod == "cooler-1"


def test_every_trouble_that_the_fake_knows_is_told() -> None:
    for befallen in get_args(Befallen):
        if befallen != "Quota":  # makes no pod
            assert told(pod_status(befallen, [CONTAINER], "")).words


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull", "ErrImagePull"])
def test_an_image_is_named_and_the_first_failure_may_pass(reason: str) -> None:
    found = told({"containerStatuses": [waiting(reason, "no such host")]})
    assert "'registry/scorer:1'" in found.words
    assert found.fatal == (reason != "ErrImagePull")


def test_a_first_crash_is_told_but_not_yet_believed_and_its_log_is_the_one_before() -> None:
    status = waiting("CrashLoopBackOff", restartCount=1, lastState=ended("Error", 3))
    found = told({"containerStatuses": [status]})
    assert (found.fatal, found.previous, found.container) == (False, True, "model")
    assert "exit code 3" in found.words
    ended_now = {"name": "model", "ready": False, "restartCount": 0, "state": ended("Error", 3, message="no model\n")}
    found = told({"containerStatuses": [ended_now]})
    assert (found.fatal, found.previous) == (False, False)
    assert "no model" in found.words


def test_an_init_container_that_fails_is_called_one() -> None:
    failed = {**waiting("CrashLoopBackOff", restartCount=5, lastState=ended("Error", 1)), "name": "fetch"}
    pending = {**waiting("PodInitializing"), "name": "model"}
    found = told({"initContainerStatuses": [failed], "containerStatuses": [pending]})
    assert found.words.startswith("init container fetch crashed")
    assert (found.fatal, found.container) == (True, "fetch")
    at_work = {"name": "fetch", "ready": False, "state": {"running": {}}}
    assert told({"initContainerStatuses": [at_work]}).words == "init container fetch is still at work"
    done = {"name": "fetch", "ready": True, "state": ended("Completed", 0)}
    assert told({"initContainerStatuses": [done], "containerStatuses": [pending]}).rank == 1


def test_an_evicted_pod_is_told_by_its_reason() -> None:
    found = told({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
    assert "Evicted: The node was low on resource" in found.words


def test_a_pod_that_answers_or_ends_is_no_trouble() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert of_pod(pod(ready)) is None
    assert of_pod(pod({}, deletionTimestamp="2026-01-01T00:00:00Z")) is None
    assert told({}).words == "pod cooler-1 starts"


def test_a_deployment_tells_of_quota_and_of_its_deadline() -> None:
    quota = 'pods "cooler-1" is forbidden: exceeded quota: team, requested: limits.cpu=2'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    value: Json = {
        "metadata": {"name": "cooler-default-0-model"},
        "spec": {"progressDeadlineSeconds": 600},
        "status": {"conditions": [late, failure]},
    }
    found = of_deployment(value)
    assert found is not None
    assert "exceeded quota: team" in found.words
    assert "larger quota" in found.words
    value["status"]["conditions"] = [late]
    found = of_deployment(value)
    assert found is not None
    assert found.words == "cooler-default-0-model did not get ready within 600 s (ProgressDeadlineExceeded)"
    value["status"]["conditions"] = []
    assert of_deployment(value) is None


def test_what_explains_most_wins() -> None:
    starting, crashing = pod({}), pod({"containerStatuses": [waiting("CrashLoopBackOff", lastState=ended("E", 1))]})
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    held: Json = {"metadata": {"name": "d"}, "spec": {}, "status": {"conditions": [late]}}
    found = worst([starting, crashing], [held])
    assert found is not None
    assert "crashed" in found.words
    assert worst([], []) is None
