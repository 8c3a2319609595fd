"""`hydraulic record ship` and `hydraulic record intake`: what brings predictions together."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.health import Health
from mlflow_hydraulic.cli.logs import log_to_stderr
from mlflow_hydraulic.errors import BadInput, Conflict, HydraulicError, Unavailable

if TYPE_CHECKING:
    from mlflow_hydraulic.record.ship import Destination, Shipped
    from mlflow_hydraulic.record.sinks import Sink
    from mlflow_hydraulic.record.store import Store
    from mlflow_hydraulic.settings import Settings

PAUSE_S = 0.5
PRUNE_S = 3600.0
NICE = 10  # scorers go first
LONGEST_PAUSE_S = 30.0
log = logging.getLogger("hydraulic.record")


@click.command()
@click.option("--follow", is_flag=True, help="Go on until SIGTERM or Ctrl-C; then a last pass.")
@click.option("--to", "url", default="", help="An intake's URL, instead of the store of this machine.")
@click.option("--health-port", type=click.IntRange(1, 65535), help="With --follow: /livez, /readyz and /metrics there.")
@click.option("--json", "as_json", is_flag=True, help="Print what a single pass did as JSON.")
def ship(*, follow: bool, url: str, health_port: int | None, as_json: bool) -> None:
    """Bring what scorers have appended to the store, each prediction once, and on to InfluxDB where one is set.

    Deployments on this machine keep one running; killed at any moment, the next goes on where it was. To an intake the
    token is in the file that HYDRAULIC_INTAKE_AUTH_FILE names.

    \b
    Examples:
      hydraulic record ship
      hydraulic record ship --follow
      hydraulic record ship --follow --to http://record.monitoring:8090
    """
    from mlflow_hydraulic.deploy_targets.local.locks import Held, exclusive
    from mlflow_hydraulic.deploy_targets.local.shipping import SHIP_LOCK
    from mlflow_hydraulic.record.recorder import journal_folder, record_folder
    from mlflow_hydraulic.settings import read_settings

    log_to_stderr()
    settings = read_settings()
    journal_folder(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
    if health_port and not follow:
        raise BadInput("--health-port is for a shipper that goes on: give --follow too")
    if not follow:
        done = _once(settings, url)
        click.echo(json.dumps(vars(done)) if as_json else _told(done))
        return
    try:
        with exclusive(record_folder(settings) / SHIP_LOCK, wait_s=1.0):
            _follow(settings, url, health_port)
    except Held as held:
        raise Conflict(f"process {held.pid} ships already what is in {journal_folder(settings)}") from held


def _once(settings: Settings, url: str) -> Shipped:
    from mlflow_hydraulic.record.recorder import journal_folder
    from mlflow_hydraulic.record.ship import ship_once

    with _Ends(settings, url) as ends:
        done = ship_once(journal_folder(settings), ends.destination)
        if ends.sink is not None:
            sent = ends.sink.push()
            if sent.waiting:
                done.troubles.append(f"InfluxDB has not got {sent.waiting} predictions yet")
        return done


@dataclass(kw_only=True)
class _Sum:
    """What all passes did. beat: when the last one began, by the monotonic clock."""

    beat: float = field(default_factory=time.monotonic)
    bytes: int = 0
    deleted: int = 0
    waiting: int = 0
    troubles: int = 0

    def add(self, done: Shipped) -> None:
        self.bytes, self.deleted = self.bytes + done.bytes, self.deleted + done.deleted
        self.waiting, self.troubles = done.waiting, self.troubles + len(done.troubles)

    def metrics(self) -> dict[str, tuple[str, Callable[[], float]]]:
        return {
            "hydraulic_ship_bytes_total": ("Bytes of segments that were stored.", lambda: self.bytes),
            "hydraulic_ship_segments_total": ("Segments that were stored whole.", lambda: self.deleted),
            "hydraulic_ship_waiting_bytes": ("Bytes that could not be shipped.", lambda: self.waiting),
            "hydraulic_ship_troubles_total": ("Segments not read, stores that were away.", lambda: self.troubles),
        }


def _follow(settings: Settings, url: str, health_port: int | None) -> None:
    """Passes until the end is asked for. A destination that is away is asked again, more and more rarely."""
    from mlflow_hydraulic.record.recorder import journal_folder
    from mlflow_hydraulic.record.ship import ship_once

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    os.nice(NICE)
    pause_s, last, total = PAUSE_S, False, _Sum()
    with _Ends(settings, url) as ends, ExitStack() as stack:
        ends.start(ending)
        if health_port:
            stack.enter_context(Health(total, health_port, total.metrics(), component="shipper"))
        while not last:
            total.beat = time.monotonic()
            last = ending.is_set()  # one more pass after it: what was appended before the end is shipped
            try:
                done = ship_once(journal_folder(settings), ends.destination)
                total.add(done)
                for trouble in done.troubles:
                    log.error("%s", trouble)
                ends.prune()
                pause_s = PAUSE_S
            except Unavailable as error:
                total.troubles += 1
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                log.warning("%s; next try in %g s", error, pause_s)
            if not last:
                ending.wait(pause_s)


class _Ends:
    """Where a shipper's predictions go: store and sink, or an intake."""

    def __init__(self, settings: Settings, url: str) -> None:
        from mlflow_hydraulic.record.recorder import record_folder
        from mlflow_hydraulic.record.remote import Remote, read_token
        from mlflow_hydraulic.record.ship import Local
        from mlflow_hydraulic.record.sinks import Sink, open_influx
        from mlflow_hydraulic.record.store import FILE, Store

        self._settings = settings
        self._pruned = 0.0
        self.sink: Sink | None = None
        self._stores: list[Store] = []
        self._thread: threading.Thread | None = None
        if url:
            self.destination: Destination = Remote(url, read_token(settings))
            return
        path = record_folder(settings) / FILE
        self._stores.append(Store(path))
        self.destination = Local(self._stores[0])
        influx = open_influx(settings)
        if influx is not None:
            self._stores.append(Store(path))  # of its own: a slow database must not hold the shipping
            self.sink = Sink(self._stores[1], influx)

    def __enter__(self) -> _Ends:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.join()
        for store in self._stores:
            store.close()

    def start(self, ending: threading.Event) -> None:
        """Send to the sink beside, until the end."""
        sink = self.sink
        if sink is None:
            return

        def push() -> None:
            while not ending.wait(PAUSE_S):
                try:
                    sink.push()
                except HydraulicError as error:
                    log.error("%s", error)  # noqa: TRY400 - a known cause

        self._thread = threading.Thread(target=push, name="sink")
        self._thread.start()

    def prune(self) -> None:
        """Every hour, where the store is ours."""
        from mlflow_hydraulic.record.retention import prune

        if self._stores and time.monotonic() - self._pruned > PRUNE_S:
            self._pruned = time.monotonic()
            days, most = self._settings.record_days, int(self._settings.record_mb * 1e6)
            prune(self._stores[0], days=days, max_bytes=most)


