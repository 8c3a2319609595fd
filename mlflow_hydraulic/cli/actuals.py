"""`hydraulic actuals`: bring true values, see what became of them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.accuracy.reading import Columns
from mlflow_hydraulic.cli.table import printable, table
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.settings import read_settings

if TYPE_CHECKING:
    from mlflow_hydraulic.accuracy.store import ActualStore, Standing, Taken
    from mlflow_hydraulic.record.store import Store


@click.group()
def actuals() -> None:
    """True values: what predictions turned out to be, joined by prediction id.

    They may come late, in part, in any order, repeatedly and corrected. `hydraulic record intake` takes them too, and
    Seldon's feedback.

    \b
    Examples:
      hydraulic actuals load inspected.csv
      hydraulic actuals status
      hydraulic actuals show 0f6c1d6e8a7b4c0e
    """


@actuals.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--id-column", default="id", show_default=True, help="Column with the prediction id.")
@click.option("--actual-column", default="actual", show_default=True, help="Column with the true value.")
@click.option(
    "--row-column", default="row", show_default=True, help="Column with the row's number, 0 if there is none."
)
@click.option("--at-column", default="at", show_default=True, help="Column with when it was determined; now if none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def load(*, file: Path, id_column: str, actual_column: str, row_column: str, at_column: str, as_json: bool) -> None:
    """Bring the true values of FILE (.csv, .jsonl, .parquet) and join them with what was predicted.

    Each line names a prediction id and a true value; in a request of several rows also the row, counting from 0. Of two
    values for one row the one determined later holds. Interrupted and repeated, it goes on: what is there is not taken
    twice. Values whose prediction is not recorded yet wait for it.

    \b
    Examples:
      hydraulic actuals load inspected.csv
      hydraulic actuals load lab.parquet --id-column request --actual-column cooler --at-column measured
    """
    from mlflow_hydraulic.accuracy.reading import read_actuals
    from mlflow_hydraulic.accuracy.store import Taken

    now = time.time()
    columns = Columns(id=id_column, actual=actual_column, row=row_column, at=at_column)
    taken = Taken()
    with open_actuals(make=True) as store:
        with click.progressbar(length=file.stat().st_size, label=f"reading {file.name}", hidden=as_json) as bar:
            rows = 0
            for batch in read_actuals(file, columns, now):
                taken += store.take(batch, now)
                rows += len(batch)
                bar.update(min(len(batch) * 40, bar.length - bar.pos if bar.length else 0))  # about 40 bytes a line
            bar.update(max((bar.length or 0) - bar.pos, 0))
        standing = join(store, hidden=as_json)
    if as_json:
        click.echo(json.dumps({**asdict(taken), **asdict(standing)}, indent=1))
        return
    click.echo(_told(taken, rows))
    click.echo(_stand(standing))


@actuals.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """How many true values are joined, do not fit, or wait for their prediction.

    \b
    Examples:
      hydraulic actuals status --json
    """
    with open_actuals(make=False) as store:
        standing = join(store, hidden=as_json)
    click.echo(json.dumps(asdict(standing), indent=1) if as_json else _stand(standing))


@actuals.command()
@click.argument("prediction_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, prediction_id: str, as_json: bool) -> None:
    """Everything that was ever said of one prediction's truth, in the order in which it arrived.

    \b
    Examples:
      hydraulic actuals show 0f6c1d6e8a7b4c0e
    """
    with open_actuals(make=False) as store:
        said = store.history(prediction_id)
    if not said:
        raise NotFound(f'prediction {prediction_id!r}: no true value arrived; "hydraulic record show" has its answer')
    if as_json:
        click.echo(json.dumps([{**asdict(one), "arrived": arrived} for one, arrived in said], indent=1))
        return
    lines = [(str(one.row), str(one.value), _time(one.at), _time(arrived), one.source) for one, arrived in said]
    click.echo(table(("row", "actual", "determined", "arrived", "by"), lines))


def open_actuals(*, make: bool) -> ActualStore:
    """The true values beside the prediction record that the settings name."""
    from mlflow_hydraulic.accuracy.store import FILE, ActualStore
    from mlflow_hydraulic.record.recorder import record_folder

    return ActualStore(record_folder(read_settings()) / FILE, make=make)


def open_record(*, make: bool = False) -> Store:
    """The prediction record that the settings name."""
    from mlflow_hydraulic.record.recorder import record_folder
    from mlflow_hydraulic.record.store import FILE, Store

    return Store(record_folder(read_settings()) / FILE, make=make)


def join(store: ActualStore, *, hidden: bool) -> Standing:
    """Join what is there with the record, if there is one, under a progress bar."""
    try:
        record = open_record()
    except NotFound:
        return store.standing()
    with record:
        waiting = store.standing().waiting
        with click.progressbar(length=waiting, label="joining", hidden=hidden or not waiting) as bar:
            return store.join(record, bar.update)


def _told(taken: Taken, rows: int) -> str:
    parts = [f"{taken.new} new", f"{taken.corrected} corrected", f"{taken.repeated} repeated"]
    if taken.older:
        parts.append(f"{taken.older} older than what holds, kept in the history only")
    return f"{rows} true values: {', '.join(parts)}"


def _stand(standing: Standing) -> str:
    lines = [f"{standing.joined} joined with their predictions"]
    if standing.waiting:
        lines.append(f"{standing.waiting} wait for a prediction that is not in the record (yet)")
    if standing.unfit:
        lines.append(f"{standing.unfit} do not fit: their prediction has no such row, or the value is no number")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return printable(datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S"))
