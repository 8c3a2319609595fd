"""The service level of a deployment's predictors on this machine, from its router's own page of metrics.

The router sees what callers see: all replicas of a predictor, the waits, and what no scorer answered.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from mlflow_hydraulic.deploy_targets.exposition import CPU, MEMORY, OF_PROCESS, STARTED, Sample, histogram, samples
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.service_level import Counters, Process

TIMEOUT_S = 5.0
ERROR = 500
ROUTER = "router"
FAMILY = "hydraulic_router_"


def service_level(observed: Observed) -> dict[str, Counters]:
    """The counters of each predictor of what serves; `Unavailable` where its router does not answer."""
    if observed.serving is None or not observed.url or observed.pid is None:
        raise Unavailable(f"deployment {observed.name!r} does not run: nobody counts")
    found = list(samples(_page(observed.url)))
    started = next((sample.value for sample in found if sample.name == f"{FAMILY}start_time_seconds"), None)
    if started is None:
        raise Unavailable(f"{observed.url}/metrics is no page of this version's router: start the deployment anew")
    return {
        predictor.name: Counters(
            processes=_processes(started, [s for s in found if s.labels.get("predictor") == predictor.name]),
            bounds_s=_bounds(found),
            ready=observed.ready.get(predictor.name, 0),
            wanted=predictor.replicas,
        )
        for predictor in observed.serving.all
    }


def _page(url: str) -> str:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}/metrics")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url}/metrics does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unavailable(f"{url}/metrics answers {answer.status}")
    return body.decode("utf-8", "replace")


def _processes(started: float, mine: Sequence[Sample]) -> dict[str, Process]:
    """The router, which counts requests, and each replica, of which only CPU time and memory are told."""
    replicas: dict[str, dict[str, float]] = {}
    for sample in mine:
        if sample.name in OF_PROCESS and "replica" in sample.labels:
            replicas.setdefault(sample.labels["replica"], {})[sample.name] = sample.value
    scorers = {
        name: Process(started=told[STARTED], cpu_s=told.get(CPU, 0.0), resident_bytes=int(told.get(MEMORY, 0.0)))
        for name, told in replicas.items()
        if STARTED in told
    }
    return {**scorers, ROUTER: _process(started, mine)}


def _process(started: float, mine: Sequence[Sample]) -> Process:
    requests = [sample for sample in mine if sample.name == f"{FAMILY}requests_total"]
    failed = [sample for sample in requests if int(sample.labels.get("code", "0")) >= ERROR]
    _, buckets = histogram(sample for sample in mine if sample.name == f"{FAMILY}request_seconds_bucket")
    return Process(
        started=started,
        requests=_sum(requests),
        errors=_sum(failed),
        buckets=buckets,
        restarts=_sum(sample for sample in mine if sample.name == f"{FAMILY}restarts_total"),
    )


def _bounds(found: Sequence[Sample]) -> tuple[float, ...]:
    return histogram(sample for sample in found if sample.name == f"{FAMILY}request_seconds_bucket")[0]


def _sum(found: Iterable[Sample]) -> int:
    return int(sum(sample.value for sample in found))
