"""The target's two other shapes: a plain Deployment with what hangs on it, and KServe's InferenceService."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.deployment import Exists
from mlflow_hydraulic.errors import BadInput, Failed, HydraulicError, Unavailable
from tests.fakekube.objects import Options
from tests.support.kube_target import Rig, befalls, rig
from tests.support.kube_values import deployment, predictor
from tests.support.local import until

V1, V2, V3 = deployment(), deployment(predictor("2")), deployment(predictor("3"))
PLAIN = KubernetesOptions(shape="plain")
SCALED = KubernetesOptions(shape="plain", autoscale_max=3, max_unavailable="1")
KSERVE = KubernetesOptions(shape="kserve")


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, befalls=befalls("CrashLoopBackOff")) as made:
        yield made


def kinds(made: Rig) -> set[str]:
    there = {key.plural for key in made.fake.kube.store.objects if key.namespace == "prod"}
    return there & {"deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets"}


def test_plain_comes_changes_and_goes_with_all_that_hangs_on_it(crashing: Rig) -> None:
    target = crashing.target
    first = target.apply(V1, options=SCALED, mode="create")
    assert (first.state, first.serving, first.url) == ("healthy", V1, "http://cooler.prod.svc:9000")
    assert len(kinds(crashing)) == 4
    with pytest.raises(Exists):
        target.apply(V1, mode="create")
    second = target.apply(V3, expected=first.generation)
    assert (second.serving, second.ready, target.observe("prod")) == (V3, {"default": 1}, [second])
    target.apply(V3, options=PLAIN)
    assert kinds(crashing) == {"deployments", "services"}
    target.delete("prod", "cooler")
    crashing.fake.kube.wait(lambda: not kinds(crashing))


def test_a_failed_plain_update_is_taken_back(crashing: Rig) -> None:
    crashing.target.apply(V1, options=PLAIN)
    before = crashing.fake.kube["deployments", "prod", "cooler"]["spec"]
    with pytest.raises(Failed, match=r"(?s)crashed.*digest of the model.*version 1 goes on"):
        crashing.target.apply(V2)
    seen = crashing.target.get("prod", "cooler")
    assert (seen.state, seen.serving, seen.desired) == ("healthy", V1, V2)
    assert crashing.fake.kube["deployments", "prod", "cooler"]["spec"] == before
    with pytest.raises(Failed):
        crashing.target.delete("prod", "cooler")
        crashing.target.apply(V2, options=PLAIN)
    assert crashing.target.observe("prod") == []


def test_a_deployment_or_service_of_somebody_else_is_left_alone(crashing: Rig) -> None:
    kube = crashing.fake.kube
    service = {"metadata": {"name": "cooler"}, "spec": {"ports": [{"port": 80}]}}
    kube.objects.create(kube.kind("v1", "services"), "prod", service)
    with pytest.raises(BadInput, match="Service 'cooler' in namespace 'prod' is not ours"):
        crashing.target.apply(V1, options=PLAIN)
    assert kinds(crashing) == {"services"}
    kube.objects.delete(kube.kind("v1", "services"), "prod", "cooler", None)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    other = {"metadata": {"name": "cooler"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    kube.objects.create(kube.kind("apps/v1", "deployments"), "prod", other)
    with pytest.raises(BadInput, match="Deployment 'cooler' in namespace 'prod' is not ours"):
        crashing.target.apply(V1, options=PLAIN)
    assert crashing.target.apply(V1).state == "healthy", "a SeldonDeployment of that name is another thing"
    crashing.target.delete("prod", "cooler")
    crashing.target.delete("prod", "cooler")
    assert "deployments" in kinds(crashing)


def kserve_says(made: Rig, **status: Any) -> None:  # Any: JSON
    """Plays KServe's controller, of which the fake has none."""
    kube = made.fake.kube
    kind = kube.kind("serving.kserve.io/v1beta1", "inferenceservices")
    held = kube["inferenceservices", "prod", "cooler"]
    body = {**held, "status": {"observedGeneration": held["metadata"]["generation"], **status}}
    kube.objects.update(kind, "prod", "cooler", body, Options(manager="kserve", status=True))


READY = {"conditions": [{"type": "Ready", "status": "True"}], "url": "http://cooler.prod.example.com"}


def in_turn(target: KubernetesTarget, *says: Any) -> list[HydraulicError]:  # Any: (wanted, what KServe then says)
    """Applies in a thread, so that the test can play the controller."""
    told: list[HydraulicError] = []
    for wanted, answer in says:

        def apply(wanted: Any = wanted) -> None:
            try:
                target.apply(wanted, options=KSERVE, timeout_s=30)
            except HydraulicError as error:
                told.append(error)

        thread = threading.Thread(target=apply)
        thread.start()
        answer()
        thread.join(30)
    return told


def test_kserve_is_waited_for_by_its_generation_and_a_successor_gets_its_share(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        kube = made.fake.kube

        def served(digest: str, **share: int) -> bool:
            if ("inferenceservices", "prod", "cooler") not in kube:
                return False
            one = kube["inferenceservices", "prod", "cooler"]["spec"]["predictor"]
            return digest in str(one) and one.get("canaryTrafficPercent") == share.get("share")

        def says(digest: str, **share: int) -> None:
            until(lambda: served(digest, **share), "the object is written")
            kserve_says(made, **READY)

        ab = deployment(predictor(traffic=80), predictor("2", "b", 20))
        stepped = deployment(predictor(traffic=50), predictor("2", "b", 50))
        told = in_turn(
            made.target,
            (V1, lambda: says("a1a1")),
            (ab, lambda: says("b2b2", share=20)),
            (stepped, lambda: says("b2b2", share=50)),
        )
        assert told == []
        seen = made.target.get("prod", "cooler")
        assert (seen.state, seen.serving, seen.url) == ("healthy", stepped, "http://cooler.prod.example.com")
        with pytest.raises(Unavailable, match="launching"):
            made.target.apply(V3, options=KSERVE, timeout_s=0.3)
        made.target.delete("prod", "cooler")


def test_what_kserve_says_went_wrong_is_told(tmp_path: Path) -> None:
    with rig(tmp_path) as made:

        def fails() -> None:
            until(lambda: ("inferenceservices", "prod", "cooler") in made.fake.kube, "the object is written")
            failure = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": "no such model"}}
            kserve_says(made, modelStatus=failure)

        told = in_turn(made.target, (V1, fails))
        assert [type(error).__name__ for error in told] == ["RolloutFailed"]
        assert "KServe says BlockedByFailedLoad: no such model" in str(told[0])
        assert made.target.observe() == []
