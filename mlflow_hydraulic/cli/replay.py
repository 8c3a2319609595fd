"""`hydraulic replay`: a data pumper. Sends rows to a scorer or a deployment, each once, with faults if wanted."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.cli.logs import log_to_stderr
from mlflow_hydraulic.cli.replay_parts import Wish, address, bringing, knowing, read_rate, rows_of, span_of
from mlflow_hydraulic.errors import Conflict, Failed, NotFound
from mlflow_hydraulic.settings import read_settings

if TYPE_CHECKING:
    from mlflow_hydraulic.replay.asking import Asker
    from mlflow_hydraulic.replay.progress import Progress
    from mlflow_hydraulic.replay.rows import Rows
    from mlflow_hydraulic.replay.run import Outcome, Span
    from mlflow_hydraulic.replay.truths import Truths

INTERRUPTED = 130  # as shells say it of Ctrl-C
log = logging.getLogger("hydraulic.replay")


class Faulty(click.Command):
    """A command whose help lists the faults that can be injected."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        from mlflow_hydraulic.replay.injections import known_faults

        with formatter.section("Faults for --inject (kind, amount if none is given, what it says)"):
            for line in known_faults().splitlines():
                formatter.write_text(line)


@click.command(cls=Faulty)
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--to", required=True, help="A scorer's or deployment's URL, or the name of a deployment in --env.")
@click.option("--env", default="prod", show_default=True, help="Environment in which the deployment runs.")
@click.option("--rate", default="10/s", show_default=True, help="Rows a second (or 600/m, 100/h), or max.")
@click.option("--rows", "count", type=click.IntRange(min=1), help="How many rows.  [default: all]")
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(min=0), help="First row, from 0.")
@click.option("--loop", is_flag=True, help="Begin anew after the last row, until Ctrl-C; each pass has its own ids.")
@click.option(
    "--dialect", type=click.Choice(["seldon", "mlflow", "v2", "tutorial"]), default="seldon", show_default=True
)
@click.option("--inject", "injections", multiple=True, metavar="FAULT", help="A fault, as below; several add up.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same rows.")
@click.option(
    "--actuals",
    metavar="HOW",
    help="Bring true values too: delay=1h,share=0.5,repeat=0.1,via=store|feedback, or on.",
)
@click.option("--features", type=click.Choice(["means", "statistics"]), help="[default: what the model takes]")
@click.option("--target", help="Column with true values.  [default: the model's]")
@click.option("--resume", is_flag=True, help="Go on where this replay was interrupted.")
@click.option("--again", is_flag=True, help="Send rows again that were sent there already, under new ids.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def replay(*, source: Path, rate: str, count: int | None, as_json: bool, **wishes: Any) -> None:  # Any: click's values
    """Send the rows of SOURCE to a scorer, each once, in time order.

    SOURCE is the rig's data (folder, zip, parquet, CSV) or a .csv or .parquet of rows with the model's columns. Each
    row has a prediction id of its own, made from source, faults, seed and number. A server that is away is waited for;
    Ctrl-C tells where it stopped, and --resume goes on there.

    \b
    Faults: KIND[=[INPUT,INPUT:]AMOUNT][@ROW], from ROW on; "drift=" may stand before it.

    \b
    Examples:
      hydraulic replay ../shared/data --to cooler --env prod --rate 20/s
      hydraulic replay ../shared/data --to http://localhost:8080 --rate max --rows 500 --inject season=+5K@200
      hydraulic replay rows.csv --to cooler --inject offset=psa_bar:+2 --inject noise=x3@100 --seed 7
      hydraulic replay ../shared/data --to cooler --actuals delay=1h,share=0.5
    """
    log_to_stderr()
    wish = Wish(rate=read_rate(rate), rows=count, **wishes)
    settings = read_settings()
    from mlflow_hydraulic.replay.asking import Asker, read_model
    from mlflow_hydraulic.replay.progress import Progress
    from mlflow_hydraulic.replay.run import key_of, run

    url = address(wish.to, wish.env, settings)
    model = read_model(url)
    rows = rows_of(source, wish, model, settings)
    span = span_of(rows, wish)
    key = key_of(rows, wish.injections, wish.seed, span)
    stopping = threading.Event()
    with Progress(settings.home / "replay" / f"{key}-{_place(url)}.log", key) as progress:
        _begin(progress, wish, url, span)
        _tell(rows, wish, url, progress)
        asker = Asker(
            url,
            wish.dialect,
            replace(model, names=rows.names),
            known=knowing(settings, progress),
            stopping=stopping,
            told=lambda why: log.warning("%s: %s; asking again", url, why),
        )
        hidden = as_json or wish.loop or not sys.stderr.isatty()
        with (
            _stopped_by_hand(stopping),
            bringing(wish, rows, asker, progress, settings) as truths,
            click.progressbar(length=len(span), label="rows", file=sys.stderr, hidden=hidden) as bar,
        ):
            bar.update(min(progress.seen.next, len(span)))
            outcome = run(
                rows,
                span,
                progress,
                asker,
                rate=wish.rate,
                stopping=stopping,
                truths=truths,
                told=lambda _: bar.update(1),
            )
        asker.close()
    _report(outcome, asker, truths, url, key, as_json=as_json, rows=rows)


def _place(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _begin(progress: Progress, wish: Wish, url: str, span: Span) -> None:
    """Go on, or begin; rows that were sent already are known."""
    seen = progress.seen
    begun = bool(seen.answered) or seen.doubtful is not None
    if wish.resume:
        if not begun:
            raise NotFound(f"--resume: no replay of these rows to {url} was interrupted; leave --resume out")
        progress.go_on()
    elif begun and not wish.again:
        how = "were sent" if seen.finished else f"were sent up to row {span.row(max(seen.next - 1, 0))}"
        way = "" if seen.finished else "--resume goes on there; "
        raise Conflict(f"these rows {how} to {url} already: {way}--again sends them once more, under new ids")
    else:
        progress.begin(seen.generation + begun)


@contextmanager
def _stopped_by_hand(stopping: threading.Event) -> Iterator[None]:
    """The first Ctrl-C lets the row be answered that is under way; the second ends at once."""

    def stop(number: int, _frame: object) -> None:
        if stopping.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(rows: Rows, wish: Wish, url: str, progress: Progress) -> None:
    faults = f", with {', '.join(wish.injections)}, seed {wish.seed}" if wish.injections else ""
    simulated = "SIMULATED " if rows.origin == "simulated" else ""
    log.info("%srows of %s to %s%s; ids from %s on", simulated, rows.digest[:12], url, faults, progress.id_of(0))


def _report(
    outcome: Outcome, asker: Asker, truths: Truths | None, url: str, key: str, *, as_json: bool, rows: Rows
) -> None:
    from mlflow_hydraulic.replay.run import latency_ms

    done = sum(outcome.statuses.values())
    good = outcome.statuses[200]
    facts: dict[str, Any] = {  # Any: the value is JSON
        "to": url,
        "key": key,
        "digest": rows.digest,
        "origin": rows.origin,
        "answered": good,
        "refused": {str(status): count for status, count in sorted(outcome.statuses.items()) if status != 200},
        **asdict(asker.trouble),
        "next": outcome.next,
        "finished": outcome.finished,
        "latency_ms": latency_ms(outcome),
    }
    if truths is not None:
        facts["actuals"] = {"brought": truths.brought, "waiting": truths.waiting}
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        latency = ", ".join(f"{name} {value:g} ms" for name, value in facts["latency_ms"].items())
        click.echo(f"{good} of {done} rows answered{f'; {latency}' if latency else ''}")
        for status, number in facts["refused"].items():
            click.echo(f"{number} refused with {status}")
        for name, text in (
            ("retries", "retries"),
            ("found", "found in the record"),
            ("repeated", "perhaps sent twice"),
        ):
            if facts[name]:
                click.echo(f"{facts[name]} {text}")
        if truths is not None:
            click.echo(f"{truths.brought} SIMULATED true values brought, {truths.waiting} not yet")
    if not outcome.finished:
        click.echo(f"stopped before row {outcome.next}: the same command with --resume goes on there", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if done and not good:
        raise Failed(f"{url} refused every row: {facts['refused']}; its log and the record tell why")
