"""Manifests compared whole, each shape and server; any deployment and options keep every rule and can be read back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.codec import to_json
from mlflow_hydraulic.deploy_targets.kubernetes import identity, names
from mlflow_hydraulic.deploy_targets.kubernetes.kserve_manifest import kserve_manifests, read_kserve
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.plain_manifest import plain_manifests, read_plain
from mlflow_hydraulic.deploy_targets.kubernetes.rules import check_seldon, violations
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import read_seldon, seldon_manifest
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput
from tests.support import kube_golden as golden
from tests.support import kube_values as values
from tests.support.kube_values import deployment, predictor

PLAIN_OPTIONS = KubernetesOptions()
STORAGE = {f"models:/cooler/{version}": f"mlflow-artifacts:/1/models/m-{version}/artifacts" for version in "123"}


def options(**config: str) -> KubernetesOptions:
    return options_from_config({key.replace("__", "."): value for key, value in config.items()})


def made(one: Deployment, chosen: KubernetesOptions = PLAIN_OPTIONS) -> dict[str, Any]:  # Any: JSON
    manifest = seldon_manifest(one, chosen, storage=STORAGE)
    check_seldon(manifest)
    assert read_seldon(manifest) == one
    assert identity.read_options(manifest) == chosen
    return manifest


def test_single() -> None:
    assert made(deployment()) == golden.seldon(golden.predictor())


def test_ab_with_replicas_and_the_deployments_own_labels() -> None:
    one = deployment(
        predictor(traffic=80, replicas=2), predictor("2", "b", 20), labels={"hydraulic.selected-by": "stage:P"}
    )
    assert made(one) == golden.seldon(
        golden.predictor(traffic=80, replicas=2),
        golden.predictor("2", "b", 20),
        labels='{"hydraulic.selected-by": "stage:P"}',
    )


def test_shadow_gets_its_share_and_stands_last() -> None:
    one = deployment(predictor(), shadow=predictor("2", "shadow", 30))
    assert made(one) == golden.seldon(golden.predictor(), golden.predictor("2", "shadow", 30, shadow=True))


def test_shadow_of_nothing_is_refused_because_istio_would_mirror_everything() -> None:
    with pytest.raises(BadInput, match="Seldon mirrors everything then; for nothing use shadow=none"):
        seldon_manifest(deployment(predictor(), shadow=predictor("2", "shadow", 0)), PLAIN_OPTIONS)


def test_autoscaled() -> None:
    chosen = options(autoscale_min="2", autoscale_max="5", autoscale_cpu="60")
    scaled = {
        "spec": golden.pod(golden.scorer()),
        "hpaSpec": {
            "minReplicas": 2,
            "maxReplicas": 5,
            "metricsv2": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
                }
            ],
        },
    }
    told = '{"autoscale_cpu": 60, "autoscale_max": 5, "autoscale_min": 2}'
    assert made(deployment(), chosen) == golden.seldon(golden.predictor(componentSpecs=[scaled]), options=told)


def test_everything_on() -> None:
    config = {
        "image": "registry.example/scorer:2",
        "image_pull_secrets": "pull",
        "service_account": "runner",
        "delivery": "initializer",
        "artifact_root": "s3://bucket/mlflow",
        "storage_secret": "rclone",
        "tracking_uri": "http://mlflow.mlflow.svc:5000",
        "engine": "onnx",
        "protocol": "v2",
        "orchestrator_cpu": "50m",
        "cpu_limit": "2",
        "max_unavailable": "25%",
        "timeout_ms": "2500",
        "logger_url": "http://broker/prod",
        "logger_mode": "request",
        "env.LOG_LEVEL": "INFO",
        "secret_env.MLFLOW_TRACKING_PASSWORD": "mlflow/password",
        "env_from_secrets": "s3",
        "annotations.seldon.io/istio-gateway": "istio-system/gateway",
        "labels.team": "rig",
        "node_selector.disk": "ssd",
        "tolerations": "gpu=yes:NoSchedule,spot",
        "grace_s": "90",
    }
    chosen = options_from_config(config)
    manifest = made(deployment(predictor(traffic=90), predictor("2", "b", 10)), chosen)

    def one(version: str, name: str, traffic: int, **component: Any) -> dict[str, Any]:  # Any: JSON
        env = golden.scorer_env(version, name, uri="/mnt/models", drain="85")
        env[7]["value"] = "onnx"
        env += [
            {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.mlflow.svc:5000"},
            {"name": "LOG_LEVEL", "value": "INFO"},
            {
                "name": "MLFLOW_TRACKING_PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "mlflow", "key": "password"}},
            },
        ]
        container = golden.scorer(
            version,
            name,
            image="registry.example/scorer:2",
            env=env,
            envFrom=[{"secretRef": {"name": "s3"}}],
            resources={"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        )
        spec = golden.pod(
            container,
            terminationGracePeriodSeconds=90,
            imagePullSecrets=[{"name": "pull"}],
            serviceAccountName="runner",
            nodeSelector={"disk": "ssd"},
            tolerations=[
                {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
                {"key": "spot", "operator": "Exists"},
            ],
        )
        return golden.predictor(
            version,
            name,
            traffic,
            labels={"team": "rig", **golden.pod_labels(version), "version": name},
            graph={
                "name": "model",
                "type": "MODEL",
                "implementation": "MLFLOW_SERVER",
                "modelUri": f"s3://bucket/mlflow/1/models/m-{version}/artifacts",
                "envSecretRefName": "rclone",
                "serviceAccountName": "runner",
                "logger": {"mode": "request", "url": "http://broker/prod"},
            },
            componentSpecs=[{"spec": spec, **component}],
            svcOrchSpec={"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
        )

    noted = {"seldon.io/istio-gateway": "istio-system/gateway"}
    expected = golden.seldon(
        one("1", "default", 90, pdbSpec={"maxUnavailable": "25%"}),  # one budget: it selects all predictors' pods
        one("2", "b", 10),
        options=manifest["metadata"]["annotations"]["hydraulic.options"],
        protocol="v2",
        annotations={**noted, "seldon.io/rest-timeout": "2500", "seldon.io/grpc-timeout": "2500"},
    )
    expected["metadata"]["labels"] = {"team": "rig", **golden.LABELS}
    expected["metadata"]["annotations"] |= noted
    assert manifest == expected


def test_without_orchestrator() -> None:
    bare = golden.predictor(annotations={**golden.notes("1", "default"), "seldon.io/no-engine": "true"})
    del bare["svcOrchSpec"]
    assert made(deployment(), options(orchestrator="false")) == golden.seldon(bare, options='{"orchestrator": false}')


@pytest.mark.parametrize(
    ("server", "protocol", "ready", "live"),
    [
        ("prepackaged-mlflow", "seldon", "/health/ping", "/health/ping"),
        ("mlserver", "v2", "/v2/health/ready", "/v2/health/live"),
    ],
)
def test_prepackaged_servers(server: str, protocol: str, ready: str, live: str) -> None:
    chosen = options(server=server, protocol=protocol, artifact_root="s3://bucket")
    container = {"name": "model", "resources": golden.RESOURCES, **golden.probes(ready, live)}
    one = golden.predictor(
        graph={
            "name": "model",
            "type": "MODEL",
            "implementation": "MLFLOW_SERVER",
            "modelUri": "s3://bucket/1/models/m-1/artifacts",
        },
        componentSpecs=[{"spec": golden.pod(container, volumes=False)}],
    )
    manifest = made(deployment(), chosen)
    told = manifest["metadata"]["annotations"]["hydraulic.options"]
    assert manifest == golden.seldon(one, options=told, protocol=protocol)


def test_any_image() -> None:
    chosen = options(
        server="image", image="registry/own:7", args="run --port 9000", ready_path="/up", live_path="/alive"
    )
    container = {
        "name": "model",
        "image": "registry/own:7",
        "imagePullPolicy": "IfNotPresent",
        "args": ["run", "--port", "9000"],
        "ports": golden.PORTS,
        "env": golden.model_env("1", "default"),
        "resources": golden.RESOURCES,
        **golden.probes("/up", "/alive"),
    }
    manifest = made(deployment(), chosen)
    told = manifest["metadata"]["annotations"]["hydraulic.options"]
    spec = [{"spec": golden.pod(container, volumes=False)}]
    assert manifest == golden.seldon(golden.predictor(componentSpecs=spec), options=told)


def kserve(version: str, name: str, whole: Deployment, **changes: Any) -> dict[str, Any]:  # Any: JSON
    container = golden.scorer(
        version,
        name,
        ports=[{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
        env=golden.scorer_env(version, name, http="8080", grpc="0"),
        **golden.probes(port="http1"),
    )
    spec = {
        **golden.pod({**container, "name": "kserve-container"}),
        "labels": golden.pod_labels(version),
        "annotations": golden.notes(version, name),
        "minReplicas": 1,
        "maxReplicas": 1,
        **changes,
    }
    return golden.noted("serving.kserve.io/v1beta1", "InferenceService", to_json(whole), {"predictor": spec})


def test_kserve_single_and_successor() -> None:
    assert kserve_manifests(deployment(), PLAIN_OPTIONS) == (kserve("1", "default", deployment()),)
    both = deployment(predictor(traffic=80), predictor("2", "b", 20))
    manifests = kserve_manifests(both, PLAIN_OPTIONS)
    assert manifests == (kserve("1", "default", deployment()), kserve("2", "b", both, canaryTrafficPercent=20))
    assert read_kserve(manifests[1]) == both
    manifests[1]["spec"]["predictor"]["canaryTrafficPercent"] = 50  # by hand
    assert [p.traffic for p in read_kserve(manifests[1]).predictors] == [50, 50]


def test_kserve_model_of_its_own_runtime_scaled_and_logged() -> None:
    chosen = options(
        server="mlserver",
        protocol="v2",
        artifact_root="s3://bucket",
        autoscale_max="4",
        logger_url="http://broker/prod",
        timeout_ms="2500",
    )
    (manifest,) = kserve_manifests(deployment(), chosen, storage=STORAGE)
    assert manifest["spec"]["predictor"] == {
        "model": {
            "modelFormat": {"name": "mlflow"},
            "protocolVersion": "v2",
            "storageUri": "s3://bucket/1/models/m-1/artifacts",
            "resources": golden.RESOURCES,
        },
        "terminationGracePeriodSeconds": 60,
        "labels": golden.pod_labels("1"),
        "annotations": golden.notes("1", "default"),
        "minReplicas": 1,
        "maxReplicas": 4,
        "scaleMetric": "cpu",
        "scaleTarget": 70,
        "logger": {"mode": "all", "url": "http://broker/prod"},
        "timeout": 3,
    }


def test_kserve_host_that_no_gateway_takes_is_refused() -> None:
    long = Deployment(name="n" * 40, namespace="s" * 20, predictors=(predictor(),))
    with pytest.raises(BadInput, match="has 71 characters and may have 63: shorten the name by 8"):
        kserve_manifests(long, PLAIN_OPTIONS)


def test_plain_with_autoscaler_and_budget() -> None:
    told = '{"autoscale_max": 3, "max_unavailable": "1"}'
    selected = {"app.kubernetes.io/managed-by": "mlflow-hydraulic", "app.kubernetes.io/instance": "cooler"}

    def noted(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
        return golden.noted(api_version, kind, to_json(deployment()), spec, options=told)

    spec = {
        "selector": {"matchLabels": selected},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {
                "labels": {**golden.pod_labels("1"), **selected},
                "annotations": golden.notes("1", "default"),
            },
            "spec": golden.pod(golden.scorer(), automountServiceAccountToken=False),
        },
    }
    ports = [
        {"name": "http", "port": 9000, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc", "port": 9500, "targetPort": "grpc", "protocol": "TCP"},
    ]
    target = {"type": "Utilization", "averageUtilization": 70}
    hpa = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cooler"},
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    manifests = plain_manifests(deployment(), options(autoscale_max="3", max_unavailable="1"))
    assert manifests == (
        noted("apps/v1", "Deployment", spec),
        noted("v1", "Service", {"selector": selected, "ports": ports}),
        noted("autoscaling/v2", "HorizontalPodAutoscaler", hpa),
        noted("policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "selector": {"matchLabels": selected}}),
    )
    assert read_plain(manifests[0]) == deployment()
    assert plain_manifests(deployment(predictor(replicas=3)), PLAIN_OPTIONS)[0]["spec"]["replicas"] == 3


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values.deployments(), values.options)
def test_any_deployment_keeps_every_rule_and_is_read_back(one: Deployment, chosen: KubernetesOptions) -> None:
    storage = {p.model.uri: f"s3://bucket/{p.model.digest}" for p in one.all}
    manifest = json.loads(json.dumps(seldon_manifest(one, chosen, storage=storage)))
    assert violations(manifest) == []
    assert read_seldon(manifest) == one
    assert identity.read_options(manifest) == chosen
    for part in manifest["spec"]["predictors"]:
        assert len(f"{one.name}-{part['name']}-0-model") <= 63
        for text in part["labels"].values():
            assert len(text) <= 63


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values.deployments(), values.options)
def test_the_other_shapes_are_read_back_or_refused_in_words(one: Deployment, chosen: KubernetesOptions) -> None:
    storage = {p.model.uri: f"s3://bucket/{p.model.digest}" for p in one.all}
    try:
        assert read_kserve(kserve_manifests(one, chosen, storage=storage)[-1]) == one
    except BadInput as error:
        assert "cannot do" in str(error) or "shorten the name" in str(error) or "protocol=v2" in str(error)
    try:
        assert read_plain(plain_manifests(one, chosen)[0]) == one
    except BadInput as error:
        assert "cannot do" in str(error)


@settings(max_examples=60, deadline=None)
@given(values.deployments(), st.data())
def test_shares_and_replicas_restart_no_pod(one: Deployment, data: st.DataObject) -> None:
    assume(len(one.predictors) > 1)
    shares = data.draw(st.permutations([p.traffic for p in one.predictors]))
    parts = tuple(
        Predictor(name=p.name, model=p.model, traffic=share, replicas=p.replicas % 100 + 1)
        for p, share in zip(one.predictors, shares, strict=True)
    )
    stepped = Deployment(name=one.name, namespace=one.namespace, predictors=parts, shadow=one.shadow, labels={"x": "y"})
    for before, after in zip(_pods(one), _pods(stepped), strict=True):
        assert before == after


def _pods(one: Deployment) -> list[Any]:  # Any: JSON
    """What Seldon's operator makes pod templates of."""
    spec = seldon_manifest(one, PLAIN_OPTIONS)["spec"]
    keys = ("annotations", "labels", "graph", "componentSpecs", "svcOrchSpec")
    return [[spec["annotations"], spec["protocol"], *(p[key] for key in keys)] for p in spec["predictors"]]


