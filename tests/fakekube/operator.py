"""A simulated Seldon operator: states, owned objects, and the `Available` of the old model right after an update.

A test starts it beside `FakeKube` and `Workloads`; `SeldonCluster` in `cluster` is all three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fakekube.loop import Loop
from tests.fakekube.objects import Options
from tests.fakekube.seldon_objects import ID, deployments_of, extras_of, service_name, services_of, status_of
from tests.fakekube.storage import Key
from tests.fakekube.webhook import seldon_webhook
from tests.fakekube.workloads import rolled_out

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
Backend = Callable[[Json, Json], str]
Asked = tuple[str, int]  # uid and generation: a name may be used again
WRITER = Options(manager="manager")  # what the real operator's binary is called
STATUS_WRITER = Options(manager="manager", status=True)
OWNED = {
    "Deployment": ("apps/v1", "deployments"),
    "Service": ("v1", "services"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
}


class SeldonOperator(Loop):
    """Keeps Deployments and Services in step with SeldonDeployments.

    stale_s: how long an update goes unnoticed, with the old status standing. backend: gives the local URL of a real
    scorer for (SeldonDeployment, predictor), once its pods are ready; calls through the service proxy go there.
    """

    plurals = ("seldondeployments", "deployments")

    def __init__(self, kube: FakeKube, *, stale_s: float = 0.02, backend: Backend | None = None) -> None:
        super().__init__(kube)
        self.backend = backend
        self._stale_s = stale_s
        self._held: set[str] = set()
        self._met: dict[Key, tuple[Asked, float]] = {}
        self._done: dict[Key, Asked] = {}
        self._backed: dict[tuple[str, str], str] = {}
        self._sdeps = kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
        self._deployments = kube.kind("apps/v1", "deployments")
        kube.objects.admission.append(seldon_webhook)

    def hold(self, step: str) -> None:
        """Stops before a step until `release`: "notice" (the old status stands) or "available"."""
        if step not in ("notice", "available"):
            raise ValueError(f'step {step!r}: hold "notice" or "available"')
        with self.store.lock:
            self._held.add(step)

    def release(self) -> None:
        """Goes on after `hold`."""
        with self.store.lock:
            self._held.clear()
        self.look_again()

    def behind(self) -> bool:
        """Whether some SeldonDeployment was changed and the change is not noticed yet."""
        with self.store.lock:
            return any(
                self._done.get(key) != (value["metadata"]["uid"], value["metadata"]["generation"])
                for key, value in self.store.objects.items()
                if key.plural == "seldondeployments"
            )

    def concerns(self, key: Key, value: Json) -> Key:
        """A Deployment's change is work for its SeldonDeployment."""
        if key.plural == "deployments" and (owner := value["metadata"].get("labels", {}).get(ID)):
            return Key.of(self._sdeps, key.namespace, owner)
        return key

    def reconcile(self, key: Key, value: Json | None) -> float | None:
        """Notices a change, makes the owned objects, reports what became of them."""
        if key.plural != "seldondeployments" or value is None or "deletionTimestamp" in value["metadata"]:
            return None
        asked = (value["metadata"]["uid"], value["metadata"]["generation"])
        if key not in self._met or self._met[key][0] != asked:
            self._met[key] = (asked, time.monotonic())
        if self._done.get(key) != asked:
            if "notice" in self._held:
                return None
            left = self._stale_s - (time.monotonic() - self._met[key][1])
            if left > 0:
                return left
            self._done[key] = asked
            self.store.lock.notify_all()  # whoever waits for `behind`
            self._make(key, value)
        self._report(key, value)
        return None

    def _make(self, key: Key, value: Json) -> None:
        wanted = [one for predictor in value["spec"]["predictors"] for one in deployments_of(value, predictor)]
        changed = [self._put(one) for one in wanted]
        for predictor in value["spec"]["predictors"]:
            for one in (*services_of(value, predictor), *extras_of(value, predictor)):
                self._put(one)
        if any(changed) or "state" not in value.get("status", {}):
            # A change of traffic alone changes no Deployment: the real operator stays Available then.
            self._set(key, value, wanted, "Creating")

    def _put(self, wanted: Json) -> bool:
        """Creates or updates one owned object; whether its spec changed."""
        resource = self.kube.kind(*OWNED[wanted["kind"]])
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        held = self.store.objects.get(Key.of(resource, namespace, name))
        if held is None:
            self.kube.objects.create(resource, namespace, wanted, WRITER)
            return True
        if held["spec"] == wanted["spec"] and held["metadata"]["labels"] == wanted["metadata"]["labels"]:
            return False
        body = {**wanted, "metadata": {**held["metadata"], **wanted["metadata"]}}
        self.kube.objects.update(resource, namespace, name, body, WRITER)
        return bool(held["spec"] != wanted["spec"])

    def _report(self, key: Key, value: Json) -> None:
        wanted = {
            one["metadata"]["name"]
            for predictor in value["spec"]["predictors"]
            for one in deployments_of(value, predictor)
        }
        owned = self.kube.objects.find(self._deployments, key.namespace, labelSelector=f"{ID}={key.name}")
        mine = [one for one in owned if one["metadata"]["name"] in wanted]
        late = [one["metadata"]["name"] for one in mine if _timed_out(one)]
        if all(rolled_out(one) for one in mine):
            if "available" in self._held:
                return
            self._back(key, value, mine)
            self._drop_others(key, value, wanted)
            self._set(key, value, mine, "Available")
        elif late:
            told = f"Deployment {late[0]} has timed out progressing: ProgressDeadlineExceeded"
            self._set(key, value, mine, "Failed", told)
        else:
            self._set(key, value, mine, "Creating")

    def _drop_others(self, key: Key, value: Json, deployments: set[str]) -> None:
        """Removes what predictors that are gone had: only now, as the new ones answer."""
        services = {
            one["metadata"]["name"]
            for predictor in value["spec"]["predictors"]
            for one in services_of(value, predictor)
        }
        keep = {"Deployment": deployments, "Service": services}
        for kind, (api_version, plural) in OWNED.items():
            resource = self.kube.kind(api_version, plural)
            for one in self.kube.objects.find(resource, key.namespace, labelSelector=f"{ID}={key.name}"):
                if one["metadata"]["name"] not in keep.get(kind, deployments):
                    self.kube.objects.delete(resource, key.namespace, one["metadata"]["name"], None)

    def _back(self, key: Key, value: Json, deployments: list[Json]) -> None:
        """Calls go to a scorer of the new model, for each predictor whose template changed."""
        if self.backend is None:
            return
        for predictor in value["spec"]["predictors"]:
            name = service_name(value, predictor)
            mine = [one for one in deployments if one["metadata"]["labels"].get("seldon-app") == name]
            served = repr([(one["metadata"]["uid"], one["spec"]["template"]) for one in mine])
            if self._backed.get((key.namespace, name)) == served:
                continue
            url = self.backend(value, predictor)
            for service in services_of(value, predictor):
                self.kube.back(key.namespace, service["metadata"]["name"], url)
            self._backed[(key.namespace, name)] = served

    def _set(self, key: Key, value: Json, deployments: list[Json], state: str, description: str = "") -> None:
        status = status_of(value, deployments, state, description)
        body = {**self.kube.objects.read(self._sdeps, key.namespace, key.name), "status": status}
        self.kube.objects.update(self._sdeps, key.namespace, key.name, body, STATUS_WRITER)


def _timed_out(deployment: Json) -> bool:
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return False  # what is told there is of the template before
    return any(one["type"] == "Progressing" and one["status"] == "False" for one in status.get("conditions", []))
