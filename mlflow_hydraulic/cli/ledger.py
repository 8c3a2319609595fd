"""`hydraulic ledger`: the record of who did what, why, and what then ran: shown, verified, exported, anchored."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mlflow_hydraulic.cli.table import table
from mlflow_hydraulic.cli.times import shown_stamp, time_of
from mlflow_hydraulic.errors import BadData, BadInput, Failed, Untrusted

if TYPE_CHECKING:
    from mlflow_hydraulic.evidence.ledger import Row, Verification

WIDEST_CELL = 48
ANCHOR = re.compile(r"(\d+):([0-9a-f]{64})")


@click.group()
def ledger() -> None:
    """Show, verify, export and anchor the ledger: who did what, when and why, and what then ran.

    \b
    Examples:
      hydraulic ledger show --last 20
      hydraulic ledger verify
      hydraulic ledger export -o ledger.jsonl
      hydraulic ledger anchor -o anchor.json
    """


@ledger.command()
@click.argument("model", default="")
@click.option("--actor", default="", help="Only what this user did.")
@click.option("--verb", default="", help="Only this: stage, alias, tag, refused, runs, failed, pinned, ...")
@click.option("--env", "environment", default="", help="Only what touched this environment.")
@click.option("--workspace", default="", help="Only this workspace of MLflow's.")
@click.option("--since", callback=time_of, help="From this time on: ISO (UTC without a zone), a date, or 3h, 2d ago.")
@click.option("--until", callback=time_of, help="Up to this time, which is not in it.")
@click.option("--last", type=click.IntRange(min=1), default=50, show_default=True, help="How many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print whole rows as JSON.")
def show(
    *,
    model: str,
    actor: str,
    verb: str,
    environment: str,
    workspace: str,
    since: datetime | None,
    until: datetime | None,
    last: int,
    as_json: bool,
) -> None:
    """Show rows, of MODEL or of all, newest last. Times are UTC.

    \b
    Examples:
      hydraulic ledger show
      hydraulic ledger show hydraulic-cooler --env prod --since 2d
      hydraulic ledger show --verb refused --json | jq '.[].reason'
    """
    from mlflow_hydraulic.cli.world import open_evidence
    from mlflow_hydraulic.evidence.queries import Asked, newest

    asked = Asked(
        workspace=workspace,
        model=model,
        actor=actor,
        verb=verb,
        environment=environment,
        since=since,
        until=until,
    )
    with open_evidence().connect() as connection:
        rows = newest(connection, asked, last + 1)
    if len(rows) > last:
        rows = rows[1:]
        click.echo(f"older rows are not shown: --last {last * 10} shows more", err=True)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    elif rows:
        headings = ("row", "time (UTC)", "actor", "verb", "subject", "env", "change", "reason")
        click.echo(table(headings, [_cells(row) for row in rows]))
    else:
        click.echo("no rows")


def _cells(row: Row) -> tuple[str, ...]:
    before, after = (_value(text) for text in (row.before, row.after))
    change = f"{before} -> {after}" if before or after else ""
    short = [_cut(cell) for cell in (row.actor, row.verb, row.subject, row.environment, change)]
    return (str(row.seq), shown_stamp(row.at), *short, row.reason)


def _value(text: str) -> str:
    """A JSON value for people: texts without quotes, nothing for null, a composition in the plan's words."""
    from mlflow_hydraulic.evidence.compositions import read_composition

    try:
        value = json.loads(text)
        if isinstance(value, dict) and {"colour", "state"} <= value.keys():  # an alert
            return f"{value['colour']} {value['state']}"
        if isinstance(value, dict):
            return str(read_composition(value)) if "predictors" in value else str(value.get("asked", text))
    except (ValueError, Untrusted):  # tampered with: shown as it is, and verify names it
        return text
    return "" if value is None else str(value)


def _cut(cell: str) -> str:
    return cell if len(cell) <= WIDEST_CELL else cell[: WIDEST_CELL - 1] + "…"


