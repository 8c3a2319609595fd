"""`FakeKube`: a Kubernetes API server for tests, over real HTTP on 127.0.0.1. See README.md for what it is not."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from tests.fakekube.access import Access
from tests.fakekube.collector import Collector
from tests.fakekube.faults import Call, Fault, Script, Source
from tests.fakekube.objects import Objects, Operation
from tests.fakekube.resources import Resource, builtin_resources, from_crd, open_custom
from tests.fakekube.server import Server, serve
from tests.fakekube.storage import Store

if TYPE_CHECKING:
    from tests.fakekube.endpoints import Endpoints

Json = dict[str, Any]


class FakeKube:
    """A cluster of its own for one test; a context manager that serves while it is open.

    crds: CustomResourceDefinitions to serve. faults: random faults beside the scripted ones of `fail`.
    history: how many writes a watch may lie behind before it is told 410.
    """

    def __init__(
        self,
        crds: Iterable[Json] = (),
        *,
        faults: Source | None = None,
        history: int = 10_000,
        bookmark_every_s: float = 60.0,
    ) -> None:
        self.store = Store(history)
        self.objects = Objects(self.store)
        self.access = Access(self.store)
        self.resources: dict[tuple[str, str], Resource] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.logs: dict[tuple[str, str, str, bool], str] = {}
        self.backends: dict[tuple[str, str], str] = {}
        self.endpoints: Endpoints | None = None  # of clusters whose pods are real processes
        self.bookmark_every_s = bookmark_every_s
        self.closing = threading.Event()
        self._script, self._schedule = Script(), faults
        self._server: Server | None = None
        self._collector = Collector(self)
        for resource in builtin_resources():
            self.serve_kind(resource)
        self.objects.admission.append(self._definition)
        for crd in crds:
            self.install(crd)
        self.serve_kind(open_custom("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"))
        self.admin_token = self.access.admin()
        for name in ("default", "kube-system"):
            self.namespace(name)

    # What it serves

    def serve_kind(self, resource: Resource) -> None:
        """Serves one more kind."""
        self.resources[(resource.api_version, resource.plural)] = resource

    def install(self, crd: Json) -> None:
        """Stores a CustomResourceDefinition, and so serves its kinds."""
        self.objects.create(self.kind("apiextensions.k8s.io/v1", "customresourcedefinitions"), None, crd)

    def _definition(self, operation: Operation, resource: Resource, value: Json) -> None:
        """A CustomResourceDefinition that comes or goes takes its kinds with it."""
        if resource.plural != "customresourcedefinitions":
            return
        for one in from_crd(value):
            if operation == "DELETE":
                del self.resources[(one.api_version, one.plural)]
                for key in [key for key in self.store.objects if (key.group, key.plural) == (one.group, one.plural)]:
                    self.store.write(key, copy.deepcopy(self.store.objects[key]), "DELETED")
            else:
                self.serve_kind(one)
                value["status"] = {"conditions": [{"type": "Established", "status": "True"}]}

    def resource(self, api_version: str, plural: str) -> Resource | None:
        """A kind that is served, by its plural."""
        return self.resources.get((api_version, plural))

    def kind(self, api_version: str, plural: str) -> Resource:
        """A kind that is served; KeyError for another."""
        return self.resources[(api_version, plural)]

    def namespace(self, name: str) -> None:
        """Makes a namespace."""
        labels = {"kubernetes.io/metadata.name": name}
        body = {"metadata": {"name": name, "labels": labels}}
        self.objects.create(self.kind("v1", "namespaces"), None, body)

    def load(self, *documents: Json) -> None:
        """Creates objects as they stand in manifests (RBAC of a chart, say), each in its namespace or `default`."""
        for document in documents:
            resource = next(
                one
                for one in self.resources.values()
                if (one.api_version, one.kind) == (document["apiVersion"], document["kind"])
            )
            namespace = document["metadata"].get("namespace", "default") if resource.namespaced else None
            self.objects.create(resource, namespace, document)

    def __contains__(self, place: tuple[str, str | None, str]) -> bool:
        plural, namespace, name = place
        wanted = (plural, namespace or "", name)
        return any((key.plural, key.namespace, key.name) == wanted for key in self.store.objects)

    def __getitem__(self, place: tuple[str, str | None, str]) -> Json:
        """(plural, namespace, name): the object as it stands."""
        plural, namespace, name = place
        wanted = (plural, namespace or "", name)
        with self.store.lock:
            return next(v for key, v in self.store.objects.items() if (key.plural, key.namespace, key.name) == wanted)

    # What goes wrong

    def fail(self, fault: Fault, *, method: str = "", path: str = "", times: int = 1) -> None:
        """The next `times` fitting requests meet this fault."""
        self._script.add(fault, method=method, path=path, times=times)

    def forgive(self) -> None:
        """Scripted faults that no request met yet are over."""
        self._script.clear()

    @property
    def faults_left(self) -> int:
        """Scripted faults that no request met yet."""
        return self._script.left

    def fault(self, call: Call) -> Fault | None:
        """The fault that a request meets."""
        return self._script.meets(call) or (self._schedule.meets(call) if self._schedule else None)

    def expire_watches(self) -> None:
        """Compacts the history: every watch and every further page gets 410."""
        self.store.compact()

    # What stands behind

    def back(self, namespace: str, service: str, url: str) -> None:
        """Calls through the proxy of this service, or of "pods/NAME", go to `url` from now on."""
        self.backends[(namespace, service)] = url

    def log(self, namespace: str, pod: str, container: str, text: str, *, previous: bool = False) -> None:
        """What a container has logged; previous: before its last restart."""
        self.logs[(namespace, pod, container, previous)] = text

    def wait(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Waits for a write after which `condition` gives something true, and gives that; TimeoutError without it."""
        with self.store.lock:
            if not self.store.lock.wait_for(condition, timeout_s):
                raise TimeoutError(f"not within {timeout_s} s; versions so far: {self.store.version}")
            return condition()

    # HTTP

    @property
    def url(self) -> str:
        """Where it listens; only while it is open."""
        if self._server is None:
            raise RuntimeError('the fake API server is not started: use "with FakeKube() as kube:"')
        return f"http://127.0.0.1:{self._server.server_port}"

    def kubeconfig(self, path: Path, *, token: str = "", namespace: str = "default", context: str = "fake") -> Path:
        """Writes a kubeconfig with one context for this server; without a token, the administrator's."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": context, "context": {"cluster": "fake", "user": "fake", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path

    def __enter__(self) -> FakeKube:
        self._server = serve(self)
        self._collector.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._collector.stop()
        with self.store.lock:
            self.store.lock.notify_all()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
