"""What is checked before a change: the operator, the rights, the manifest; and that those rights are enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.rights import deployment_rights, role_rules
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.errors import BadInput, Failed, Refused
from tests.fakekube.kube import FakeKube
from tests.support.kube_target import Rig, befalls, rig
from tests.support.kube_values import deployment, predictor

EXPLAINING = ("pods/log", "events")


@pytest.fixture
def seldon(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def role(kube: FakeKube, shape: str, *, without: tuple[str, ...] = ()) -> str:
    """The token of a service account that has the rights of a shape in "prod", and no others."""
    rules = [
        rule for rule in role_rules(deployment_rights(shape, proxy=False)) if not set(rule["resources"]) & set(without)
    ]
    name = f"{shape}-{len(without)}"
    rbac = "rbac.authorization.k8s.io"
    kube.load(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "prod"}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": "prod"},
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": "prod"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "prod"}],
        },
    )
    return kube.access.account_token("prod", name)


@pytest.mark.parametrize("shape", ["seldon", "plain"])
def test_the_rights_of_a_shape_are_enough_for_it_and_for_no_other_namespace(seldon: Rig, shape: str) -> None:
    options = KubernetesOptions(shape=shape)
    with seldon.other(role(seldon.fake.kube, shape)) as limited:
        target = KubernetesTarget(limited, shape=shape, look_s=0.1, fatal_s=0.1)
        first = target.apply(deployment(), options=options)
        assert target.apply(deployment(predictor("2")), expected=first.generation).state == "healthy"
        assert target.observe("prod") == [target.get("prod", "cooler")]
        assert target.logs("prod", "cooler")
        target.delete("prod", "cooler")
        with pytest.raises(Refused, match="forbidden"):
            target.observe("default")


def test_a_failure_is_told_without_logs_where_reading_them_is_not_allowed(tmp_path: Path) -> None:
    with rig(tmp_path, befalls=befalls("CrashLoopBackOff")) as made:
        token = role(made.fake.kube, "seldon", without=EXPLAINING)
        with made.other(token) as limited:
            target = KubernetesTarget(limited, look_s=0.1, fatal_s=0.1)
            with pytest.raises(Failed, match="crashed") as told:
                target.apply(deployment(predictor("2")))
            assert "log ends with" not in str(told.value)


def test_all_missing_rights_are_told_at_once_before_anything_is_changed(seldon: Rig) -> None:
    token = role(seldon.fake.kube, "seldon", without=("deployments", "pods"))
    with seldon.other(token) as limited, pytest.raises(Refused) as told:
        KubernetesTarget(limited).preflight("prod", KubernetesOptions())
    words = str(told.value)
    for right in ("list deployments.apps", "list pods"):
        assert right in words
    assert "patch seldondeployments" not in words.partition("ask for a Role")[0]
    assert '"verbs": ["get", "list", "watch", "create", "patch", "delete"]' in words
    with seldon.other(token) as limited, pytest.raises(Refused):
        KubernetesTarget(limited).apply(deployment())
    assert not [key for key in seldon.fake.kube.store.objects if key.plural == "seldondeployments"]


def test_a_cluster_without_seldon_says_what_to_do(tmp_path: Path) -> None:
    with FakeKube() as kube:
        kube.namespace("prod")
        with open_cluster(kubeconfig=str(kube.kubeconfig(tmp_path / "kubeconfig"))) as bare:
            target = KubernetesTarget(bare)
            assert target.observe() == target.observe("prod") == []
            assert target.get("prod", "cooler").state == "not found"
            with pytest.raises(Failed, match="install Seldon Core v1, or give shape=plain"):
                target.apply(deployment())


def test_what_the_webhook_would_refuse_is_refused_before_it_is_asked(seldon: Rig) -> None:
    shadow = deployment(predictor(), shadow=predictor("2", "shadow", 0))
    with pytest.raises(BadInput, match="shadow"):
        seldon.target.apply(shadow)
    assert not [path for method, path, _ in seldon.fake.kube.requests if method == "PATCH"]
