"""The target on a fake cluster with Seldon's operator: what lag, failure and others make of a change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.errors import BadInput, Conflict, Failed, NotFound, Unavailable
from tests.support.kube_target import Rig, befalls, rig
from tests.support.kube_values import deployment, predictor
from tests.support.local import until

V1, V2, V3 = deployment(), deployment(predictor("2")), deployment(predictor("3"))


@pytest.fixture
def seldon(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, befalls=befalls("CrashLoopBackOff"), deadline_s=None) as made:
        yield made


def test_an_update_that_the_operator_has_not_noticed_is_never_healthy(seldon: Rig) -> None:
    seldon.target.apply(V1)
    seldon.fake.operator.hold("notice")
    with pytest.raises(Unavailable, match="operator has not noticed the change yet"):
        seldon.target.apply(V2, timeout_s=0.5)
    seen = seldon.target.get("prod", "cooler")
    assert (seen.state, seen.serving, seen.desired) == ("launching", V1, V2)
    assert seldon.main["status"]["state"] == "Available"  # the trap: of the old model
    seldon.fake.operator.release()
    assert seldon.target.apply(V2).serving == V2


def test_a_change_of_the_pod_alone_is_waited_for_too(seldon: Rig) -> None:
    seldon.target.apply(V1)
    seldon.fake.operator.hold("notice")
    with pytest.raises(Unavailable):
        seldon.target.apply(V1, options=KubernetesOptions(memory_limit="2Gi"), timeout_s=0.5)


def test_available_is_waited_for_though_the_deployments_stand(seldon: Rig) -> None:
    seldon.fake.operator.hold("available")
    with pytest.raises(Unavailable, match="launching"):
        seldon.target.apply(V1, timeout_s=0.5)
    seldon.fake.operator.release()
    until(lambda: seldon.target.get("prod", "cooler").state == "healthy", "healthy")


def test_a_step_of_the_traffic_restarts_no_pod_and_is_told_at_once(seldon: Rig) -> None:
    seldon.target.apply(deployment(predictor(traffic=90), predictor("2", "b", 10)))
    pods = [key for key in seldon.fake.kube.store.objects if key.plural == "pods"]
    stepped = deployment(predictor(traffic=50), predictor("2", "b", 50))
    assert seldon.target.apply(stepped, timeout_s=5).serving == stepped
    assert [key for key in seldon.fake.kube.store.objects if key.plural == "pods"] == pods


def test_a_failed_update_is_taken_back_while_the_good_one_serves(crashing: Rig) -> None:
    good = crashing.target.apply(V1)
    with pytest.raises(Failed, match=r"(?s)crashed \(4 times, exit code 1.*digest of the model.*version 1 goes on"):
        crashing.target.apply(V2)
    seen = crashing.target.get("prod", "cooler")
    assert (seen.state, seen.serving, seen.desired, seen.ready) == ("healthy", V1, V2, {"default": 1})
    assert seen.cause.startswith("the last change failed: container model crashed")
    assert seen.log[-1] == "ValueError: digest of the model does not match"
    assert crashing.target.observe("prod") == [seen]
    live = crashing.main["spec"]
    assert "b2b2" not in str(live), "nothing of the failed change goes on trying"
    again = crashing.target.apply(V3)
    assert (again.cause, again.log, again.url) == ("", (), good.url)


def test_while_a_change_fails_what_serves_is_said_to_serve(crashing: Rig) -> None:
    ab = deployment(predictor(traffic=90), predictor("3", "b", 10))
    crashing.target.apply(ab)
    launched = crashing.target.apply(V2, wait=False)
    assert (launched.serving, launched.desired) == (ab, V2)
    until(lambda: crashing.target.get("prod", "cooler").state == "failed", "the crash is seen")
    seen = crashing.target.observe("prod")[0]
    assert (seen.state, seen.serving, seen.desired) == ("failed", ab, V2)
    assert "crashed" in seen.cause


def test_a_failed_creation_leaves_nothing(crashing: Rig) -> None:
    with pytest.raises(Failed, match="crashed"):
        crashing.target.apply(V2, mode="create")
    assert not [key for key in crashing.fake.kube.store.objects if key.plural in ("seldondeployments", "deployments")]


def test_a_cluster_with_no_room_is_waited_for_until_the_time_is_over(tmp_path: Path) -> None:
    with rig(tmp_path, befalls=befalls("Unschedulable"), deadline_s=None) as small:
        with pytest.raises(Unavailable, match=r"it is launching: no node takes the pod: .*Insufficient cpu"):
            small.target.apply(V2, timeout_s=0.5)
        assert small.target.get("prod", "cooler").state == "launching"
        small.fake.workloads.befalls = lambda _: None
        small.fake.workloads.look_again()
        until(lambda: small.target.get("prod", "cooler").state == "healthy", "a node came")


def test_a_pod_that_dies_later_makes_it_unhealthy_and_is_named(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.target.apply(deployment(predictor("2", replicas=2)))
        made.fake.workloads.befalls = befalls("OOMKilled")
        made.fake.workloads.look_again()
        until(lambda: made.target.get("prod", "cooler").state != "healthy", "the trouble is seen")
        seen = made.target.get("prod", "cooler")
        assert (seen.state, seen.serving) == ("unhealthy", deployment(predictor("2", replicas=2)))
        assert "OOMKilled, limit 1Gi" in seen.cause
        assert seen.log == ("Loading the model", "Allocating 2 GiB")


def test_options_of_before_are_kept_unless_others_are_given(seldon: Rig) -> None:
    options = options_from_config({"memory_limit": "2Gi", "labels.team": "rig"})
    seldon.target.apply(V1, options=options)
    seldon.target.apply(V2)
    assert seldon.target.options("prod", "cooler") == options
    assert seldon.target.options("prod", "nothing") == KubernetesOptions()


def test_what_is_not_ours_is_never_touched(seldon: Rig) -> None:
    seldon.target.apply(V1)
    held = seldon.main
    kind = seldon.fake.kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
    held = {**held, "metadata": {**held["metadata"], "labels": {}}}
    seldon.fake.kube.objects.update(kind, "prod", "cooler", held)
    before = seldon.main["metadata"]["resourceVersion"]
    assert seldon.target.observe("prod") == []
    assert seldon.target.get("prod", "cooler") == Observed(name="cooler", namespace="prod", state="not found")
    for action in (lambda: seldon.target.apply(V2), lambda: seldon.target.delete("prod", "cooler")):
        with pytest.raises(BadInput, match="not ours"):
            action()
    assert seldon.main["metadata"]["resourceVersion"] == before


def test_a_field_of_another_manager_is_named_and_taken_over_on_request_only(seldon: Rig) -> None:
    seldon.target.apply(V1)
    manifest = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "cooler", "namespace": "prod"},
        "spec": {"protocol": "v2"},
    }
    from mlflow_hydraulic.deploy_targets.kubernetes.resources import SELDON

    seldon.cluster.apply(SELDON, manifest, manager="argocd", force=True)
    with pytest.raises(Conflict, match=r"\.spec\.protocol belongs to 'argocd'.*force"):
        seldon.target.apply(V2)
    assert seldon.main["spec"]["protocol"] == "v2"
    assert seldon.target.apply(V2, force=True).serving == V2
    assert seldon.main["spec"]["protocol"] == "seldon"


def test_an_object_edited_out_of_recognition_is_shown_and_can_be_applied_again(seldon: Rig) -> None:
    seldon.target.apply(V1)
    kind = seldon.fake.kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
    held = seldon.main
    notes = {**held["metadata"]["annotations"], "hydraulic.options": "{broken"}
    seldon.fake.kube.objects.update(
        kind, "prod", "cooler", {**held, "metadata": {**held["metadata"], "annotations": notes}}
    )
    seen = seldon.target.get("prod", "cooler")
    assert (seen.state, seen.deployment) == ("failed", None)
    assert "hydraulic.options" in seen.cause
    assert seldon.target.apply(V2, options=KubernetesOptions(), force=True).serving == V2


def test_an_update_of_nothing_and_a_missing_log_are_told(seldon: Rig) -> None:
    with pytest.raises(NotFound, match="no deployment 'cooler' in namespace 'prod'"):
        seldon.target.apply(V1, mode="update")
    with pytest.raises(NotFound):
        seldon.target.logs("prod", "cooler")
    with pytest.raises(BadInput, match="shape=seldon, not plain"):
        seldon.target.apply(V1)
        seldon.target.apply(V2, options=KubernetesOptions(shape="plain"))


def test_terminating_is_told_by_the_deletion_timestamp(seldon: Rig) -> None:
    seldon.target.apply(V1)
    kind = seldon.fake.kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
    held = seldon.main
    seldon.fake.kube.objects.update(
        kind, "prod", "cooler", {**held, "metadata": {**held["metadata"], "finalizers": ["example.com/held"]}}
    )
    with pytest.raises(Unavailable, match="goes on ending"):
        seldon.target.delete("prod", "cooler", timeout_s=0.3)
    assert seldon.target.get("prod", "cooler").state == "terminating"
    with pytest.raises(Unavailable, match="being deleted"):
        seldon.target.apply(V2)
    held = seldon.main
    seldon.fake.kube.objects.update(
        kind, "prod", "cooler", {**held, "metadata": {**held["metadata"], "finalizers": []}}
    )
    seldon.target.delete("prod", "cooler")
    assert replace(seldon.target.get("prod", "cooler"), generation=0).state == "not found"