def test_what_the_cluster_added_does_not_disturb_reading() -> None:
    one = deployment(predictor(), shadow=predictor("2", "shadow", 10))
    manifest = made(one)
    manifest["metadata"] |= {"uid": "u", "generation": 3, "resourceVersion": "7", "managedFields": [{"manager": "m"}]}
    manifest["status"] = {"state": "Available", "replicas": 1}
    for part in manifest["spec"]["predictors"]:  # what the operator's own webhook fills in
        part["graph"] |= {"implementation": "UNKNOWN_IMPLEMENTATION", "endpoint": {"httpPort": 9000}}
        part["componentSpecs"][0]["spec"]["containers"][0]["volumeMounts"].append({"name": "p", "mountPath": "/etc/p"})
        part["componentSpecs"][0]["spec"]["containers"].append({"name": "seldon-container-engine"})
    assert violations(manifest) == []
    assert read_seldon(manifest) == one


def test_changes_by_hand_are_seen() -> None:
    manifest = made(deployment(predictor(traffic=80), predictor("2", "b", 20)))
    first, second = manifest["spec"]["predictors"]
    first["traffic"], second["traffic"], second["replicas"] = 10, 90, 4
    env = first["componentSpecs"][0]["spec"]["containers"][0]["env"]
    env[0]["value"], env[1]["value"], env[3]["value"] = "models:/cooler/3", "c3" * 32, "3"
    assert read_seldon(manifest).predictors == (predictor("3", traffic=10), predictor("2", "b", 90, replicas=4))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: m["metadata"]["labels"].clear(), "is not ours"),
        (lambda m: m["metadata"].pop("labels"), "is not ours"),
        (lambda m: m["metadata"]["annotations"].update({"hydraulic.format": "2"}), "use the release that wrote it"),
        (lambda m: m["metadata"]["annotations"].update({"hydraulic.labels": "[1"}), "not JSON"),
        (lambda m: m["metadata"]["annotations"].update({"hydraulic.labels": '{"a": 1}'}), "must be an object of texts"),
        (lambda m: m["spec"]["predictors"][0]["annotations"].pop("hydraulic.model-digest"), "model-digest is missing"),
        (lambda m: m["spec"]["predictors"][0].pop("annotations"), "model-uri is missing"),
        (lambda m: m["spec"]["predictors"][0].update({"traffic": 50}), "it must be 100"),
        (lambda m: m["spec"]["predictors"].clear(), "no predictor"),
        (lambda m: m["spec"].pop("predictors"), "cannot be read"),
        (lambda m: m["spec"].update({"predictors": [7]}), "cannot be read"),
    ],
)
def test_damaged_objects_are_refused_in_words(damage: Any, words: str) -> None:  # Any: a lambda of JSON
    manifest = copy.deepcopy(made(deployment()))
    damage(manifest)
    with pytest.raises(BadInput, match=words):
        read_seldon(manifest)


