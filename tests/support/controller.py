"""A real controller process beside a real server, for integration tests: requests, waits, and what the ledger says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.evidence import database, ledger
from mlflow_hydraulic.plan import Wanted
from mlflow_hydraulic.settings import Settings
from tests.servers import QUIET, ROOT, Server
from tests.support.local import until


@dataclass(frozen=True, kw_only=True)
class Process:
    """A running controller. `log` is its file."""

    popen: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.popen.pid, number)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One server, one home of local deployments, one evidence database; `saved` is a model with a bundle."""

    server: Server
    home: Path
    saved: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))},
            **QUIET,
            **self.server.environment(),
            "PYTHONPATH": str(ROOT),
            "HYDRAULIC_HOME": str(self.home),
            "HYDRAULIC_DATABASE": self.server.backend,
            "HYDRAULIC_LEASE_S": "3",
            "HYDRAULIC_DRAIN_TIMEOUT_S": "5",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }

    def call(self, verb: str, path: str, **body: object) -> dict[str, object]:
        """One request to MLflow's REST API; fails the test where it is refused."""
        headers = {"X-Hydraulic-Reason": "asked by a test"}
        where = f"{self.server.uri}/api/2.0/mlflow/{path}"
        answer = requests.request(verb, where, json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        value: dict[str, object] = answer.json()
        return value

    def register(self, model: str, versions: int = 1) -> Path:
        """Versions of `model`, each with its own copy of the artefact; the folder of the last copy on the server."""
        import mlflow

        client = mlflow.MlflowClient(self.server.uri)
        self.call("POST", "registered-models/create", name=model)
        for _ in range(versions):
            run = client.create_run("0")
            client.log_artifacts(run.info.run_id, str(self.saved), "model")
            client.create_model_version(model, f"{run.info.artifact_uri}/model", run.info.run_id)
        return next(self.server.folder.glob(f"artifacts/**/{run.info.run_id}/artifacts/model"))

    def stage(self, model: str, version: int, stage: str, *, archive: bool = False) -> None:
        self.call(
            "POST",
            "model-versions/transition-stage",
            name=model,
            version=str(version),
            stage=stage,
            archive_existing_versions=archive,
        )

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        self.call("POST", "model-versions/set-tag", name=model, version=str(version), key=key, value=value)

    def alias(self, model: str, alias: str, version: int) -> None:
        self.call("POST", "registered-models/alias", name=model, alias=alias, version=str(version))

    def facts(self, model: str, version: int) -> dict[str, str]:
        answer = requests.get(
            f"{self.server.uri}/api/2.0/mlflow/model-versions/get",
            params={"name": model, "version": str(version)},
            timeout=60,
        )
        tags = answer.json()["model_version"].get("tags", [])
        return {tag["key"].removeprefix("hydraulic."): tag["value"] for tag in tags}

    @property
    def target(self) -> LocalTarget:
        return LocalTarget(Settings(home=self.home, drain_timeout_s=5.0))

    def seen(self, environment: str, name: str) -> Observed:
        return self.target.get(environment, name)

    def serves(self, environment: str, name: str) -> str:
        """What answers healthily there, in the plan's words: "v1 30%/v2 70% + challenger v3"; "" where nothing does."""
        seen = self.seen(environment, name)
        if seen.serving is None or seen.state != "healthy":
            return ""
        shadow = seen.serving.shadow
        return str(
            Wanted(
                arms=tuple((int(p.model.version), p.traffic) for p in seen.serving.predictors),
                challenger=int(shadow.model.version) if shadow else None,
                replicas=tuple((int(p.model.version), p.replicas) for p in seen.serving.predictors),
            )
        )

    def score(self, environment: str, name: str) -> str:
        """Ask with the model's own sample; the version that answered."""
        url = self.seen(environment, name).url
        sample = requests.get(f"{url}/model/sample_request", timeout=60).json()
        answer = requests.post(f"{url}/model/score", json=sample, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.headers["X-Hydraulic-Version"]

    def rows(self, model: str, *verbs: str) -> list[ledger.Row]:
        engine = database.open_database(self.server.backend)
        with engine.connect() as connection:
            found = [row for row in ledger.rows(connection, model=model) if not verbs or row.verb in verbs]
        engine.dispose()
        return found

    def check_ledger(self) -> None:
        """It verifies, and every row about what runs begins where the one before it ended: none lost, none doubled."""
        engine = database.open_database(self.server.backend)
        with engine.connect() as connection:
            found = ledger.verify(connection)
            runs = [row for row in ledger.rows(connection) if row.verb == "runs"]
        engine.dispose()
        assert found.holds, found.faults
        last: dict[str, str] = {}
        for row in runs:
            assert row.before == last.get(row.subject, "null"), row
            assert row.before != row.after, row
            last[row.subject] = row.after
        ran = {
            subject: [p["version"] for p in json.loads(a)["predictors"]] for subject, a in last.items() if a != "null"
        }
        now = {
            f"{one.namespace}/{one.name}": [p.model.version for p in one.serving.predictors]
            for one in self.target.observe()
            if one.serving and one.state == "healthy"
        }
        assert now == {subject: versions for subject, versions in ran.items() if subject in now}

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`hydraulic ARGUMENTS` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mlflow_hydraulic.cli", *arguments],
            env={**self.environment, **more},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    @contextmanager
    def controller(self, name: str = "controller", **more: str) -> Iterator[Process]:
        """`hydraulic controller`, which ends with the block: asked by SIGTERM it must end cleanly."""
        log = self.home / f"{name}.log"
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [sys.executable, "-m", "mlflow_hydraulic.cli", "controller", "--interval", "2"],
                env={**self.environment, **more},
                cwd=self.home,
                stdout=out,
                stderr=out,
            )
        process = Process(popen=popen, log=log)
        try:
            yield process
            if popen.poll() is None:
                popen.terminate()
                assert popen.wait(timeout=90) == 0, process.said()
                assert "ended; what it deployed goes on serving" in process.said()
        finally:
            if popen.poll() is None:
                popen.kill()
                popen.wait()

    def until_serves(self, environment: str, name: str, what: str, deadline_s: float = 90.0) -> None:
        try:
            until(lambda: self.serves(environment, name) == what, f"{environment}/{name} serves {what!r}", deadline_s)
        except AssertionError as error:
            logs = "\n".join(path.read_text()[-3000:] for path in self.home.glob("*.log"))
            raise AssertionError(f"{error}; it is {self.seen(environment, name)}\n{logs}") from error
