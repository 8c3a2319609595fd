"""`hydraulic serve-pod` as a real process: where it gets its model, what it refuses, and how it starts and ends."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import mlflow
import psutil
import pytest

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.scoring import seldon_proto as proto
from tests.scorers import NAMES, forest, good_rows
from tests.servers import Server, mlflow_server
from tests.support.gate import Gate
from tests.support.local import until
from tests.support.pods import DEADLINE_S, Pod, call, serve_pod

pytestmark = pytest.mark.slow
BODY = json.dumps({"data": {"ndarray": good_rows(1)}}).encode()
PREDICT = "/seldon.protos.Model/Predict"


@dataclass(frozen=True)
class Registered:
    """A registry behind a real server, with version 1 of the model `rig`."""

    server: Server
    digest: str
    artifacts: str  # mlflow-artifacts:/...

    @property
    def port(self) -> int:
        return urlsplit(self.server.uri).port or 0


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    flavor.save_model(forest(), folder)
    return folder


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    before = mlflow.get_tracking_uri()
    with mlflow_server(tmp_path_factory.mktemp("server"), app=None) as server:
        mlflow.set_tracking_uri(server.uri)
        mlflow.set_registry_uri(server.uri)
        try:
            mlflow.set_experiment("rig")
            with mlflow.start_run():
                flavor.log_model(
                    forest(), name="model", registered_model_name="rig", pip_requirements=["numpy==1.0", "no-such-lib"]
                )
            fetched = mlflow.artifacts.download_artifacts("models:/rig/1", dst_path=str(server.folder / "fetched"))
            artifacts = mlflow.MlflowClient().get_model_version_download_uri("rig", "1")
        finally:
            mlflow.set_tracking_uri(before)
            mlflow.set_registry_uri(None)
        yield Registered(server, digest_folder(Path(fetched)), artifacts)


@pytest.fixture
def gate(registered: Registered) -> Iterator[Gate]:
    made = Gate(registered.port)
    yield made
    made.close()


def _scores(pod: Pod) -> None:
    status, body = pod.ask("POST", "/predict", BODY)
    assert status == 200, body
    message = proto.SeldonMessage()
    message.data.tensor.shape.extend([1, len(NAMES)])
    message.data.tensor.values.extend(good_rows(1)[0])
    answer = call(pod.grpc_port, PREDICT, message, proto.SeldonMessage)
    assert [list(answer.data.tensor.values)] == json.loads(body)["data"]["ndarray"]


@pytest.mark.parametrize("kind", ["models", "mlflow-artifacts", "http"])
def test_the_model_comes_from_mlflow_or_its_artifact_store(registered: Registered, tmp_path: Path, kind: str) -> None:
    path = urlsplit(registered.artifacts).path
    uri = {
        "models": "models:/rig/1",
        "mlflow-artifacts": registered.artifacts,
        "http": f"{registered.server.uri}/api/2.0/mlflow-artifacts/artifacts{path}",
    }[kind]
    with serve_pod(tmp_path, uri, registered.digest, MLFLOW_TRACKING_URI=registered.server.uri) as pod:
        pod.wait_ready()
        _scores(pod)
        assert "no-such-lib" in pod.said() and "mismatches" in pod.said()  # it says so, and serves
    if kind == "models":  # a container that was restarted has its model already and asks nobody
        with serve_pod(tmp_path, uri, registered.digest, MLFLOW_TRACKING_URI="http://127.0.0.1:1") as pod:
            pod.wait_ready()
            assert pod.end() == 0, pod.said()


def test_a_folder_is_served_in_place_without_mlflow(saved: Path, tmp_path: Path) -> None:
    python = (sys.executable, "-X", "importtime")
    for uri in (str(saved), saved.as_uri()):
        with serve_pod(tmp_path, uri, digest_folder(saved), python=python) as pod:
            pod.wait_ready()
            _scores(pod)
            imported = set(re.findall(r"\| +([\w.]+)$", pod.said(), re.MULTILINE))
            assert "grpc" in imported and "engine onnxruntime" in pod.said()
            assert not imported & {"mlflow", "pandas", "sklearn", "pyarrow"}
            assert not (tmp_path / "home" / "models").exists()
            assert pod.ask("GET", "/v2/models/model/versions/7/ready")[0] == 200  # the graph node's name
            page = pod.ask("GET", "/metrics")[1].decode()
            assert f'http_requests_total{{method="POST",path="{PREDICT}",status="200"}} 1' in page
            assert "hydraulic_rows_total 2" in page  # the warm-up does not count


@pytest.mark.parametrize("where", ["folder", "registry"])
def test_another_model_than_the_digest_names_is_refused(
    saved: Path, registered: Registered, tmp_path: Path, where: str
) -> None:
    uri = str(saved) if where == "folder" else "models:/rig/1"
    with serve_pod(tmp_path, uri, "0" * 64, MLFLOW_TRACKING_URI=registered.server.uri) as pod:
        assert pod.process.wait(DEADLINE_S) == 7
        cause = pod.termination.read_text()
        assert "another model" in cause and "0" * 64 in cause and uri in cause
        assert "Traceback" not in pod.said()


@pytest.mark.parametrize(("uri", "words"), [("models:/rig/99", "rig"), ("/nowhere/model", "no file MLmodel")])
def test_a_model_that_is_not_there_ends_the_pod_with_the_cause(
    registered: Registered, tmp_path: Path, uri: str, words: str
) -> None:
    with serve_pod(tmp_path, uri, "0" * 64, MLFLOW_TRACKING_URI=registered.server.uri) as pod:
        assert pod.process.wait(DEADLINE_S) == 4, pod.said()
        assert words in pod.termination.read_text() and uri in pod.termination.read_text()


def test_a_server_that_is_away_is_asked_again_until_it_is_back(
    registered: Registered, gate: Gate, tmp_path: Path
) -> None:
    with serve_pod(tmp_path, "models:/rig/1", registered.digest, MLFLOW_TRACKING_URI=gate.uri) as pod:
        until(lambda: "attempt 1 failed" in pod.said(), "the first attempt failed")
        assert pod.ask("GET", "/live")[0] == 200
        status, reason = pod.ready()
        assert status == 503 and "models:/rig/1" in reason and "fetch" in reason
        assert pod.ask("POST", "/predict", BODY)[0] == 503
        gate.open()
        pod.wait_ready()
        _scores(pod)


def test_a_server_that_stays_away_ends_the_pod_with_the_cause(gate: Gate, tmp_path: Path) -> None:
    asked = serve_pod(tmp_path, "models:/rig/1", "0" * 64, MLFLOW_TRACKING_URI=gate.uri, HYDRAULIC_START_TIMEOUT_S="2")
    with asked as pod:
        assert pod.process.wait(DEADLINE_S) == 8
        cause = pod.termination.read_text()
        assert re.search(r"asked \d times", cause) and "MLFLOW_TRACKING_URI" in cause


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pod_that_ends_while_it_fetches_leaves_no_process(
    registered: Registered, gate: Gate, tmp_path: Path, number: signal.Signals
) -> None:
    gate.stall()
    with serve_pod(tmp_path, "models:/rig/1", registered.digest, MLFLOW_TRACKING_URI=gate.uri) as pod:
        until(lambda: gate.asked, "MLflow was asked")
        child = psutil.Process(pod.process.pid).children()[0]
        pod.process.send_signal(number)
        assert pod.process.wait(DEADLINE_S) == (8 if number == signal.SIGTERM else -9)
        psutil.wait_procs([child], timeout=DEADLINE_S)
        assert not child.is_running()
        cause = pod.termination.read_text()
        assert number == signal.SIGKILL or "told to stop before it was ready, while fetching models:/rig/1" in cause


def test_sigterm_under_load_loses_nothing_that_was_accepted(saved: Path, tmp_path: Path) -> None:
    with serve_pod(tmp_path, str(saved), digest_folder(saved)) as pod:
        pod.wait_ready()
        load = _Load(pod)
        until(lambda: load.answered["http"] > 50 and load.answered["grpc"] > 50, "both are under load")
        load.ending.set()  # from here on a new connection or call may be refused
        pod.process.send_signal(signal.SIGTERM)
        assert pod.process.wait(DEADLINE_S) == 0, pod.said()
        load.end()
        assert load.failed == []
        assert load.after["http"], "the pod lingers: what is sent after SIGTERM is answered too"
        assert "stopped: every request that was accepted is answered" in pod.said()


class _Load:
    """Callers over HTTP (a connection a request) and gRPC (one channel each) until the pod refuses or `end`."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.ending, self.stop = pod, threading.Event(), threading.Event()
        self.answered, self.after = {"http": 0, "grpc": 0}, {"http": 0, "grpc": 0}
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=ask) for ask in (self._http, self._http, self._grpc, self._grpc)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)

    def _count(self, kind: str) -> None:
        self.answered[kind] += 1
        self.after[kind] += self.ending.is_set()

    def _http(self) -> None:
        while not self.stop.is_set():
            begun_before = not self.ending.is_set()
            try:
                status, body = self.pod.ask("POST", "/predict", BODY)
            except (ConnectionRefusedError, ConnectionResetError) as error:  # not accepted any more
                if begun_before:
                    self.failed.append(repr(error))
                return
            if status != 200:
                self.failed.append(f"{status} {body!r}")
            self._count("http")

    def _grpc(self) -> None:
        message = proto.SeldonMessage()
        message.data.tensor.shape.extend([1, len(NAMES)])
        message.data.tensor.values.extend(good_rows(1)[0])
        with grpc.insecure_channel(f"127.0.0.1:{self.pod.grpc_port}") as channel:
            method = channel.unary_unary(
                PREDICT,
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=proto.SeldonMessage.FromString,
            )
            while not self.stop.is_set():
                begun_before = not self.ending.is_set()
                try:
                    method(message, timeout=DEADLINE_S)
                except grpc.RpcError as error:
                    if begun_before or error.code() != grpc.StatusCode.UNAVAILABLE:
                        self.failed.append(f"{error.code()} {error.details()}")
                    return
                self._count("grpc")
