"""Our manifests and our rules against a server: the fake takes all that we make, and refuses what our rules refuse."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from mlflow_hydraulic.deploy_targets.kubernetes.kserve_manifest import kserve_manifests
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.deploy_targets.kubernetes.plain_manifest import plain_manifests
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import read_seldon, seldon_manifest
from tests.fakekube.cluster import seldon_cluster
from tests.fakekube.kube import FakeKube
from tests.support.kube_values import deployment, predictor
from tests.unit.test_kube_rules import WEBHOOK, Breaking

Json = dict[str, Any]  # Any: JSON

FULL = {
    "image_pull_secrets": "pull",
    "service_account": "runner",
    "cpu_limit": "2",
    "autoscale_max": "3",
    "env.LEVEL": "INFO",
    "secret_env.KEY": "s3/key",
    "env_from_secrets": "s3",
    "annotations.example.com/team": "rig",
    "labels.team": "rig",
    "node_selector.disk": "ssd",
    "tolerations": "gpu=yes:NoSchedule,spot",
}
# Rules of the real webhook that the fake's does not have.
NOT_IMITATED = (
    "Predictive Unit has no implementation methods defined",
    "Invalid transport",
    "Invalid serverType",
    "Found duplicate service name in seldon.io/svc-name with value s",
)
IMITATED = [case for case in WEBHOOK if case[2] not in NOT_IMITATED]
PLURALS = {
    "SeldonDeployment": "seldondeployments",
    "InferenceService": "inferenceservices",
    "Deployment": "deployments",
    "Service": "services",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
}


@pytest.fixture(scope="module")
def kube() -> Iterator[FakeKube]:
    with seldon_cluster("prod") as cluster:
        yield cluster.kube


def dry_run(kube: FakeKube, manifest: Json) -> requests.Response:
    """Server-side apply with unknown fields refused, nothing kept."""
    version = manifest["apiVersion"]
    base = f"{kube.url}/{'apis' if '/' in version else 'api'}/{version}/namespaces/prod/{PLURALS[manifest['kind']]}"
    return requests.patch(
        f"{base}/{manifest['metadata']['name']}",
        params={"fieldManager": "mlflow-hydraulic", "fieldValidation": "Strict", "dryRun": "All"},
        json=manifest,
        headers={"Authorization": f"Bearer {kube.admin_token}", "Content-Type": "application/apply-patch+yaml"},
        timeout=30,
    )


@pytest.mark.parametrize("config", [{}, FULL], ids=["defaults", "full"])
def test_every_manifest_is_taken_with_unknown_fields_refused(kube: FakeKube, config: dict[str, str]) -> None:
    options = options_from_config(config)
    ab = deployment(predictor(traffic=80), predictor("2", "b", 20))
    plain = options_from_config({"max_unavailable": "1"}, options)
    shadowed = deployment(predictor(traffic=80), predictor("2", "b", 20), shadow=predictor("3", "shadow", 10))
    for manifest in (*kserve_manifests(ab, options), *plain_manifests(deployment(), plain)):
        answer = dry_run(kube, manifest)
        assert answer.ok, (manifest["kind"], answer.text)
    answer = dry_run(kube, seldon_manifest(shadowed, plain))
    assert answer.ok, answer.text
    assert read_seldon(answer.json()) == shadowed


@pytest.mark.parametrize(("made", "breaking", "words"), IMITATED, ids=[words for _, _, words in IMITATED])
def test_what_our_rules_refuse_the_webhook_refuses_in_the_same_words(
    kube: FakeKube, made: Json, breaking: Breaking, words: str
) -> None:
    made = copy.deepcopy(made)
    breaking(made)
    answer = dry_run(kube, made)
    assert answer.status_code == 422, answer.text
    assert words.rpartition("]: ")[2] in answer.json()["message"]
