"""seldon-local when its machine is against it: hung scorers, failing shadows, full disks, lost feedback."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from mlflow_hydraulic.deploy_targets.local import scorers
from mlflow_hydraulic.deploy_targets.local.folder import Folder
from mlflow_hydraulic.deploy_targets.local.router import Router
from mlflow_hydraulic.deploy_targets.local.scorers import Launch, Slot
from mlflow_hydraulic.deploy_targets.local.table import Table
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Predictor
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.settings import Settings
from tests.support.local import (
    FAKE,
    ROOT,
    Load,
    deployment,
    fake_model,
    kill,
    kill_leftovers,
    local_target,
    processes_of,
    scorer_pids,
    until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses limits of Linux processes")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path
    kill_leftovers(tmp_path)


@pytest.fixture
def target(home: Path) -> LocalTarget:
    return local_target(home)


async def posted(router: Router, path: str = "/invocations") -> tuple[int, dict[str, Any]]:
    """What `router` answers to one POST."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "raw_path": path.encode(), "query_string": b"", "headers": []}
    await router(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def becomes(slot: Slot, *, ready: bool) -> None:
    """The keeper of `slot` sees it so; the caller has the deadline."""
    while slot.replica.ready != ready:
        await asyncio.sleep(0.02)


async def no_metrics() -> str:
    return ""


def test_a_hung_scorer_is_replaced_and_the_request_it_held_is_answered(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "HEALTH_S", 0.1)
    monkeypatch.setattr(scorers, "HEALTH_TIMEOUT_S", 0.5)
    model = fake_model(home, "1")

    async def hang() -> None:
        reading, writing = os.pipe()
        router = Router("default", "cooler", 1 << 20, no_metrics)
        launch = Launch(settings=Settings(home=home), command=FAKE, pipe=reading, changed=router.wake)
        slot = Slot("s1", model, "default", engine="auto", log_file=home / "s1.log", launch=launch)
        await slot.start()
        try:
            router.swap(Table(deployment(model), {"default": [slot.replica]}))
            hung = slot.pid
            assert (await posted(router))[1]["pid"] == hung
            os.kill(hung, signal.SIGSTOP)
            status, answer = await asyncio.wait_for(posted(router), 60)
            assert status == 200
            assert answer["pid"] == slot.pid != hung
            assert not psutil.pid_exists(hung)
            assert slot.crashes == 1
        finally:
            await slot.stop()
            os.close(writing)
            os.close(reading)

    asyncio.run(hang())


def test_one_hung_scorer_of_two_gets_no_more_requests_once_it_is_seen_to_hang(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "HEALTH_S", 0.1)
    monkeypatch.setattr(scorers, "HEALTH_TIMEOUT_S", 0.5)
    monkeypatch.setattr(scorers, "SICK", 1000)  # seen to hang, not yet replaced
    model = fake_model(home, "1")

    async def hang() -> None:
        reading, writing = os.pipe()
        launch = Launch(settings=Settings(home=home), command=FAKE, pipe=reading, changed=lambda: None)
        slots = [
            Slot(f"s{n}", model, "default", engine="auto", log_file=home / f"s{n}.log", launch=launch) for n in (1, 2)
        ]
        router = Router("default", "cooler", 1 << 20, no_metrics)
        await asyncio.gather(*(slot.start() for slot in slots))
        try:
            router.swap(Table(deployment(model, replicas=2), {"default": [slot.replica for slot in slots]}))
            os.kill(slots[0].pid, signal.SIGSTOP)
            await becomes(slots[0], ready=False)
            pids = {(await posted(router))[1]["pid"] for _ in range(10)}
            assert pids == {slots[1].pid}
            os.kill(slots[0].pid, signal.SIGCONT)
            await becomes(slots[0], ready=True)  # without being started anew
            assert slots[0].crashes == 0
        finally:
            await asyncio.gather(*(slot.stop() for slot in slots))
            os.close(writing)
            os.close(reading)

    asyncio.run(asyncio.wait_for(hang(), 60))


def shadow_counts(url: str) -> dict[str, int]:
    lines = requests.get(f"{url}/metrics", timeout=60).text.splitlines()
    found = [line for line in lines if line.startswith("hydraulic_router_shadow_total{")]
    return {line.split('outcome="')[1].split('"')[0]: int(line.split()[-1]) for line in found}


def test_a_shadow_that_fails_and_is_killed_leaves_the_answers_alone(home: Path, target: LocalTarget) -> None:
    good, flaky = fake_model(home, "1"), fake_model(home, "2", fail_every=3)
    url = target.apply(deployment(good, shadow=Predictor(name="shadow", model=flaky, traffic=100))).url

    def shadow() -> int:
        seen = Folder(home, "default", "cooler").read_seen()
        assert seen is not None
        return next(s.pid for s in seen.scorers if s.predictor == "shadow")

    load = Load(url)
    with load.running(callers=2):
        until(lambda: shadow_counts(url)["failed"] > 2, "failures of the shadow")
        before = shadow()
        kill(before)
        until(lambda: shadow() != before, "a new shadow")
        until(lambda: target.get("default", "cooler").state == "healthy", "healthy again")
    assert load.failures == []
    assert {version for *_, version in load.answers} == {"1"}


def test_a_full_disk_fails_the_change_and_what_serves_goes_on(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    second = deployment(fake_model(home, "2"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(Failed, match=r"spec\.json: cannot be written: .*make room"):
            target.apply(second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.get("default", "cooler").state == "healthy"
    assert not list((home / "local" / "default" / "cooler").glob(".spec.json*"))
    assert requests.post(f"{url}/invocations", data=b"{}", timeout=60).json()["version"] == "1"
    assert target.apply(second).serving == second


def test_a_full_disk_keeps_nobody_from_deleting(home: Path, target: LocalTarget) -> None:
    target.apply(deployment(fake_model(home, "1")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        target.delete("default", "cooler")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.observe() == []
    assert processes_of(home) == []


def test_a_supervisor_that_can_write_nothing_goes_on_serving_and_restarting(home: Path, target: LocalTarget) -> None:
    observed = target.apply(deployment(fake_model(home, "1")))
    [before] = scorer_pids(home)
    supervisor = observed.pid or 0
    limit = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, limit[1]))
    kill(before)
    answer = requests.post(f"{observed.url}/invocations", data=b"{}", timeout=60).json()
    assert (answer["version"], answer["pid"] != before) == ("1", True)
    assert scorer_pids(home) == [before]  # nothing could be written
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, limit)
    until(lambda: scorer_pids(home) == [answer["pid"]], "the state is written once there is room")
    assert target.get("default", "cooler").state == "healthy"


def test_a_model_that_does_not_fit_on_the_disk_is_refused_and_nothing_of_it_stays(home: Path) -> None:
    (home / "model").mkdir()
    (home / "model" / "MLmodel").write_text("flavors: {}")
    (home / "model" / "weights").write_bytes(b"x" * 50_000)
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from mlflow_hydraulic.plugin.models import fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "fetch(sys.argv[1] + '/model', Path(sys.argv[1]))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=False)
    assert "make room, or set HYDRAULIC_HOME" in ran.stderr.splitlines()[-1]
    assert [path.name for path in (home / "models").iterdir()] == ["index"]


def test_feedback_waits_for_the_scorer_and_reaches_it_once(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    feedback = f"{url}/api/v1.0/feedback"
    [before] = scorer_pids(home)
    assert requests.post(feedback, data=b"{}", timeout=60).json()["pid"] == before
    kill(before)
    until(lambda: not psutil.pid_exists(before), "its end")
    answer = requests.post(feedback, data=b"{}", timeout=60)  # nothing could be sent: asked again, no 502 at once
    assert answer.status_code == 200
    assert answer.json()["pid"] != before


def test_feedback_that_may_have_been_read_is_not_told_twice(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    before = scorer_pids(home)
    answer = requests.post(f"{url}/api/v1.0/feedback", data=b"die", timeout=60)
    assert answer.status_code == 502
    until(lambda: scorer_pids(home) != before, "a new scorer")
    until(lambda: target.get("default", "cooler").state == "healthy", "healthy again")
    log = "\n".join(target.logs("default", "cooler")["supervisor"])
    assert log.count("ended with code 9") == 1  # a second reader would have died as well


def test_feedback_under_updates_is_told_once_each_and_never_refused(home: Path, target: LocalTarget) -> None:
    models = [fake_model(home, str(n), slow_s=0.05) for n in range(4)]
    url = target.apply(deployment(models[0])).url
    load = Load(url)
    with load.running(callers=4, path="/api/v1.0/feedback"):
        for model in models[1:]:
            target.apply(deployment(model))
    assert load.failures == []  # feedback is never asked again, so this holds only if what is stopped is drained first


def test_answers_that_come_while_a_change_waits_are_not_held_up(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    never = deployment(fake_model(home, "2", never_ready=True))
    changing = threading.Thread(target=lambda: target.apply(never, wait=False))
    changing.start()
    changing.join()
    assert requests.post(f"{url}/invocations", data=b"{}", timeout=10).json()["version"] == "1"


BLOCKED = """
import sys
for name in ("numpy", "pandas", "sqlalchemy", "sklearn", "scipy", "pyarrow", "onnxruntime"):
    sys.modules[name] = None
from mlflow_hydraulic.plugin import seldon_local
from mlflow.deployments import get_deploy_client
client = get_deploy_client("seldon-local")
assert type(client) is seldon_local.SeldonLocalClient
assert client.list_deployments() == []
assert "shadow" in seldon_local.target_help()
"""


def test_the_plugin_is_imported_and_lists_without_what_mlflow_skinny_lacks(home: Path) -> None:
    environ = {**os.environ, "HYDRAULIC_HOME": str(home)}
    subprocess.run([sys.executable, "-c", BLOCKED], env=environ, check=True, timeout=120)
