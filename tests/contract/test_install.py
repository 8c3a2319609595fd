"""What install/ makes of a cluster: chart and kustomize agree; every object is valid, confined and without secrets."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm_python", reason="Helm's library is not installed: pip install mlflow-hydraulic[chart]")
pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not installed: the extra chart")

import kubernetes_validate
from kubernetes import client, config, dynamic

from tests.fakekube.kube import FakeKube
from tests.support.helm import INSTALL, NAMESPACE, linted, objects, rendered, values_file
from tests.support.install import made
from tests.support.kustomize import kustomized
from tests.support.prometheus_kinds import PROMETHEUS_KINDS

Json = dict[str, Any]
OPTIONS = {"shape": "plain", "env": {"A": "1"}, "gateway_url": "http://gateway", "tolerations": ["a=b:NoSchedule"]}
VALUES: dict[str, Json] = {
    "default": {},
    "dev": values_file("values-dev.yaml"),
    "prod": values_file("values-prod.yaml"),
    "bare": {
        "auth": {"enabled": False},
        "monitor": {"enabled": False},
        "intake": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
    "all": {
        "image": {"repository": "registry:5000/a/b", "digest": "sha256:" + "0" * 64, "pullSecrets": ["pull"]},
        "environments": {"dev": None, "test": {"namespace": "t", "champion": ["alias:test"], "options": OPTIONS}},
        "prometheus": {"enabled": True, "labels": {"release": "kube-prometheus"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "server": {"allowedHosts": ["mlflow.example.com"], "envFromSecrets": ["storage"]},
        "intake": {"tokenSecretName": "intake"},
        "toml": '[policy.prod]\nallow = ["role:operator"]\n[roles]\noperator = ["ds1"]\n',
    },
}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


@pytest.fixture(scope="module")
def renders() -> dict[str, list[Json]]:
    return dict(zip(VALUES, map(objects, rendered(*VALUES.values())), strict=True))


@pytest.fixture(params=VALUES)
def render(request: pytest.FixtureRequest, renders: dict[str, list[Json]]) -> list[Json]:
    return renders[request.param]


def place(one: Json) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def placed(many: list[Json]) -> dict[tuple[str, str, str], Json]:
    found = {place(one): one for one in many}
    assert len(found) == len(many), "two objects of one name"
    return found


def pods(many: list[Json]) -> Iterator[tuple[str, Json]]:
    for one in many:
        if one["kind"] in WORKLOADS:
            yield one["metadata"]["name"], one["spec"]["template"]


# One source


def test_what_is_made_from_elsewhere_is_as_it_would_be_made_now() -> None:
    old = [path.name for path, text in made().items() if path.read_text(encoding="utf-8") != text]
    assert not old, "run `python -m tests.support.install`"


def test_lint() -> None:
    for lint in linted(*VALUES.values()):
        assert not [one for one in lint["messages"] if one["severity"] > 1]
        assert not lint["errors"]


@pytest.mark.parametrize(
    ("folder", "values"),
    [
        ("base", {}),
        ("overlays/dev", VALUES["dev"]),
        ("overlays/prod", VALUES["prod"]),
        ("overlays/prod-acting", {**VALUES["prod"], "controller": {"dryRun": False}}),
    ],
)
def test_kustomize_says_what_the_chart_says(folder: str, values: Json, tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here (Debian: kubernetes-client): kustomize is not rendered")
    (texts,) = rendered(values)
    assert placed(kustomized(folder, tmp_path)) == placed(objects(texts))


# Valid


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
def test_every_object_fits_the_schema_of_the_oldest_and_the_newest_kubernetes(render: list[Json], version: str) -> None:
    for one in render:
        if not one["apiVersion"].startswith("monitoring.coreos.com/"):  # those: on the fake, below
            kubernetes_validate.validate(one, version, strict=True)


def test_the_api_server_takes_every_object(render: list[Json], tmp_path: Path) -> None:
    with FakeKube() as kube:
        kube.load(*PROMETHEUS_KINDS)
        for namespace in {one["metadata"]["namespace"] for one in render}:
            kube.namespace(namespace)
        api = config.new_client_from_config(str(kube.kubeconfig(tmp_path / "kubeconfig")))
        cluster = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
        for one in render:
            kind = cluster.resources.get(api_version=one["apiVersion"], kind=one["kind"])
            query = [("fieldManager", "test"), ("fieldValidation", "Strict")]
            path = kind.path(name=one["metadata"]["name"], namespace=one["metadata"]["namespace"])
            type_ = "application/apply-patch+yaml"
            cluster.request("patch", path, body=one, query_params=query, content_type=type_)
        client.ApiClient.close(api)


# Safe


def test_no_secret_and_no_moving_tag(render: list[Json]) -> None:
    for one in render:
        assert one["kind"] != "Secret"
    for name, pod in pods(render):
        for container in pod["spec"]["containers"]:
            image = container["image"]
            assert re.search(r":[\w.-]+$|@sha256:[0-9a-f]{64}$", image), image
            assert not image.endswith(":latest")
            for variable in container.get("env", []):
                if re.search(r"PASSW|TOKEN|SECRET|DATABASE|STORE_URI|USERNAME", variable["name"]):
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}, (name, variable)


def test_no_password_in_any_file() -> None:
    secret = re.compile(r"://[^\s/:@{]+:[^\s/@{]+@|BEGIN [A-Z ]*PRIVATE KEY|(?i:password)[ \t]*[:=][ \t]*[\"']?\w{4}")
    for path in INSTALL.rglob("*"):
        if path.is_file() and path.suffix in (".yaml", ".json", ".tpl", ".txt", ""):
            assert not secret.search(path.read_text(encoding="utf-8")), path


def test_pods_are_confined(render: list[Json]) -> None:
    for name, pod in pods(render):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is (name == "hydraulic-controller"), (
            "the monitor's is mounted by hand"
        )
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context["privileged"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert ("account" in mounted) is (container["name"] == "monitor")
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_what_is_named_is_there(render: list[Json]) -> None:
    """Selectors find pods, ports have names, mounts have volumes, bindings have roles and accounts."""
    found = placed(render)
    templates = [(one["metadata"]["namespace"], one["spec"]["template"]) for one in render if one["kind"] in WORKLOADS]

    def selected(namespace: str, wanted: Json) -> list[Json]:
        return [
            pod
            for where, pod in templates
            if where == namespace and wanted.items() <= pod["metadata"]["labels"].items()
        ]

    for kind, namespace, name in found:
        one = found[kind, namespace, name]
        spec = one.get("spec", {})
        if kind == "Service":
            (pod,) = selected(namespace, spec["selector"])
            ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        elif kind == "PodDisruptionBudget":
            assert len(selected(namespace, spec["selector"]["matchLabels"])) == 1
            assert spec["maxUnavailable"] == 1, "nodes can be drained"
        elif kind == "RoleBinding":
            assert ("Role", namespace, one["roleRef"]["name"]) in found
            assert all(("ServiceAccount", s["namespace"], s["name"]) in found for s in one["subjects"])
        elif kind == "ServiceMonitor":
            services = [found[key] for key in found if key[:2] == ("Service", namespace)]
            wanted = spec["selector"]["matchLabels"].items()
            ports = {
                p["name"] for s in services if wanted <= s["metadata"]["labels"].items() for p in s["spec"]["ports"]
            }
            assert {endpoint["port"] for endpoint in spec["endpoints"]} <= ports
    for where, pod in templates:
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert ("ServiceAccount", where, pod["spec"]["serviceAccountName"]) in found
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", where, volume["configMap"]["name"]) in found
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", where, volume["persistentVolumeClaim"]["claimName"]) in found
        used = {mount["name"] for container in pod["spec"]["containers"] for mount in container["volumeMounts"]}
        assert used == set(volumes)


def test_everything_is_denied_that_no_policy_lets_in(renders: dict[str, list[Json]]) -> None:
    policies = {place(one)[1:]: one["spec"] for one in renders["default"] if one["kind"] == "NetworkPolicy"}
    deny = policies[NAMESPACE, "hydraulic-default-deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    for _, pod in pods(renders["default"]):
        assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    server = policies[NAMESPACE, "hydraulic-server"]["ingress"][0]
    assert all("podSelector" in peer for peer in server["from"]), "ours and the models only"
    for rule in (rule for spec in policies.values() for rule in [*spec.get("ingress", []), *spec.get("egress", [])]):
        assert rule.get("from") or rule.get("to"), "no rule without peers: it would let in everybody"
        assert rule["ports"]
