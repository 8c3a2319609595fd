"""Runs the pods of a fake cluster as real processes on this machine, and reports of them what a kubelet would.

Started beside `RealWorkloads` (in `node`); what a Service of such pods is, knows `endpoints`.
"""

from __future__ import annotations

import base64
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.deploy_targets.kubernetes import pod as told
from tests.fakekube.objects import Options, now
from tests.fakekube.refusal import Refusal
from tests.servers import ROOT
from tests.services import free_port

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
WRITER = Options(manager="kubelet", status=True)
LOOK_S = 0.05
PROBE_S = 2.0
ENTRYPOINT = (sys.executable, "-m", "mlflow_hydraulic.cli")  # what the image's `hydraulic` is


@dataclass
class Container:
    """One pod's container as a process. ready: what its readiness probe answered last."""

    pod: Json
    spec: Json
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    restarts: int = 0
    ready: bool = False
    was_ready: bool = False
    again_at: float | None = None
    reported: Json = field(default_factory=dict)


class Kubelet:
    """Starts the container `model` of every pod with its own command and variables; ends it with its pod.

    Of a pod's mounts only the writable home is there, in `folder`. A container that ends is started again after
    `backoff_s`. Ports are free ones of this machine: `address` tells which.
    """

    def __init__(self, kube: FakeKube, folder: Path, *, backoff_s: float = 2.0) -> None:
        self.kube = kube
        self.failures: list[str] = []
        self._folder, self._backoff_s = folder, backoff_s
        self._containers: dict[str, Container] = {}
        self._ending: list[subprocess.Popen[bytes]] = []
        self._pods = kube.kind("v1", "pods")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="Kubelet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends every container and waits for it."""
        self._ended.set()
        self._thread.join(timeout=30)
        for one in self._containers.values():
            self._end(one.process)
        for process in self._ending:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def address(self, uid: str) -> str:
        """Where the pod answers from this machine; "" where it is not ready."""
        one = self._containers.get(uid)
        return f"http://127.0.0.1:{one.port}" if one and one.ready else ""

    def pid(self, uid: str) -> int:
        """The process of a pod."""
        return self._containers[uid].process.pid

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self._sync()
            except Exception:  # noqa: BLE001 - it outlives what it trips over; the cluster reads `failures`
                self.failures.append(traceback.format_exc())

    def _sync(self) -> None:
        with self.kube.store.lock:
            there = {p["metadata"]["uid"]: p for p in self.kube.objects.find(self._pods)}
        for uid in self._containers.keys() - there.keys():
            self._end(self._containers.pop(uid).process)
        for uid, pod in there.items():
            one = self._containers.get(uid)
            if one is None:
                one = self._containers[uid] = self._started(pod)
            self._look(one)
            self._report(one)

    def _started(self, pod: Json, restarts: int = 0) -> Container:
        spec = next(c for c in pod["spec"]["containers"] if c["name"] == told.NODE)
        metadata, port = pod["metadata"], free_port()
        home = self._folder / metadata["uid"]
        home.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{metadata['name']}.log"
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))},
            "PYTHONPATH": str(ROOT),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self._variables(metadata["namespace"], spec),
            told.HOST: "127.0.0.1",
            told.HTTP_PORT_VARIABLE: str(port),
            told.GRPC_PORT_VARIABLE: str(free_port()),
            told.HOME: str(home),
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*ENTRYPOINT, *spec.get("args", [])],
                env=environ,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return Container(pod=pod, spec=spec, process=process, port=port, log=log, restarts=restarts)

    def _variables(self, namespace: str, spec: Json) -> dict[str, str]:
        found = {}
        for one in spec.get("env", []):
            if "value" in one:
                found[one["name"]] = one["value"]
                continue
            named = one["valueFrom"]["secretKeyRef"]
            secret = self.kube["secrets", namespace, named["name"]]
            found[one["name"]] = base64.b64decode(secret["data"][named["key"]]).decode()
        return found

    def _look(self, one: Container) -> None:
        if one.process.poll() is None:
            one.ready = _answers(one.port, one.spec["readinessProbe"]["httpGet"]["path"])
            one.was_ready |= one.ready
            return
        one.ready = False
        if one.again_at is None:
            one.again_at = time.monotonic() + (0.0 if one.was_ready else self._backoff_s)
        elif time.monotonic() >= one.again_at:
            fresh = self._started(one.pod, one.restarts + 1)
            self._containers[one.pod["metadata"]["uid"]] = fresh

    def _report(self, one: Container) -> None:
        status = self._status(one)
        if status == one.reported:
            return
        metadata = one.pod["metadata"]
        place = (metadata["namespace"], metadata["name"], told.NODE)
        text = one.log.read_text(errors="replace")
        with self.kube.store.lock:
            self.kube.log(*place, text)
            if one.process.poll() is not None:
                self.kube.log(*place, text, previous=True)
            try:
                now_there = self.kube.objects.read(self._pods, metadata["namespace"], metadata["name"])
            except Refusal:
                return  # it went meanwhile
            body = {**now_there, "status": {**status, "startTime": now()}}
            self.kube.objects.update(self._pods, metadata["namespace"], metadata["name"], body, WRITER)
        one.reported = status

    def _status(self, one: Container) -> Json:
        code = one.process.poll()
        mine: Json = {
            "name": told.NODE,
            "image": one.spec.get("image", ""),
            "imageID": "",
            "ready": one.ready,
            "started": one.was_ready,
            "restartCount": one.restarts,
            "state": {"running": {}},
        }
        if code is not None and not one.was_ready:
            ended = {"terminated": {"exitCode": code, "reason": "Error"}}
            message = f"back-off restarting failed container {told.NODE}"
            mine |= {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}}, "lastState": ended}
        others = [
            {
                "name": c["name"],
                "image": c.get("image", ""),
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {},
            }
            for c in one.pod["spec"]["containers"]
            if c["name"] != told.NODE
        ]
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(one.ready)}]
        return {"phase": "Running", "conditions": conditions, "containerStatuses": [mine, *others]}

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        self._ending.append(process)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