@ledger.command()
@click.option("--anchor", "anchored", default="", help="A file that `anchor` wrote, or SEQ:HASH.")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Verify an exported file instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(*, anchored: str, file: Path | None, as_json: bool) -> None:
    """Read the whole chain and name every row that was changed, dropped, added or moved. Exit code 7 if one was.

    Whoever may write to the database can write the whole chain anew: an anchor that is kept elsewhere finds that.

    \b
    Examples:
      hydraulic ledger verify
      hydraulic ledger verify --anchor anchor.json
      hydraulic ledger verify --file ledger.jsonl --anchor 10234:5d41...
    """
    from mlflow_hydraulic.cli.world import open_evidence
    from mlflow_hydraulic.evidence.export import verify_file
    from mlflow_hydraulic.evidence.ledger import verify as verify_chain

    anchor = read_anchor(anchored) if anchored else None
    if file:
        found = verify_file(file, anchor)
    else:
        with open_evidence().connect() as connection:
            found = verify_chain(connection, anchor=anchor)
    click.echo(json.dumps(_json(found), indent=1) if as_json else _shown(found))
    if not found.holds:
        raise Untrusted(
            f"the ledger was tampered with: {len(found.faults)} faults in {found.rows} rows"
            + ("; or the file holds a part of it, as a page's filtered export does: verify a whole one" if file else "")
        )


def _json(found: Verification) -> dict[str, object]:
    return {
        "rows": found.rows,
        "head": found.head,
        "holds": found.holds,
        "faults": [asdict(fault) for fault in found.faults],
    }


def _shown(found: Verification) -> str:
    if found.holds:
        return f"{found.rows} rows, intact; the last one's hash is {found.head}"
    return table(("row", "problem"), [(str(fault.seq), fault.problem) for fault in found.faults])


def read_anchor(text: str) -> dict[str, object]:
    """The anchor in "SEQ:HASH", or in the file of that name."""
    said = ANCHOR.fullmatch(text)
    if said:
        return {"seq": int(said[1]), "hash": said[2]}
    path = Path(text)
    if not path.exists():
        raise BadInput(f'--anchor {text}: neither a file nor a row and its hash, such as "10234:5d41..." (64 digits)')
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        anchor = {"seq": int(value["seq"]), "hash": str(value["hash"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(str(path), f'not an anchor written by "hydraulic ledger anchor": {error}') from error
    if not ANCHOR.fullmatch(f"{anchor['seq']}:{anchor['hash']}"):
        raise BadData(str(path), "not an anchor: seq must be a number and hash 64 hexadecimal digits")
    return anchor


@ledger.command()
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: stdout]")
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export(*, out: Path | None, kind: str) -> None:
    """Write every row with its hashes, so that anybody can verify it offline. A file is written whole or not at all.

    \b
    Examples:
      hydraulic ledger export -o ledger.jsonl
      hydraulic ledger export --format csv -o ledger.csv
      hydraulic ledger export | gzip > ledger.jsonl.gz
    """
    from mlflow_hydraulic.cli.world import open_evidence
    from mlflow_hydraulic.evidence.export import FORMATS
    from mlflow_hydraulic.evidence.ledger import BEFORE_ALL, rows

    with open_evidence().connect() as connection, _written(out) as file:
        count = FORMATS[kind](rows(connection, after=BEFORE_ALL), file)
    if out:
        click.echo(f"{out}: {count} rows")


@ledger.command()
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: stdout]")
def anchor(*, out: Path | None) -> None:
    """Print the last row's number and hash, to be kept where nobody who writes to the database can change it.

    \b
    Examples:
      hydraulic ledger anchor
      hydraulic ledger anchor -o anchor.json && hydraulic ledger verify --anchor anchor.json
    """
    from mlflow_hydraulic.cli.world import open_evidence
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.evidence.ledger import said_head

    with open_evidence().connect() as connection:
        head = said_head(connection)
    if head is None:
        raise Untrusted('the ledger has lost its head row: "hydraulic ledger verify" says more')
    said = {"seq": head[0], "hash": head[1], "at": utc_now().isoformat(timespec="seconds")}
    with _written(out) as file:
        file.write(json.dumps(said) + "\n")


@contextmanager
def _written(out: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that is there whole or not at all."""
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(out)
    except OSError as error:
        raise Failed(f"{out}: cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
