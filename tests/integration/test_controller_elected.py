"""Two controllers in a cluster, as the chart starts them: one leads, by the Lease; killed, the other goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.servers import QUIET, ROOT
from tests.services import free_port
from tests.support.local import until

pytestmark = pytest.mark.slow
CONFIGURATION = """
bindings = "aliases"
[environments.dev]
target = "seldon"
namespace = "hydraulic-dev"
[environments.dev.kubernetes]
tracking_uri = "http://hydraulic-server.mlflow.svc:5000"
[environments.prod]
target = "seldon"
namespace = "hydraulic-prod"
[environments.prod.kubernetes]
tracking_uri = "http://hydraulic-server.mlflow.svc:5000"
"""
LEASE = ("leases", "mlflow", "hydraulic-controller")
MODEL = ("seldondeployments", "hydraulic-dev", "cooler")


@dataclass(frozen=True)
class Replica:
    """One pod of the controller."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def leads(self) -> bool:
        return "hydraulic_controller_leader 1" in self.ask("/metrics").splitlines()


@dataclass(frozen=True)
class Place:
    """A fake cluster and a registry; `environ` is that of a controller in it."""

    cluster: SeldonCluster
    registry: MlflowClient
    folder: Path
    environ: dict[str, str]

    def promote(self, version: int) -> None:
        self.registry.set_registered_model_alias("cooler", "dev", str(version))

    @contextmanager
    def replica(self, name: str, *more: str) -> Iterator[Replica]:
        port, log = free_port(), self.folder / f"{name}.log"
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "controller", "--interval", "0.5"]
        command += ["--elect", "mlflow/hydraulic-controller", "--health-port", str(port), *more]
        with log.open("wb") as output:
            environ = {**self.environ, "HYDRAULIC_HOME": str(self.folder / name)}
            process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        one = Replica(process, log, port)
        try:
            until(lambda: process.poll() is not None or "Lease" in one.said(), "it knows who leads", deadline_s=120)
            assert process.poll() is None, one.said()
            yield one
        finally:
            process.terminate()
            process.wait(60)

    def holder(self) -> str:
        return str(self.cluster.kube[LEASE]["spec"]["holderIdentity"])


@pytest.fixture
def place(tmp_path: Path, small_saved: Path) -> Iterator[Place]:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = MlflowClient(tracking_uri=uri, registry_uri=uri)
    registry.create_registered_model("cooler")
    for _ in range(2):
        registry.create_model_version("cooler", source=str(small_saved))
    (tmp_path / "hydraulic.toml").write_text(CONFIGURATION, encoding="utf-8")
    with seldon_cluster("mlflow", "hydraulic-dev", "hydraulic-prod") as cluster:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))}
        ours = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
            "MLFLOW_TRACKING_URI": uri,
            "HYDRAULIC_CONFIG": str(tmp_path / "hydraulic.toml"),
            "HYDRAULIC_LEASE_S": "3",
            "KUBECONFIG": str(cluster.kube.kubeconfig(tmp_path / "kubeconfig")),
        }
        yield Place(cluster, registry, tmp_path, {**kept, **QUIET, **ours})


def runs(place: Place, version: int) -> bool:
    return MODEL in place.cluster.kube and f"models:/cooler/{version}" in str(place.cluster.kube[MODEL])


def test_a_dry_run_tells_and_changes_nothing_and_hands_over_when_it_ends(place: Place) -> None:
    with place.replica("one", "--dry-run", "--watch") as one:
        until(one.leads, "it leads")
        until(lambda: "would do" in one.said(), "the plan of an empty registry")
        place.promote(1)
        until(lambda: "create" in one.said(), "the plan is another")
        with place.replica("two", "--dry-run", "--watch") as two:
            assert not two.leads()
            assert one.ask("/livez") == two.ask("/readyz") == "ok\n"
            one.process.send_signal(signal.SIGTERM)
            assert one.process.wait(60) == 0
            until(two.leads, "what was given back is taken at once", deadline_s=10)
            until(lambda: "create" in two.said(), "it tells the plan too")
    assert place.holder() == "", "given back"
    assert MODEL not in place.cluster.kube
    assert {method for method, path, _ in place.cluster.kube.requests if "/leases" not in path} == {"GET"}


def test_the_leader_is_killed_and_the_other_goes_on(place: Place) -> None:
    place.promote(1)
    with place.replica("one") as one:
        until(lambda: runs(place, 1), "it acts", deadline_s=60)
        first = place.holder()
        with place.replica("two") as two:
            one.process.kill()
            one.process.wait(60)
            place.promote(2)
            until(lambda: runs(place, 2), "the other acts when the Lease has run out", deadline_s=60)
            assert two.leads()
            assert place.holder() != first
            assert place.cluster.kube[LEASE]["spec"]["leaseTransitions"] == 1
