"""What each part of the monitoring page takes on the server, by how much is recorded: ratios to the smallest record.

python -m benchmarks.monitoring_pages [--predictions 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.record.values import Prediction, Served
from tests.support.monitored import Monitored, make_monitored
from tests.support.watching import SCHEMA, normal

SMALLEST = 10_000
DAYS = 30
ROUNDS = 5
PARTS = ("", "/service", "/drift", "/accuracy", "/anomalies", "/column", "/comparison")
AT_ONCE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    most = parser.parse_args().predictions
    sizes = [size for size in (SMALLEST, 100_000, 1_000_000) if size < most] + [most]
    taken = {size: measured(size) for size in sizes}
    print(f"{'part':<12}" + "".join(f"{size:>14,}" for size in sizes) + "   (ms of CPU; ratio to the smallest)")
    for part in PARTS:
        cells = [f"{1e3 * taken[size][part]:8.0f} {taken[size][part] / taken[sizes[0]][part]:4.1f}x" for size in sizes]
        print(f"{part or '/':<12}" + "".join(f"{cell:>14}" for cell in cells))


def measured(predictions: int) -> dict[str, float]:
    """Median seconds of CPU of each part over a month with so many predictions."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        monitored = make_monitored(Path(folder), patch, rows=0)
        fill(monitored, predictions)
        return {part: median(monitored, part) for part in PARTS}


def fill(monitored: Monitored, predictions: int) -> None:
    end = monitored.world.now.timestamp()
    with Store(monitored.world.folder / FILE) as store:
        for start in range(0, predictions, AT_ONCE):
            store.append(made(start, min(AT_ONCE, predictions - start), predictions, end), SCHEMA)


def made(start: int, count: int, of: int, end: float) -> Iterator[Prediction]:
    served = Served(
        target="seldon-local",
        namespace="prod",
        deployment="cooler",
        predictor="v3",
        model="cooler",
        version="3",
        digest="d",
    )
    rows = normal(count, start)
    for number in range(count):
        yield Prediction(
            served=served,
            id=f"n{start + number}",
            at=end - DAYS * 86_400 * (1 - (start + number + 1) / of),
            path="/invocations",
            status=200,
            latency_s=0.001,
            inputs=rows[number : number + 1],
            labels=np.array([20]),
            probabilities=np.array([[0.05, 0.9, 0.05]]),
            anomalous=np.array([number % 100 == 0]),
        )


def median(monitored: Monitored, part: str) -> float:
    taken = []
    monitored.get(part, last="30d")
    for _ in range(ROUNDS):
        begin = time.process_time()
        monitored.get(part, last="30d")
        taken.append(time.process_time() - begin)
    return sorted(taken)[ROUNDS // 2]


if __name__ == "__main__":
    main()
