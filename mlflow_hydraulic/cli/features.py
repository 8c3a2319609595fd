"""`hydraulic data features`: the inputs of a model, computed from cycles, as a file or as a scoring request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet", ".json")


@click.command()
@click.argument("source")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File: .csv, .parquet or .json.")
@click.option("--features", "kind", type=click.Choice(["means", "statistics"]), default="means", show_default=True)
@click.option("--cycles", "chosen", metavar="LIST", help="Cycles by number from 0, as 0,5,100-103. [default: all]")
@click.option("--json-request", is_flag=True, help="Print a body for POST /invocations instead of a table.")
def features(source: str, *, output: Path | None, kind: str, chosen: str | None, json_request: bool) -> None:
    """Compute the features of the cycles in SOURCE (folder, zip, parquet or CSV).

    \b
    Examples:
      hydraulic data features ../shared/data -o features.parquet --features statistics
      hydraulic data features ../shared/data --cycles 0,800,1500 --json-request > request.json
    """
    from mlflow_hydraulic.rig.features import features_of, request_body
    from mlflow_hydraulic.rig.load import load_cycles
    from mlflow_hydraulic.settings import read_settings

    if output is not None and not json_request and output.suffix not in SUFFIXES:
        raise BadInput(f"{output}: must end in one of {', '.join(SUFFIXES)}")
    cycles = load_cycles(source, cache=read_settings().home / "cache")
    frame = features_of(kind).fit_transform(cycles)
    numbers = _numbers(chosen, len(frame))
    if cycles.origin == "simulated":
        click.secho("SIMULATED DATA: these cycles were not measured", err=True, fg="red", bold=True)
    if json_request:
        text = json.dumps(request_body(frame, numbers))
        if output is None:
            click.echo(text)
        else:
            _write(output, text.encode())
        return
    rows = frame.iloc[numbers].rename_axis("cycle")
    if output is None:
        click.echo(rows.to_csv(), nl=False)
    else:
        _write(output, _encoded(rows, output.suffix))
        click.echo(f"{output}: {len(rows)} cycles, {rows.shape[1]} features", err=True)


def _numbers(chosen: str | None, count: int) -> list[int]:
    """`"0,5,100-103"` as numbers; None: all."""
    if chosen is None:
        return list(range(count))
    numbers: list[int] = []
    for part in chosen.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadInput(f"--cycles {chosen}: {part!r} is no number and no range; write it as 0,5,100-103")
        start, stop = int(first), int(last or first)
        if start > stop or stop >= count:
            raise BadInput(f"--cycles {chosen}: {part!r}: the data has the cycles 0 to {count - 1}")
        numbers.extend(range(start, stop + 1))
    return numbers


def _encoded(rows: pd.DataFrame, suffix: str) -> bytes:
    if suffix == ".csv":
        return str(rows.to_csv()).encode()
    if suffix == ".json":
        return str(rows.to_json(orient="records", double_precision=15)).encode()
    return bytes(rows.to_parquet())


def _write(path: Path, content: bytes) -> None:
    from mlflow_hydraulic.rig.write import whole_file

    with whole_file(path) as part:
        part.write_bytes(content)
