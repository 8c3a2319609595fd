"""A million predictions, 200 000 true values for them, late and in any order: is every pair right, and in what memory?

A fresh process takes and joins them in files of its own; this one holds what came out against numpy's answer.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.report import Row, run
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Actual
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Prediction, Served
from mlflow_hydraulic.schema import Field, Schema

PREDICTIONS, ACTUALS, BATCH = 1_000_000, 200_000, 10_000
LABELS = (3, 20, 100)
SCHEMA = Schema(inputs=(Field(name="psa_bar"), Field(name="tsa_temp")), target="cool_cond_y", labels=LABELS)
SERVED = Served(target="t", namespace="prod", deployment="cooler", predictor="v1", model="c", version="1", digest="d")


def measure() -> list[Row]:
    """Wrong pairs, and peak memory of the process that joins in MB."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "benchmarks.actuals_join", "--join-in", temporary]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seen = json.loads(done.stdout.splitlines()[-1])
    what = f"{PREDICTIONS:,} predictions, {ACTUALS:,} true values in any order:"
    return [
        Row(
            what=f"{what} pairs that are wrong or missing", measured=seen["wrong"], asked=0, unit="pairs", at_most=True
        ),
        Row(what=f"{what} peak memory", measured=seen["peak_mb"], unit="MB", detail=seen),
    ]


def join_in(folder: Path) -> dict[str, float]:
    """Record, take, join; half of the truths come before their predictions, a tenth is corrected later."""
    rng = np.random.default_rng(7)
    predicted = rng.integers(len(LABELS), size=PREDICTIONS)
    chosen = rng.permutation(PREDICTIONS)[:ACTUALS]
    truth = rng.integers(len(LABELS), size=ACTUALS)
    with Store(folder / "record.db") as record, ActualStore(folder / "actuals.db") as actuals:
        floor_mb = _peak_mb()
        timings = {"take_s": 0.0, "join_s": 0.0, "record_s": 0.0}

        def timed(name: str, since: float) -> None:
            timings[name] += time.perf_counter() - since

        for half in range(2):
            for start in range(half * PREDICTIONS // 2, (half + 1) * PREDICTIONS // 2, BATCH):
                began = time.perf_counter()
                record.append((_prediction(n, predicted[n]) for n in range(start, start + BATCH)), SCHEMA)
                timed("record_s", began)
            for start in range(half * ACTUALS // 2, (half + 1) * ACTUALS // 2, BATCH):
                began = time.perf_counter()
                pairs = zip(chosen[start : start + BATCH], truth[start : start + BATCH], strict=True)
                actuals.take([Actual(id=f"{n:x}", value=LABELS[t], at=1.0) for n, t in pairs], now=2.0)
                timed("take_s", began)
            began = time.perf_counter()
            actuals.join(record)
            timed("join_s", began)
        corrected = rng.permutation(ACTUALS)[: ACTUALS // 10]
        truth[corrected] = (truth[corrected] + 1) % len(LABELS)
        actuals.take([Actual(id=f"{chosen[k]:x}", value=LABELS[truth[k]], at=3.0) for k in corrected], now=4.0)
        actuals.join(record)
        peak_mb = _peak_mb()
        (found,) = actuals.labelled(namespace="prod", deployment="cooler")
    wanted = np.full(PREDICTIONS, -9.0)
    wanted[chosen] = truth
    order = np.flatnonzero(wanted >= 0)
    same_length = len(found) == len(order)
    wrong = (
        int(np.sum((found.truth != wanted[order]) | (found.predicted != predicted[order]))) if same_length else ACTUALS
    )
    return {"wrong": wrong, "peak_mb": round(peak_mb), "before_mb": round(floor_mb), **timings}


def _prediction(number: int, label: int) -> Prediction:
    return Prediction(
        served=SERVED,
        id=f"{number:x}",
        at=float(number),
        path="/invocations",
        status=200,
        latency_s=0.001,
        inputs=np.array([[160.67, 35.6]]),
        labels=np.array([LABELS[label]]),
        probabilities=np.eye(len(LABELS))[[label]],
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    if sys.argv[1:2] == ["--join-in"]:
        print(json.dumps(join_in(Path(sys.argv[2]))))
    else:
        run(measure)