@pytest.mark.parametrize("shape", ["kserve", "plain"])
def test_damaged_objects_of_other_shapes(shape: str) -> None:
    make, read = (kserve_manifests, read_kserve) if shape == "kserve" else (plain_manifests, read_plain)
    manifest = make(deployment(), PLAIN_OPTIONS)[0]
    del manifest["metadata"]["annotations"]["hydraulic.deployment"]
    with pytest.raises(BadInput, match=r"hydraulic\.deployment is missing: apply the deployment again"):
        read(manifest)
    del manifest["metadata"]["labels"]
    with pytest.raises(BadInput, match="is not ours"):
        read(manifest)


def test_models_that_no_init_container_reads() -> None:
    with pytest.raises(BadInput, match=r"which only MLflow reads: say where that is, artifact_root="):
        seldon_manifest(deployment(), options(server="prepackaged-mlflow"), storage=STORAGE)
    with pytest.raises(BadInput, match="Seldon's init container reads s3, gs, "):
        seldon_manifest(deployment(), options(delivery="initializer"))
    blob = {"models:/cooler/1": "abfss://container@account.dfs.core.windows.net/m"}
    manifest = seldon_manifest(deployment(), options(delivery="initializer"), storage=blob)
    assert manifest["spec"]["predictors"][0]["graph"]["modelUri"] == blob["models:/cooler/1"]