def _told(done: Shipped) -> str:
    lines = [f"{done.bytes:,} bytes shipped, {done.deleted} segments stored whole and deleted", *done.troubles]
    return "\n".join(lines)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--no-token", is_flag=True, help="Take predictions from anybody who reaches this port.  [default: ask for a token]"
)
def intake(*, host: str, port: int, no_token: bool) -> None:
    """Take what comes from elsewhere: CloudEvents of Seldon's request logger, shippers of pods, and true values.

    The token is in the file that HYDRAULIC_INTAKE_AUTH_FILE names; senders give it as `Authorization: Bearer ...`, and
    Seldon's logger, which can send no header of its own, in the URL: http://record:8090/events/TOKEN. True values come
    by POST /actuals as {"actuals": [{"id": "...", "row": 0, "actual": 3, "at": "2026-03-01T10:00:00Z"}]}, as JSON
    lines (application/x-ndjson) or as CSV (text/csv): all of a request or none of it; twice is once.

    \b
    Examples:
      HYDRAULIC_INTAKE_AUTH_FILE=token hydraulic record intake --host 0.0.0.0
      hydraulic record intake --port 0 --no-token
      curl -H 'Content-Type: text/csv' --data-binary @inspected.csv http://localhost:8090/actuals
    """
    from mlflow_hydraulic.accuracy import store as truths
    from mlflow_hydraulic.accuracy.posted import take_posted
    from mlflow_hydraulic.record.intake import serve_intake
    from mlflow_hydraulic.record.recorder import record_folder
    from mlflow_hydraulic.record.remote import read_token
    from mlflow_hydraulic.record.store import FILE, Store
    from mlflow_hydraulic.scoring.server import listen
    from mlflow_hydraulic.settings import read_settings

    log_to_stderr()
    settings = read_settings()
    token = "" if no_token else read_token(settings)
    if not token and not no_token:
        raise BadInput("HYDRAULIC_INTAKE_AUTH_FILE names no token: set it, or say --no-token where nobody else gets in")
    folder = record_folder(settings)
    with Store(folder / FILE) as store, truths.ActualStore(folder / truths.FILE) as actuals:
        serve_intake(store, listen(host, port), token=token, actuals=partial(take_posted, actuals))
