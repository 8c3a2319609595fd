"""The service level of a deployment's predictors on Kubernetes, from each pod's own page of metrics.

Asked through the API server's proxy, so that it needs no route into the cluster's network. A pod counts what it
answered; that it was started again, by the kubelet's probes or for want of memory, stands in its status.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlflow_hydraulic.deploy_targets.exposition import CPU, MEMORY, STARTED, Sample, histogram, samples
from mlflow_hydraulic.deploy_targets.kubernetes import identity, pod
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.resources import POD
from mlflow_hydraulic.deploy_targets.kubernetes.workload import is_ending, is_ready, told
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.service_level import Counters, Process

ERROR = 500
TOTAL_S = 5.0  # a pod that does not tell within it is asked again in the next pass
REQUESTS = "http_requests_total"
BUCKETS = "http_request_duration_seconds_bucket"


def service_level(cluster: Cluster, namespace: str, name: str, *, total_s: float = TOTAL_S) -> dict[str, Counters]:
    """The counters of each predictor, shadow included; without those of which some ready pod does not tell.

    That is so where something else than our scorer runs in the pod. `Unavailable` where the pods cannot be listed.
    """
    cluster = replace(cluster, patience=replace(cluster.patience, total_s=total_s, call_s=total_s))
    pods: dict[str, list[Json]] = {}
    for one in cluster.list(POD, namespace, labels=f"{identity.INSTANCE}={name}").items:
        found = told(one)
        if found is not None and not is_ending(one):
            pods.setdefault(found.predictor, []).append(one)
    told_of = {predictor: _counters(cluster, namespace, mine) for predictor, mine in pods.items()}
    return {predictor: counters for predictor, counters in told_of.items() if counters is not None}


def _counters(cluster: Cluster, namespace: str, pods: Sequence[Json]) -> Counters | None:
    processes: dict[str, Process] = {}
    bounds: tuple[float, ...] = ()
    for one in pods:
        restarts = sum(status.get("restartCount", 0) for status in _statuses(one))
        processes[one["metadata"]["name"]] = Process(started=0.0, restarts=restarts)
        if not is_ready(one):
            continue  # nobody is sent to it; what it counted before shows once it is ready again
        read = _read(cluster, namespace, one, restarts)
        if read is None:
            return None
        found, processes[one["metadata"]["name"]] = read
        if bounds and found and found != bounds:
            return None  # of two releases of the scorer: their buckets cannot be added up
        bounds = bounds or found  # a pod that nobody has asked yet tells no buckets
    return Counters(processes=processes, bounds_s=bounds, ready=sum(map(is_ready, pods)), wanted=len(pods))


def _read(cluster: Cluster, namespace: str, one: Json, restarts: int) -> tuple[tuple[float, ...], Process] | None:
    place = f"{one['metadata']['name']}:{_port(one)}"
    try:
        page = list(samples(cluster.text(POD.path(namespace, place, "proxy/metrics"), {})))
        return _process(page, restarts)
    except (HydraulicError, ValueError, OverflowError):
        return None  # the last two: another server's page, with "2xx" for a status, or no number


def _process(page: Sequence[Sample], restarts: int) -> tuple[tuple[float, ...], Process] | None:
    """What a page tells; None where it is not our scorer's. `ValueError` or `OverflowError` for values unlike ours."""
    started = next((sample.value for sample in page if sample.name == STARTED), None)
    if started is None:
        return None
    asked = [sample for sample in page if sample.name == REQUESTS and sample.labels.get("method") == "POST"]
    buckets = [sample for sample in page if sample.name == BUCKETS and sample.labels.get("method") == "POST"]
    bounds, counts = histogram(buckets)
    failed = (sample for sample in asked if int(sample.labels.get("status", "0")) >= ERROR)
    process = Process(
        started=started,
        requests=_sum(asked),
        errors=_sum(failed),
        buckets=counts,
        restarts=restarts,
        cpu_s=sum(sample.value for sample in page if sample.name == CPU),
        resident_bytes=_sum(sample for sample in page if sample.name == MEMORY),
    )
    return bounds, process


def _port(one: Json) -> int:
    """Where the model's container listens: the first port that it names, else the scorer's own."""
    for container in one["spec"]["containers"]:
        names = {variable["name"] for variable in container.get("env") or []}
        if pod.MODEL_URI in names and container.get("ports"):
            return int(container["ports"][0]["containerPort"])
    return pod.HTTP_PORT


def _statuses(one: Json) -> list[Json]:
    found: list[Json] = (one.get("status") or {}).get("containerStatuses") or []
    return found


def _sum(found: Iterable[Sample]) -> int:
    return int(sum(sample.value for sample in found))