PASSWORDS = [
    "https://user:hunter2@host/m",
    "https://hunter2@host/m",
    "s3://a:hunter2@b/m",
    "https://bucket.s3.example/m?X-Amz-Signature=hunter2",
    "https://account.blob.core.windows.net/m?sv=1&sig=hunter2",
]


@pytest.mark.parametrize("uri", PASSWORDS)
@pytest.mark.parametrize(
    "config", [{"delivery": "mlflow"}, {"delivery": "initializer"}, {"server": "prepackaged-mlflow"}], ids=str
)
def test_passwords_never_reach_a_manifest(uri: str, config: dict[str, str]) -> None:
    one = deployment(Predictor(name="default", model=ModelVersion(uri=uri, name="m", version="1", digest="0")))
    chosen = options_from_config(config)
    for storage in ({}, {uri: "s3://bucket/m"}):  # it would still stand in an annotation
        with pytest.raises(BadInput, match="holds a user, a password or a signature") as error:
            seldon_manifest(one, chosen, storage=storage)
        assert "hunter2" not in str(error.value)
    if config != {"delivery": "mlflow"}:
        with pytest.raises(BadInput, match="holds a user, a password or a signature"):
            seldon_manifest(deployment(), chosen, storage={"models:/cooler/1": uri})


def test_a_uri_that_is_none_is_refused() -> None:
    one = ModelVersion(uri="http://[", name="m", version="1", digest="0")
    with pytest.raises(BadInput, match="is no URI"):
        seldon_manifest(deployment(Predictor(name="default", model=one)), PLAIN_OPTIONS)


def test_names_stay_readable_and_apart() -> None:
    long = "challenger-of-the-long-autumn-"
    first, second = names.predictor_name("d" * 40, long + "1"), names.predictor_name("d" * 40, long + "2")
    assert first != second
    assert first.startswith("challen-")
    assert len(names.seldon_deployment_name("d" * 40, long + "1")) == 63
    assert names.seldon_service_name("cooler", "default") == "cooler-default"
    assert names.seldon_model_service_name("cooler", "default") == "cooler-default-model"
