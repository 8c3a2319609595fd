"""`hydraulic record`: what was asked and answered: list, show, export, prune; ship and intake bring it together."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.cli.record_move import intake, ship
from mlflow_hydraulic.cli.table import printable, table
from mlflow_hydraulic.cli.times import shown, time_of
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import NotFound

if TYPE_CHECKING:
    from mlflow_hydraulic.record.store import Store
    from mlflow_hydraulic.record.values import Prediction

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def record() -> None:
    """Look at the prediction record: what was asked and answered, by which version, when, for whom.

    \b
    Examples:
      hydraulic record list
      hydraulic record show 0d1f9c5e
      hydraulic record export cooler --namespace prod --since 2d -o rows.csv
    """


record.add_command(ship)
record.add_command(intake)


@record.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """List what is recorded, scorer by scorer, and what is missing and why.

    \b
    Example:
      hydraulic record list --json
    """
    with _open() as store:
        recorded, missing = store.recorded(), store.missing()
    sources = [
        {
            **{name: getattr(one.source.served, name) for name in one.source.served.__slots__},
            "replica": one.source.replica,
            "predictions": one.predictions,
            "rows": one.rows,
            "minutes": one.minutes,
            "first": one.first,
            "last": one.last,
        }
        for one in recorded
    ]
    gaps = [
        {"since": gap.since, "until": gap.until, "answers": gap.answers, "bytes": gap.bytes, "reason": gap.reason}
        for gap in missing
    ]
    if as_json:
        click.echo(json.dumps({"recorded": sources, "missing": gaps}, indent=1))
        return
    headings = ("deployment", "predictor", "model", "replica", "predictions", "rows", "minutes", "first", "last")
    rows = [
        (
            "/".join(filter(None, (one["target"], one["namespace"], one["deployment"]))) or "-",
            one["predictor"] or "-",
            f"{one['model']}/{one['version']}",
            one["replica"],
            *(f"{one[name]:,}" for name in ("predictions", "rows", "minutes")),
            _time(one["first"]),
            _time(one["last"]),
        )
        for one in sources
    ]
    click.echo(table(headings, rows) if rows else "nothing is recorded yet")
    for gap in missing:
        what = f"{gap.answers} answers" if gap.answers else f"{gap.bytes} bytes"
        click.echo(printable(f"missing: {what}, {_time(gap.since)} to {_time(gap.until)}: {gap.reason}"))


@record.command()
@click.argument("prediction_id", metavar="ID")
@as_json
def show(*, prediction_id: str, as_json: bool) -> None:
    """Show everything that was answered under a prediction ID: request, answer, version, digest, caller.

    \b
    Example:
      hydraulic record show 0d1f9c5e --json
    """
    with _open() as store:
        found = store.find(prediction_id)
    if not found:
        raise NotFound(
            f"prediction {prediction_id}: not in the record: never recorded here, sampled out, or pruned by now "
            f'("hydraulic record list" tells what is kept)'
        )
    if as_json:
        click.echo(json.dumps([_value(prediction) for prediction in found], indent=1))
        return
    for prediction in found:
        _show(prediction)


@record.command()
@click.argument("deployment")
@click.option("--namespace", "-n", default="default", show_default=True, help="Where the deployment lives.")
@click.option("--predictor", default=None, help="Only this predictor.  [default: all, a shadow among them]")
@click.option("--since", callback=time_of, help="From this time on: ISO (UTC without a zone), a date, or 3h, 2d ago.")
@click.option("--until", callback=time_of, help="Up to this time, which is not in it.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help=".csv or .jsonl")
def export(
    *,
    deployment: str,
    namespace: str,
    predictor: str | None,
    since: datetime | None,
    until: datetime | None,
    output: Path,
) -> None:
    """Write DEPLOYMENT's scored rows to a file, one line each: id, row, time, inputs, label, probabilities.

    \b
    Example:
      hydraulic record export cooler --namespace prod --since 1d -o rows.csv
    """
    from mlflow_hydraulic.cli.record_rows import write_rows

    with _open() as store:
        written = write_rows(
            store,
            output,
            namespace=namespace,
            deployment=deployment,
            predictor=predictor,
            since=since.timestamp() if since else None,
            until=(until or utc_now()).timestamp(),
        )
    click.echo(f"{written:,} rows in {output}")


@record.command()
@click.option("--days", type=click.FloatRange(min=0), help="Keep this many days.  [default: HYDRAULIC_RECORD_DAYS]")
@click.option("--mb", type=click.FloatRange(min=0), help="Keep at most so much.  [default: HYDRAULIC_RECORD_MB]")
@as_json
def prune(*, days: float | None, mb: float | None, as_json: bool) -> None:
    """Delete what is older or more than is to be kept; a running shipper does it every hour.

    \b
    Example:
      hydraulic record prune --days 7
    """
    from mlflow_hydraulic.record.retention import prune as pruned
    from mlflow_hydraulic.settings import read_settings

    settings = read_settings()
    with _open() as store:
        gone = pruned(
            store,
            days=settings.record_days if days is None else days,
            max_bytes=int((settings.record_mb if mb is None else mb) * 1e6),
        )
    if as_json:
        click.echo(json.dumps({name: getattr(gone, name) for name in gone.__slots__}))
        return
    click.echo(f"{gone.predictions:,} predictions deleted; {gone.bytes_left / 1e6:,.1f} MB are left")


def _open() -> Store:
    from mlflow_hydraulic.record.opening import open_record
    from mlflow_hydraulic.settings import read_settings

    return open_record(read_settings())


def _show(prediction: Prediction) -> None:
    served = prediction.served
    where = "/".join(filter(None, (served.target, served.namespace, served.deployment, served.predictor)))
    click.echo(printable(f"{prediction.id}  {_time(prediction.at)}  {where or 'not deployed'}"))
    click.echo(printable(f"  model    {served.model}/{served.version}, digest {served.digest}"))
    click.echo(
        printable(
            f"  asked    {prediction.path} by {prediction.caller or 'somebody who did not say'}; answered with "
            f"{prediction.status} in {prediction.latency_s * 1e3:.3g} ms; {len(prediction.inputs)} rows"
        )
    )
    for name, body in (("request", prediction.request), ("answer", prediction.answer)):
        click.echo(f"  {name:<8} {printable(body.decode('utf-8', 'backslashreplace')) or '(not kept)'}")


def _value(prediction: Prediction) -> dict[str, Any]:  # Any: the value is JSON
    served = prediction.served
    probabilities = prediction.probabilities
    return {
        "id": prediction.id,
        "at": prediction.at,
        **{name: getattr(served, name) for name in served.__slots__},
        "path": prediction.path,
        "status": prediction.status,
        "latency_s": prediction.latency_s,
        "caller": prediction.caller,
        "request": _text(prediction.request),
        "answer": _text(prediction.answer),
        "inputs": prediction.inputs.tolist(),
        "labels": prediction.labels.tolist(),
        "probabilities": None if probabilities is None else probabilities.tolist(),
    }


def _text(body: bytes) -> str | dict[str, str]:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _time(seconds: float) -> str:
    from datetime import timezone

    return shown(datetime.fromtimestamp(seconds, timezone.utc)) if seconds else "-"
