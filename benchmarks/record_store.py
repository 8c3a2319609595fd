"""SQLite against Parquet as the store of predictions: why `record.store` is SQLite.

The same predictions (17 inputs, JSON bodies) in the batches that a shipper brings: into our store, and as Parquet files
with zstd, one a batch, read by pyarrow's dataset. Large batches are a busy scorer's, small ones a quiet one's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.report import Row, run, say
from mlflow_hydraulic.record.entries import Entry, head_of
from mlflow_hydraulic.record.store import Chunk, Store
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Field, Schema

PREDICTIONS = 100_000
BATCHES = {"1000 a batch": 1000, "20 a batch": 20}
SMALL_SHARE = 5  # small batches are measured on a fifth of them: Parquet takes long
SCHEMA = Schema(inputs=tuple(Field(name=f"PS{n}_mean") for n in range(17)), target="cool", labels=(3, 20, 100))
SERVED = Served(namespace="prod", deployment="cooler", predictor="default", model="m", version="1", digest="d" * 64)
START_NS, STEP_NS = 1_700_000_000 * 10**9, 10**6


def make_entries(count: int) -> list[Entry]:
    """Predictions as a scorer writes them."""
    random = np.random.default_rng(0)
    cells = random.normal(100, 20, (count, 1, 17))
    chances = random.dirichlet([1.0, 1.0, 1.0], (count, 1))
    made = []
    for number in range(count):
        body = {"dataframe_split": {"columns": list(SCHEMA.names), "data": cells[number].tolist()}}
        made.append(
            Entry(
                START_NS + number * STEP_NS,
                os.urandom(16).hex(),
                "/invocations",
                200,
                0.001,
                rows=1,
                inputs=cells[number].tobytes(),
                label_type="<i8",
                labels=np.array([20], "<i8").tobytes(),
                probabilities=chances[number].tobytes(),
                request=json.dumps(body).encode(),
                answer=b'{"predictions":[20]}',
            )
        )
    return made


def measure() -> list[Row]:
    """Rows: how many times as quick SQLite is, and how much larger."""
    rows = []
    for words, size in BATCHES.items():
        entries = make_entries(PREDICTIONS if size >= 1000 else PREDICTIONS // SMALL_SHARE)
        with tempfile.TemporaryDirectory() as folder:
            say(f"{len(entries)} predictions, {words}")
            seen = {"sqlite": _sqlite(Path(folder), entries, size), "parquet": _parquet(Path(folder), entries, size)}
        for what in ("store one", "last 500 rows", "find an id"):
            detail = {f"{name} us": round(1e6 * figures[what], 1) for name, figures in seen.items()}
            ratio = seen["parquet"][what] / seen["sqlite"][what]
            rows.append(Row(what=f"{what}, {words}: times as quick as Parquet", measured=ratio, detail=detail))
        detail = {f"{name} bytes each": round(figures["bytes"]) for name, figures in seen.items()}
        ratio = seen["sqlite"]["bytes"] / seen["parquet"]["bytes"]
        rows.append(Row(what=f"size, {words}: times that of Parquet", measured=ratio, detail=detail))
    return rows


def _sqlite(folder: Path, entries: list[Entry], size: int) -> dict[str, float]:
    head = head_of(SERVED, SCHEMA, "s1")
    with Store(folder / "record.db") as store:
        started = time.perf_counter()
        for start in range(0, len(entries), size):
            batch = entries[start : start + size]
            store.take(Chunk(segment="x", start=start, end=start + size, head=head, entries=batch))
        stored = (time.perf_counter() - started) / len(entries)
        asked = {"namespace": "prod", "deployment": "cooler"}
        window = _median(lambda: len(store.window(**asked, last_rows=500)) == 500)  # type: ignore[arg-type]
        wanted = [entry.id for entry in entries[:: len(entries) // 20]]
        found = _median(lambda: all(store.find(one) for one in wanted)) / len(wanted)
    used = sum(path.stat().st_size for path in folder.glob("record.db*"))
    return {"store one": stored, "last 500 rows": window, "find an id": found, "bytes": used / len(entries)}


def _parquet(folder: Path, entries: list[Entry], size: int) -> dict[str, float]:
    files = folder / "parquet"
    files.mkdir()
    started = time.perf_counter()
    for start in range(0, len(entries), size):
        pq.write_table(_table(entries[start : start + size]), files / f"{start:09d}.parquet", compression="zstd")
    stored = (time.perf_counter() - started) / len(entries)
    dataset = pads.dataset(files)
    since = entries[-500].ns
    window = _median(lambda: dataset.to_table(filter=pads.field("ns") >= since).num_rows == 500)
    wanted = [entry.id for entry in entries[:: len(entries) // 4]]
    found = _median(lambda: all(dataset.to_table(filter=pads.field("id") == one).num_rows for one in wanted))
    used = sum(path.stat().st_size for path in files.iterdir())
    return {
        "store one": stored,
        "last 500 rows": window,
        "find an id": found / len(wanted),
        "bytes": used / len(entries),
    }


def _table(entries: list[Entry]) -> pa.Table:
    columns: dict[str, Any] = {
        name: [getattr(entry, name) for entry in entries]
        for name in ("ns", "id", "path", "status", "latency_s", "caller", "rows", "probabilities", "request", "answer")
    }
    inputs = np.concatenate([np.frombuffer(entry.inputs, "<f8") for entry in entries]).reshape(-1, 17)  # type: ignore[arg-type]
    columns |= {name: inputs[:, number] for number, name in enumerate(SCHEMA.names)}
    return pa.table(columns)


def _median(work: Any, times: int = 5) -> float:
    seen = []
    for _ in range(times):
        started = time.perf_counter()
        if not work():
            sys.exit("a read did not find what was written")
        seen.append(time.perf_counter() - started)
    return median(seen)


if __name__ == "__main__":
    run(measure)
