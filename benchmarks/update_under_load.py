"""Updates a deployment of seldon-local again and again under load, and counts failed and mixed answers.

    python -m benchmarks.update_under_load [--updates 100] [--callers 4]

The models are two logistic regressions on three columns, saved by the hydraulic flavor and served by the real scorer
(onnxruntime); they answer the same row differently. A request fails when its answer is no 200. It is mixed when the
version in its header did not make the number in its body, or had been replaced before the request was sent.
"""

from __future__ import annotations

import argparse
import bisect
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests

from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.settings import Settings

ROW = {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.0, 1.0, 1.0]]}}
ANSWERS = (3.0, 20.0)  # what the two models say of ROW


@dataclass
class Load:
    """What callers saw: (sent, answered, version, prediction)."""

    url: str
    seen: list[tuple[float, float, int, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        with requests.Session() as session:
            while not self.ended.is_set():
                sent = time.monotonic()
                try:
                    answer = session.post(f"{self.url}/invocations", json=ROW, timeout=60)
                    if answer.status_code != 200:
                        self.failed.append(answer.text)
                        continue
                    version = int(answer.headers["X-Hydraulic-Version"])
                    self.seen.append((sent, time.monotonic(), version, answer.json()["predictions"][0]))
                except requests.RequestException as error:
                    self.failed.append(repr(error))


def save_models(folder: Path) -> list[Path]:
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    from mlflow_hydraulic.plugin import flavor

    X = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
    paths = []
    for index, sign in enumerate((-1, 1)):
        y = np.where(sign * (X.a + X.b) > 0, 20, 3)
        model = HydraulicModel(
            estimator=LogisticRegression().fit(X, y),
            schema=Schema(inputs=tuple(Field(name=name) for name in X.columns), target="y", labels=(3, 20)),
            features="means",
            origin="simulated",
            background=X.head(100),
        )
        paths.append(folder / f"model-{index}")
        flavor.save_model(model, str(paths[-1]))
    return paths


def deployment(models: list[ModelVersion], number: int) -> Deployment:
    model = replace(models[number % 2], version=str(number))
    return Deployment(name="bench", namespace="bench", predictors=(Predictor(name="default", model=model),))


def run(home: Path, updates: int, callers: int) -> dict[str, float]:
    models = [fetch(str(path), home) for path in save_models(home)]
    target = LocalTarget(Settings(home=home))
    load = Load(target.apply(deployment(models, 0)).url)
    threads = [threading.Thread(target=load.ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    asked, done = [0.0], [0.0]
    try:
        for number in range(1, updates + 1):
            asked.append(time.monotonic())
            target.apply(deployment(models, number), timeout_s=300)
            done.append(time.monotonic())
            print(f"\r{number} of {updates} updates, {len(load.seen)} answers", end="", file=sys.stderr)
    finally:
        load.ended.set()
        for thread in threads:
            thread.join()
        target.delete("bench", "bench")
    mixed = sum(
        not bisect.bisect_right(done, sent) - 1 <= version <= bisect.bisect_right(asked, answered) - 1
        or prediction != ANSWERS[version % 2]
        for sent, answered, version, prediction in load.seen
    )
    seconds = sorted(b - a for a, b in zip(asked[1:], done[1:], strict=True))
    waits = sorted(answered - sent for sent, answered, *_ in load.seen)
    return {
        "updates": updates,
        "answers": len(load.seen),
        "failed": len(load.failed),
        "mixed": mixed,
        "median_update_s": round(seconds[len(seconds) // 2], 2),
        "p50_answer_ms": round(1000 * waits[len(waits) // 2], 2),
        "p99_answer_ms": round(1000 * waits[int(len(waits) * 0.99)], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--callers", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="update-under-load-") as home:
        result = run(Path(home), given.updates, given.callers)
    print(file=sys.stderr)
    print(json.dumps(result))
    return int(result["failed"] + result["mixed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
