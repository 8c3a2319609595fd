"""Scored rows as lines of a file, an hour of them in memory at a time. Called by `hydraulic record export`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from mlflow_hydraulic.errors import BadInput, Failed
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Window

SLICE_S = 3600.0
KINDS = (".csv", ".jsonl")


def write_rows(
    store: Store,
    output: Path,
    *,
    namespace: str,
    deployment: str,
    predictor: str | None,
    since: float | None,
    until: float,
) -> int:
    """Write the rows of [since, until); returns how many. The file is there whole or not at all."""
    if output.suffix not in KINDS:
        raise BadInput(f"--output {output}: its name must end with {' or '.join(KINDS)}")
    asked = {"namespace": namespace, "deployment": deployment, "predictor": predictor}
    first = min(until, _first(store, namespace, deployment)) if since is None else since
    slices = max(1, math.ceil((until - first) / SLICE_S))
    part = output.with_name(f".{output.name}.part")
    written = 0
    try:
        with (
            part.open("w", encoding="utf-8", newline="") as stream,
            click.progressbar(range(slices), label="hours", hidden=slices < 3) as hours,
        ):
            sheet = None
            for hour in hours:
                begin = first + hour * SLICE_S
                window = store.window(**asked, since=begin, until=min(until, begin + SLICE_S))  # type: ignore[arg-type]
                for line in _lines(window):
                    if output.suffix == ".jsonl":
                        stream.write(json.dumps(line) + "\n")
                    else:
                        if sheet is None:
                            sheet = csv.DictWriter(stream, list(line))
                            sheet.writeheader()
                        sheet.writerow(line)
                    written += 1
        part.replace(output)
    except OSError as error:
        raise Failed(f"{output}: cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


def _first(store: Store, namespace: str, deployment: str) -> float:
    """When the deployment's first prediction was made."""
    times = [
        one.first
        for one in store.recorded()
        if (one.source.served.namespace, one.source.served.deployment) == (namespace, deployment) and one.first
    ]
    return min(times, default=math.inf)


def _lines(window: Window) -> Iterator[dict[str, Any]]:  # Any: cells
    names, schema = window.schema.names, window.schema
    inputs = window.inputs.tolist()
    labels = window.labels.tolist()
    probabilities = None if window.probabilities is None else window.probabilities.tolist()
    for index in range(len(window)):
        cells = {
            name: window.categories[name][index] if name in window.categories else _number(value)
            for name, value in zip(names, inputs[index], strict=True)
        }
        shares = {} if probabilities is None else dict(zip(schema.output_names, probabilities[index], strict=True))
        yield {
            "id": window.ids[index],
            "row": int(window.rows[index]),
            "at": datetime.fromtimestamp(float(window.at[index]), timezone.utc).isoformat(),
            **cells,
            schema.target: labels[index],
            **shares,
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
