"""The service level of predictors on Kubernetes: pods' own pages, as our scorer writes them, through the proxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.canary.judge import Verdict, judge
from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.deploy_targets.kubernetes.service_level import service_level
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.metrics import Metrics
from mlflow_hydraulic.scoring.values import ModelCard
from mlflow_hydraulic.service_level import since
from tests.fakekube.faults import Fault
from tests.support.kube_target import Rig, rig
from tests.support.kube_values import deployment, predictor

SCHEMA = Schema(inputs=(Field(name="ps1_bar", unit="bar"),), target="cool_cond_y", labels=(3, 20, 100))
RULES = Rules(hold_s=0, min_requests=20, max_error_rate=0.1, max_p99_ms=100)


@pytest.fixture
def seldon(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        made.target.apply(deployment(predictor("1", "v1", 95), predictor("2", "v2", 5, replicas=2)))
        yield made


def pods(seldon: Rig, name: str) -> list[str]:
    keys = [key.name for key in seldon.fake.kube.store.objects if key.plural == "pods"]
    return sorted(key for key in keys if key.startswith(f"cooler-{name}-"))


@contextmanager
def pages(seldon: Rig, **shown: Metrics | bytes) -> Iterator[None]:
    """Every pod of these predictors shows this page; of "v2_1" the second pod of v2 alone does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, path = self.path.lstrip("/").partition("/")
            held = shown[name]
            body = (held if isinstance(held, bytes) else held.page()) if path == "metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:  # Any: http.server calls it so
            pass

    server.RequestHandlerClass = Page
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in shown:
        predictor_name, _, place = name.partition("_")
        for pod in pods(seldon, predictor_name)[slice(int(place), None) if place else slice(None)]:
            seldon.fake.kube.back("prod", f"pods/{pod}", f"http://127.0.0.1:{server.server_port}/{name}")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def metrics() -> Metrics:
    return Metrics(ModelCard(name="cooler", version="1", digest="d", engine="onnx", schema=SCHEMA))


def test_all_pods_of_a_predictor_are_counted_and_health_checks_are_not(seldon: Rig) -> None:
    old, new = metrics(), metrics()
    with pages(seldon, v1=old, v2=new):
        mark = service_level(seldon.cluster, "prod", "cooler")
        assert {name: (one.ready, one.wanted) for name, one in mark.items()} == {"v1": (1, 1), "v2": (2, 2)}
        for _ in range(30):
            new.answered("POST", "/predict", 200, 0.004)
            new.answered("GET", "/ready", 503, 0.001)
        for _ in range(10):
            new.answered("POST", "/predict", 500, 0.004)
        now = service_level(seldon.cluster, "prod", "cooler")
    level = since(mark["v2"], now["v2"])
    assert (level.requests, level.errors, level.restarts) == (80, 20, 0), "two pods show one page here"
    assert level.quantile_s(0.99) == pytest.approx(0.005, abs=0.0002)
    assert since(mark["v1"], now["v1"]).requests == 0
    assert judge(RULES, level, None, 60).verdict is Verdict.BREACH


def test_a_restart_stands_in_the_status_and_the_counters_begin_anew(seldon: Rig) -> None:
    old, new = metrics(), metrics()
    new.answered("POST", "/predict", 200, 0.004)
    with pages(seldon, v1=old, v2=new):
        mark = service_level(seldon.cluster, "prod", "cooler")
        again = metrics()
        again.started_s += 60
        again.answered("POST", "/predict", 200, 0.004)
        kube = seldon.fake.kube
        pod = kube["pods", "prod", pods(seldon, "v2")[0]]
        pod["status"]["containerStatuses"][0]["restartCount"] = 1
    with pages(seldon, v1=old, v2=again):
        level = since(mark["v2"], service_level(seldon.cluster, "prod", "cooler")["v2"])
    assert (level.requests, level.restarts) == (2, 1)
    assert judge(RULES, level, None, 60).verdict is Verdict.BREACH


def test_a_pod_that_does_not_tell_makes_its_predictor_unknown_and_no_other(seldon: Rig) -> None:
    with pages(seldon, v1=metrics()):
        assert set(service_level(seldon.cluster, "prod", "cooler", total_s=0.3)) == {"v1"}
    assert service_level(seldon.cluster, "prod", "none") == {}


def test_a_replica_that_nobody_asked_yet_hides_no_durations(seldon: Rig) -> None:
    asked, idle = metrics(), metrics()
    with pages(seldon, v2=asked, v2_1=idle):
        mark = service_level(seldon.cluster, "prod", "cooler")
        for _ in range(30):
            asked.answered("POST", "/predict", 200, 0.004)
        level = since(mark["v2"], service_level(seldon.cluster, "prod", "cooler")["v2"])
    assert (level.requests, level.ready) == (30, 2)
    assert level.quantile_s(0.99) == pytest.approx(0.005, abs=0.0002)
    assert judge(RULES, level, None, 60).verdict is Verdict.GOOD


@pytest.mark.parametrize(
    "sample",
    [
        b'http_requests_total{method="POST",status="2xx"} 3',
        b'http_requests_total{method="POST",status="200"} NaN',
        b'http_requests_total{method="POST",status="200"} +Inf',
        b'http_request_duration_seconds_bucket{method="POST",le="much"} 3',
        b'http_request_duration_seconds_bucket{method="POST",le="0.1"} NaN',
    ],
)
def test_another_servers_page_is_no_page_and_stops_nobody(seldon: Rig, sample: bytes) -> None:
    with pages(seldon, v1=metrics(), v2=b"process_start_time_seconds 1.0\n" + sample + b"\n"):
        assert set(service_level(seldon.cluster, "prod", "cooler", total_s=2.0)) == {"v1"}


def test_buckets_of_two_releases_are_not_added_up(seldon: Rig) -> None:
    new = metrics()
    new.answered("POST", "/predict", 200, 0.004)
    bucket = b'http_request_duration_seconds_bucket{method="POST",le="%s"} 1\n'
    other = b"process_start_time_seconds 1.0\n" + bucket % b"7.5" + bucket % b"+Inf"
    with pages(seldon, v1=metrics(), v2=new, v2_1=other):
        assert set(service_level(seldon.cluster, "prod", "cooler")) == {"v1"}


def test_pods_that_cannot_be_listed_are_no_pods_that_are_not_there(seldon: Rig) -> None:
    seldon.fake.kube.fail(Fault(kind="refused", code=500), path="/pods", times=10_000)
    with pytest.raises(Unavailable):
        service_level(seldon.cluster, "prod", "cooler", total_s=0.3)
