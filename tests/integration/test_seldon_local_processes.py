"""seldon-local with real processes and a fake scorer: kills, bad versions, updates under load, two at once."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import psutil
import pytest
import requests

from mlflow_hydraulic.deploy_targets.local.folder import Folder, Options
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, Exists, Predictor
from mlflow_hydraulic.errors import Conflict, Failed, NotFound, Unavailable
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path
    kill_leftovers(tmp_path)


@pytest.fixture
def target(home: Path) -> LocalTarget:
    return local_target(home)


SECRET = {
    "MLFLOW_TRACKING_USERNAME": "admin",
    "MLFLOW_TRACKING_PASSWORD": "p",
    "MLFLOW_TRACKING_TOKEN": "t",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "k",
    "MLFLOW_AUTH_CONFIG_PATH": "/auth.ini",
    "HYDRAULIC_DATABASE": "sqlite:///m.db",
    "AWS_SECRET_ACCESS_KEY": "s",
    "SOME_API_TOKEN": "t",
    "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:pw@db/mlflow",
}
NEEDED = {"LD_LIBRARY_PATH": "/opt/lib", "TMPDIR": "", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def test_model_code_gets_no_secret_of_whoever_deployed_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRET, **NEEDED, "TMPDIR": str(home)}.items():
        monkeypatch.setenv(name, value)
    settings = Settings(home=home, database="postgresql://mlflow:pw@db/mlflow", threads=2)
    url = LocalTarget(settings, FAKE).apply(deployment(fake_model(home, "1"))).url
    names = set(ask(url, "/environ").json())
    assert not names & set(SECRET)
    assert {*NEEDED, "PATH", "PYTHONPATH", "HYDRAULIC_HOME", "HYDRAULIC_THREADS"} <= names
    for process in processes_of(home):
        assert not {"pw", "postgresql://mlflow:pw@db/mlflow"} & set(process.environ().values())
        assert not set(process.environ()) & set(SECRET)
    assert len(processes_of(home)) >= 2


def ask(url: str, path: str = "/invocations", **more: object) -> requests.Response:
    return requests.post(url + path, json={"inputs": [[1.0]]}, timeout=60, **more)  # type: ignore[arg-type]


def test_a_deployment_outlives_who_made_it_and_leaves_nothing(home: Path) -> None:
    model = fake_model(home, "1")
    code = (
        "from tests.support.local import *\nimport sys\n"
        "home = Path(sys.argv[1])\n"
        "m = ModelVersion(uri='models:/m/1', name='m', version='1', digest=sys.argv[2])\n"
        "print(local_target(home).apply(deployment(m)).url)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(home), model.digest], capture_output=True, text=True, check=True, cwd=ROOT
    )
    target = local_target(home)
    [observed] = target.observe()
    assert (observed.state, observed.url, observed.ready) == ("healthy", made.stdout.strip(), {"default": 1})
    assert ask(observed.url).json()["version"] == "1"
    assert (home / "local" / "default" / "cooler").stat().st_mode & 0o777 == 0o700
    assert len(processes_of(home)) == 2
    target.delete("default", "cooler")
    assert processes_of(home) == []
    assert target.observe() == []
    assert list((home / "local" / "default").iterdir()) == []
    target.delete("default", "cooler")  # once more does no harm


def test_what_a_caller_sees_is_what_seldon_shows(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    root = url.removesuffix("/seldon/default/cooler")
    answer = ask(
        url, "/api/v1.0/predictions?x=1", headers={"Seldon-Puid": "mine-1", "X-Hop": "h", "Connection": "X-Hop"}
    )
    assert answer.json()["path"] == "/api/v1.0/predictions?x=1"
    assert answer.headers["Seldon-Puid"] == "mine-1"
    assert answer.json()["headers"]["seldon-puid"] == "mine-1"
    assert "x-hop" not in answer.json()["headers"]
    assert answer.headers["X-Hydraulic-Predictor"] == "default"
    assert len(ask(root).headers["Seldon-Puid"]) == 36  # without the prefix too, with an id made here
    assert (ask(url, "/teapot").status_code, ask(url, "/teapot").json()["message"]) == (418, "short and stout")
    other = ask(root, "/seldon/default/other/invocations")
    assert other.status_code == 404
    assert "/seldon/default/cooler/" in other.json()["message"]
    metrics = requests.get(f"{root}/metrics", timeout=60).text
    assert 'scored_total{namespace="default",deployment="cooler",predictor="default",replica="s1"} 3' in metrics
    assert 'predictor="default",version="1",code="418"} 2' in metrics


def test_bodies_that_are_too_large_or_hostile_are_refused(home: Path) -> None:
    target = local_target(home)
    target._settings = dataclasses.replace(target._settings, max_body_mb=0.001)
    url = target.apply(deployment(fake_model(home, "1"))).url
    address = urlparse(url)
    assert requests.post(f"{url}/invocations", data=b"x" * 2000, timeout=60).status_code == 413
    chunks = (b"x" * 100 for _ in range(50))
    assert requests.post(f"{url}/invocations", data=chunks, timeout=60).status_code == 413
    assert ask(url).status_code == 200
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=60)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Length", "5")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = connection.getresponse()
    seen = answer.read()
    connection.close()
    assert b"smuggled" not in seen
    assert answer.status == 400 or json.loads(seen)["size"] == 0


def test_a_scorer_killed_under_load_comes_back_and_no_request_fails(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1", slow_s=0.01), replicas=2)).url
    load = Load(url)
    with load.running():
        for _ in range(3):
            before = scorer_pids(home)
            kill(before[0])
            until(lambda b=before: set(scorer_pids(home)) != set(b), "a new scorer")  # type: ignore[misc]
            until(lambda: target.get("default", "cooler").state == "healthy", "healthy again")
    assert load.failures == []


def test_the_only_scorer_killed_makes_requests_wait_not_fail(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    [pid] = scorer_pids(home)
    kill(pid)
    assert ask(url).json()["pid"] != pid


def test_a_request_that_kills_its_reader_ends_with_an_answer(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    answer = requests.post(f"{url}/invocations", data=b"die", timeout=120)
    assert answer.status_code in (502, 503)
    until(lambda: target.get("default", "cooler").state == "healthy", "healthy again")
    assert ask(url).status_code == 200


def test_a_scorer_that_always_crashes_is_reported_with_its_log(home: Path, target: LocalTarget) -> None:
    model = fake_model(home, "1")
    target.apply(deployment(model))
    (home / "models" / model.digest / "behaviour.json").write_text('{"crash": true}')  # tampered with
    kill(scorer_pids(home)[0])
    until(lambda: "digest" in target.get("default", "cooler").cause, "the cause")
    observed = target.get("default", "cooler")
    assert observed.state in ("unhealthy", "failed")
    assert ask(observed.url).status_code == 503
    assert ask(observed.url).headers["Retry-After"]


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ({"crash": True}, "the model is broken"),
        ({"never_ready": True}, "not ready"),
        ({"warm_fails": True}, "cannot score"),
    ],
)
def test_a_bad_version_never_replaces_a_good_one(home: Path, behaviour: dict[str, object], cause: str) -> None:
    target = local_target(home, start_timeout_s=4.0)
    url = target.apply(deployment(fake_model(home, "1"))).url
    pids = scorer_pids(home)
    with pytest.raises(Failed, match=cause) as raised:
        target.apply(deployment(fake_model(home, "2", **behaviour)))
    assert "version 1 goes on serving" in str(raised.value)
    observed = target.get("default", "cooler")
    assert (observed.state, observed.deployment and observed.deployment.predictors[0].model.version) == ("healthy", "1")
    assert "the last change failed" in observed.cause
    assert scorer_pids(home) == pids
    assert ask(url).json()["version"] == "1"
    # a supervisor that starts anew does not fall for it either
    kill(observed.pid or 0)
    until(lambda: processes_of(home) == [], "all ended")
    assert target.start("default", "cooler").url == url
    assert ask(url).json()["version"] == "1"


def test_a_deployment_that_cannot_start_leaves_nothing(home: Path, target: LocalTarget) -> None:
    with pytest.raises(Failed, match="the model is broken"):
        target.apply(deployment(fake_model(home, "1", crash=True)), mode="create")
    assert target.observe() == []
    assert processes_of(home) == []


def test_files_changed_after_the_fetch_are_not_served(home: Path, target: LocalTarget) -> None:
    model = fake_model(home, "1")
    (home / "models" / model.digest / "more.txt").write_text("x")
    with pytest.raises(Failed, match="digest"):
        target.apply(deployment(model))


def test_updates_under_load_lose_and_mix_nothing(home: Path, target: LocalTarget) -> None:
    models = [fake_model(home, str(n), slow_s=0.005) for n in range(9)]
    url = target.apply(deployment(models[0])).url
    load = Load(url)
    asked, done = [0.0], [0.0]
    with load.running():
        for model in models[1:]:
            asked.append(time.monotonic())
            target.apply(deployment(model))
            done.append(time.monotonic())
    assert load.failures == []
    for sent, answered, version in load.answers:
        oldest = max(n for n, when in enumerate(done) if when <= sent)
        newest = max(n for n, when in enumerate(asked) if when <= answered)
        assert oldest <= int(version) <= newest  # never by what an update had replaced before it was sent
    assert len({version for *_, version in load.answers}) >= 5


def test_after_an_update_the_old_version_answers_nothing(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    old = scorer_pids(home)
    target.apply(deployment(fake_model(home, "2"), replicas=2))
    assert {ask(url).json()["version"] for _ in range(20)} == {"2"}
    assert not any(psutil.pid_exists(pid) for pid in old)


def test_shares_replicas_and_roles_change_without_restarting_scorers(home: Path, target: LocalTarget) -> None:
    one, two = fake_model(home, "1"), fake_model(home, "2")

    def split(share: int, replicas: int = 1) -> Deployment:
        arms = (
            Predictor(name="default", model=one, traffic=100 - share, replicas=replicas),
            Predictor(name="b", model=two, traffic=share),
        )
        return Deployment(name="cooler", namespace="default", predictors=arms)

    url = target.apply(split(25)).url
    pids = set(scorer_pids(home))
    counts = Counter(ask(url).json()["version"] for _ in range(40))
    assert counts == {"1": 30, "2": 10}
    target.apply(split(50, replicas=2))
    assert pids < set(scorer_pids(home))
    target.apply(deployment(two))  # the arm becomes the main predictor, by the same process
    assert set(scorer_pids(home)) < pids
    assert ask(url).headers["X-Hydraulic-Predictor"] == "default"


@pytest.mark.parametrize("behaviour", [{"slow_s": 5}, {"fail": True}])
def test_a_shadow_never_touches_the_answer(home: Path, target: LocalTarget, behaviour: dict[str, object]) -> None:
    good = fake_model(home, "1")
    bad = fake_model(home, "2", **{k: v for k, v in behaviour.items() if k != "fail"}, **({"fail_later": 1}))
    if "fail" in behaviour:
        bad = fake_model(home, "3", fail=True, healthy_sample=True)
    shadow = Predictor(name="shadow", model=bad, traffic=100)
    if "fail" in behaviour:
        with pytest.raises(Failed, match="cannot score"):  # a shadow must be able to score as well
            target.apply(deployment(good, shadow=shadow))
        return
    url = target.apply(deployment(good, shadow=shadow), timeout_s=120).url
    started = time.monotonic()
    assert {ask(url).json()["version"] for _ in range(150)} == {"1"}
    assert time.monotonic() - started < 5 * 30  # far less than 150 waits of 5 s
    metrics = requests.get(f"{url}/metrics", timeout=60).text
    dropped = next(line for line in metrics.splitlines() if 'outcome="dropped"' in line)
    assert int(dropped.split()[-1]) > 0


def test_a_killed_supervisor_takes_its_scorers_along_and_can_be_started(home: Path, target: LocalTarget) -> None:
    made = target.apply(deployment(fake_model(home, "1"), replicas=2))
    kill(made.pid or 0)
    until(lambda: processes_of(home) == [], "no orphans")
    until(lambda: target.get("default", "cooler").state == "unhealthy", "seen to be down")
    observed = target.get("default", "cooler")
    assert "hydraulic local start cooler" in observed.cause
    started = target.start("default", "cooler")
    assert (started.state, started.url) == ("healthy", made.url)
    kill(started.pid or 0)
    until(lambda: processes_of(home) == [], "no orphans")
    assert target.apply(deployment(fake_model(home, "2"))).url == made.url  # an update brings it back as well


def test_stop_keeps_what_start_needs(home: Path, target: LocalTarget) -> None:
    url = target.apply(deployment(fake_model(home, "1"))).url
    assert "stopped" in target.stop("default", "cooler").cause
    assert processes_of(home) == []
    assert target.start("default", "cooler").url == url
    assert any("started as process" in line for line in target.logs("default", "cooler")["supervisor"])


def test_two_at_once_one_is_made_and_the_other_told(home: Path, target: LocalTarget) -> None:
    model = fake_model(home, "1")
    outcomes: list[str] = []

    def create() -> None:
        try:
            outcomes.append(local_target(home).apply(deployment(model), mode="create").state)
        except Exists:
            outcomes.append("exists")

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists", "exists", "healthy"]
    assert len(processes_of(home)) == 2
    generation = target.get("default", "cooler").generation
    target.apply(deployment(model, replicas=2), expected=generation)
    with pytest.raises(Conflict, match="changed by someone else"):
        target.apply(deployment(model), expected=generation)


def test_a_change_waits_for_who_changes_and_then_gives_up(home: Path, target: LocalTarget) -> None:
    from mlflow_hydraulic.deploy_targets.local.locks import exclusive

    folder = Folder(home, "default", "cooler")
    folder.make()
    with exclusive(folder.change_lock, wait_s=1), pytest.raises(Conflict, match=str(os.getpid())):
        target.apply(deployment(fake_model(home, "1")), timeout_s=0.2)


def test_the_port_is_kept_changed_and_refused(home: Path, target: LocalTarget, free_port: int) -> None:
    model = fake_model(home, "1")
    first = target.apply(deployment(model))
    moved = target.apply(deployment(model), options=Options(port=free_port))
    assert f":{free_port}/" in moved.url
    assert ask(moved.url).status_code == 200
    with pytest.raises(requests.ConnectionError):
        ask(first.url)
    with pytest.raises(Failed, match=f"{free_port}.*-C port"):
        target.apply(deployment(model, name="other"), options=Options(port=free_port))
    assert [o.name for o in target.observe()] == ["cooler"]


def test_what_is_not_there_and_what_is_not_ready(home: Path, target: LocalTarget) -> None:
    model = fake_model(home, "1", never_ready=True)
    with pytest.raises(NotFound, match="nix"):
        target.apply(deployment(model, name="nix"), mode="update")
    with pytest.raises(NotFound, match="nix"):
        target.start("default", "nix")
    with pytest.raises(Unavailable, match="timeout_s"):
        target.apply(deployment(model), timeout_s=1.0)
    assert target.get("default", "cooler").state == "launching"
    target.apply(deployment(fake_model(home, "2")))  # a later change takes over from one that hangs
    assert ask(target.get("default", "cooler").url).json()["version"] == "2"
