"""DEV to PROD on Kubernetes, step by step: Staging, Production, a challenger, an A/B test, its winner, and a rollback.

Wants what docs/kubernetes.md sets up: MLflow's server with our app (MLFLOW_TRACKING_URI), a controller whose
environments dev and prod are on Kubernetes, a kubeconfig, and a registered model with three versions. Every command is
printed before it runs. It moves stages, tags and aliases of that model, and leaves version 1 in PROD.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]  # Any: JSON
HEALTHY_S = 300.0
CONTROLLER_S = 0.2  # between looks at the tags that it writes


@dataclass(frozen=True)
class Story:
    """One registered model; `rows` is a file of rows as `mlflow deployments predict -I` takes it."""

    url: str
    model: str
    dev: str
    prod: str
    rows: Path
    gateway: bool

    def move(self, version: int, stage: str, reason: str, *, archive: bool = False) -> None:
        """What a person does by the stage dialog of MLflow's page."""
        print(f"\n# {self.model} {version} to {stage}: {reason}", flush=True)
        body = {"name": self.model, "version": str(version), "stage": stage, "archive_existing_versions": archive}
        self._post("model-versions/transition-stage", body, reason)

    def weigh(self, version: int, share: int, reason: str) -> None:
        print(f"\n# {self.model} {version} is to get {share} %: {reason}", flush=True)
        body = {"name": self.model, "version": str(version), "key": "hydraulic.weight", "value": str(share)}
        self._post("model-versions/set-tag", body, reason)

    def challenge(self, version: int, reason: str) -> None:
        print(f"\n# {self.model} {version} is the challenger: {reason}", flush=True)
        body = {"name": self.model, "alias": "challenger", "version": str(version)}
        self._post("registered-models/alias", body, reason)

    def wait(self, environment: str, *versions: int) -> None:
        """Until the controller's tags say that exactly these versions run healthily there."""
        start, wanted, states = time.monotonic(), set(versions), {}
        key = f"hydraulic.{environment}.state"
        while time.monotonic() - start < HEALTHY_S:
            tags = {int(v["version"]): {t["key"]: t["value"] for t in v.get("tags", [])} for v in self._versions()}
            states = {version: found[key] for version, found in tags.items() if key in found}
            if states == dict.fromkeys(wanted, "healthy"):
                what = ", ".join(map(str, versions)) or "nothing"
                print(f"  {environment} runs {what}, healthy after {time.monotonic() - start:.1f} s", flush=True)
                return
            time.sleep(CONTROLLER_S)
        problems = {v: found.get(f"hydraulic.{environment}.problem") for v, found in tags.items()}
        sys.exit(f"{environment} does not run {versions} after {HEALTHY_S:g} s: {states}, {problems}")

    def predict(self, target: str) -> None:
        """Ask as `mlflow deployments predict` does: by the gateway, or by the API server's service proxy."""
        from mlflow.deployments import get_deploy_client
        from pandas import read_json

        print(f"\n$ mlflow deployments predict -t {target} --name {self.model} -I {self.rows}", flush=True)
        client = get_deploy_client(target)
        print(f"  {client.predict(self.model, read_json(self.rows))['predictions']}", flush=True)
        explained = client.explain(self.model, read_json(self.rows).head(1))
        print(f"  explained: {len(explained['features'])} contributions to each of {explained['outputs']}", flush=True)

    def share(self, times: int) -> None:
        """Ask PROD as any caller does, at the address that the controller wrote on its versions; who answered?"""
        if not self.gateway:
            return
        tags = [tag for version in self._versions() for tag in version.get("tags", [])]
        url = next(tag["value"] for tag in tags if tag["key"] == "hydraulic.prod.endpoint") + "/api/v1.0/predictions"
        rows = json.loads(self.rows.read_text(encoding="utf-8"))
        cells = [[column[at] for column in rows.values()] for at in next(iter(rows.values()))]
        body = json.dumps({"data": {"names": list(rows), "ndarray": cells}}).encode()
        who: Counter[str] = Counter()
        for _ in range(times):
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - the gateway
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - as above
                who[json.load(reply)["meta"]["tags"]["model_version"]] += 1
        said = ", ".join(f"version {version} {count}" for version, count in sorted(who.items()))
        print(f"\n  {times} requests to {url} were answered by: {said}", flush=True)

    def rollback(self, reason: str) -> None:
        command = ["hydraulic", "rollback", self.model, "--env", "prod", "--reason", reason, "--yes"]
        print(f"\n$ {' '.join(command)}", flush=True)
        subprocess.run([sys.executable, "-m", "mlflow_hydraulic.cli", *command[1:]], check=True)

    def _versions(self) -> list[Json]:
        query = urllib.parse.urlencode({"filter": f"name='{self.model}'"})
        with urllib.request.urlopen(f"{self.url}/api/2.0/mlflow/model-versions/search?{query}", timeout=60) as reply:  # noqa: S310 - MLflow's address
            found: list[Json] = json.load(reply).get("model_versions", [])
        return found

    def _post(self, path: str, body: Json, reason: str) -> None:
        headers = {"Content-Type": "application/json", "X-Hydraulic-Reason": reason}
        where = f"{self.url}/api/2.0/mlflow/{path}"
        request = urllib.request.Request(where, json.dumps(body).encode(), headers)  # noqa: S310 - as above
        try:
            urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error}: {error.read().decode(errors='replace')}")

    def tell(self) -> None:
        """The whole of it."""
        self.move(1, "Staging", "to be tried on known cycles")
        self.wait("dev", 1)
        self.predict(self.dev)
        self.move(1, "Production", "knows the cooler's three conditions")
        self.wait("prod", 1)
        self.wait("dev")
        self.predict(self.prod)
        self.challenge(3, "to see what it would have answered")
        self.wait("prod", 1, 3)
        self.share(50)
        self.weigh(1, 30, "an A/B test")
        self.weigh(2, 70, "an A/B test")
        self.move(2, "Production", "an A/B test against 1")
        self.wait("prod", 1, 2, 3)
        self.share(100)
        self.move(2, "Production", "it has won", archive=True)
        self.wait("prod", 2, 3)
        self.rollback("it is wrong on cold starts")
        self.wait("prod", 1, 2, 3)
        self.move(1, "Production", "back to what was before the test", archive=True)
        self.wait("prod", 1, 3)
        self.predict(self.prod)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="cooler")
    parser.add_argument("--rows", type=Path, required=True, help="rows as `mlflow deployments predict -I` takes them")
    parser.add_argument("--dev", default="seldon:/dev", help="target URI of the environment dev")
    parser.add_argument("--prod", default="seldon:/prod", help="target URI of the environment prod")
    parser.add_argument("--gateway", action="store_true", help="gateway_url is reached from here: see who answers")
    given = parser.parse_args()
    url = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not url.startswith("http"):
        sys.exit("MLFLOW_TRACKING_URI must name MLflow's server, as http://mlflow.example:5000")
    Story(url.rstrip("/"), given.model, given.dev, given.prod, given.rows, given.gateway).tell()


if __name__ == "__main__":
    main()
