"""What the Kubernetes suite runs on: a fresh namespace of the fake, or of the cluster that TEST_KUBECONFIG names."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException

from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
KUBECONFIG = os.environ.get("TEST_KUBECONFIG", "")
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Cluster:
    """One namespace with a kind of the suite's own in it, and the plain client. fake: None on a real cluster."""

    api: Any
    dynamic: Any
    namespace: str
    group: str
    fake: FakeKube | None

    @property
    def pumps(self) -> Any:
        """The suite's own kind, in the dynamic client."""
        return self.dynamic.resources.get(api_version=f"{self.group}/v1", kind="Pump")

    @property
    def core(self) -> Any:
        return client.CoreV1Api(self.api)

    def pump(self, name: str, **spec: Any) -> Json:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": f"{self.group}/v1", "kind": "Pump", "metadata": metadata, "spec": spec}

    def apply(self, name: str, manager: str = "ours", force: bool = False, **spec: Any) -> Any:
        return self.dynamic.server_side_apply(
            self.pumps,
            body=self.pump(name, **spec),
            name=name,
            namespace=self.namespace,
            field_manager=manager,
            force_conflicts=force,
        )

    def read(self, name: str) -> Any:
        return self.pumps.get(name=name, namespace=self.namespace)

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str) -> Any:
        """One call under the namespace, as JSON: for what the typed clients cannot say."""
        return self.dynamic.request(
            method,
            f"/apis/{self.group}/v1/namespaces/{self.namespace}/{path}",
            body=body,
            query_params=list(query.items()),
            content_type=kind,
        )

    def with_token(self, token: str) -> Any:
        """The core client of somebody else."""
        other = client.Configuration()
        other.host, other.ssl_ca_cert = self.api.configuration.host, self.api.configuration.ssl_ca_cert
        other.verify_ssl = self.api.configuration.verify_ssl
        other.api_key = {"authorization": f"Bearer {token}"}
        return client.CoreV1Api(client.ApiClient(other))


@contextlib.contextmanager
def open_cluster(folder: Path) -> Iterator[Cluster]:
    """A fresh namespace and kind; both are removed at the end, whatever happened."""
    with contextlib.ExitStack() as stack:
        fake = None if KUBECONFIG else stack.enter_context(FakeKube())
        path = fake.kubeconfig(folder / "kubeconfig") if fake else Path(KUBECONFIG)
        api = config.new_client_from_config(str(path))
        stack.callback(api.close)
        mark = uuid.uuid4().hex[:8]
        namespace, group = f"contract-{mark}", f"t{mark}.hydraulic.test"
        core, extensions = client.CoreV1Api(api), client.ApiextensionsV1Api(api)
        core.create_namespace({"metadata": {"name": namespace}})
        stack.callback(core.delete_namespace, namespace)
        extensions.create_custom_resource_definition(_definition(group))
        stack.callback(extensions.delete_custom_resource_definition, f"pumps.{group}")
        wait_until(lambda: _served(api, group, namespace))
        found = dynamic.DynamicClient(api, cache_file=str(folder / "discovery.json"))
        yield Cluster(api, found, namespace, group, fake)


def wait_until(condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """What `condition` gives once it gives something true."""
    end = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(0.02)


def status_of(error: ApiException) -> Json:
    """The Status document of a refusal."""
    import json

    document: Json = json.loads(error.body)
    assert document["kind"] == "Status", document
    assert document["status"] == "Failure", document
    assert document["code"] == error.status, document
    return document


def _served(api: Any, group: str, namespace: str) -> bool:
    try:
        client.CustomObjectsApi(api).list_namespaced_custom_object(group, "v1", namespace, "pumps")
    except ApiException:
        return False
    return True


def _definition(group: str) -> Json:
    parts = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    spec = {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 0},
            "mode": {"type": "string", "enum": ["on", "off"]},
            "note": {"type": "string", "default": "none"},
            "steps": {"type": "array", "items": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "parts": parts,
        },
    }
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"pumps.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "pumps", "singular": "pump", "kind": "Pump", "listKind": "PumpList"},
            "versions": [version],
        },
    }
