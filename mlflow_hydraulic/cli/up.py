"""`hydraulic up` and `hydraulic down`: MLflow's server, controller, monitor and local target, supervised as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click

from mlflow_hydraulic.cli.parts import LOOPBACK, Wish, free_port
from mlflow_hydraulic.cli.residence import Residence
from mlflow_hydraulic.deploy_targets.local.locks import Held, exclusive, holder, signal_holder
from mlflow_hydraulic.errors import BadInput, Conflict, Failed
from mlflow_hydraulic.settings import Settings

POLL_S = 0.1
DOWN_S = 120.0  # for a stop that waits for what deployments accepted

in_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hydraulic"),
    show_default=True,
    help="Where everything lies; made if it is not there.",
)


@click.command()
@in_folder
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the server listens on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--auth/--no-auth", default=None, help="MLflow's log-in.  [default: as the folder was before; first: no]")
@click.option(
    "--demo-users",
    "demo",
    is_flag=True,
    help="The users ds1 and ds2, with passwords that everybody knows; with a log-in, and for this machine only.",
)
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0.1), help="Seconds between the controller's passes."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes of the server.")
@click.option("--echo/--no-echo", default=True, help="Show what controller and monitor say here too.  [default: echo]")
@click.option("--detach", "-d", is_flag=True, help="Come back when it is ready, and leave it running.")
def up(
    *,
    folder: Path,
    host: str,
    port: int,
    auth: bool | None,
    demo: bool,
    interval_s: float | None,
    workers: int,
    echo: bool,
    detach: bool,
) -> None:
    """Run MLflow's server, controller, monitor and local deployments in one command, until Ctrl-C.

    Move a version to Staging in MLflow's page, and it serves in DEV; to Production, and it serves in PROD. Ctrl-C ends
    all of it; the next `up` brings back what served. A second Ctrl-C does not wait for requests under way.

    \b
    Examples:
      hydraulic up
      hydraulic up --folder demo --port 0 --detach
      . demo/env.sh && hydraulic plan
      hydraulic down --folder demo
    """
    residence = Residence(folder)
    residence.make()
    if demo and auth is False:
        raise BadInput("--demo-users --no-auth: users need the log-in; leave one of the two away")
    auth = True if demo else auth
    wish = Wish(host=host, port=port, auth=auth or False, interval_s=interval_s, workers=workers, echo=echo, demo=demo)
    if detach:
        _detach(residence, wish, auth)
        return
    try:
        with exclusive(residence.lock, wait_s=0):
            _run(residence, _chosen(residence, wish, auth))
    except Held as held:
        url = residence.read_status().get("url", "an address that it has not told yet")
        raise Conflict(
            f"{residence.path}: `hydraulic up` runs here already, as process {held.pid} at {url}; end it with "
            f'"hydraulic down --folder {residence.path}", or give this one another --folder'
        ) from held


def _chosen(residence: Residence, wish: Wish, auth: bool | None) -> Wish:
    """The wish with what the folder remembers."""
    chosen = residence.choose_auth(auth)
    demo = chosen and residence.choose_demo(wish=wish.demo)
    if demo and wish.host not in LOOPBACK:
        raise BadInput(
            f"--host {wish.host}: {residence.path} has the users ds1 and ds2, whose passwords everybody knows: "
            f"it listens on {LOOPBACK[0]} only; take another --folder, without --demo-users"
        )
    return replace(wish, auth=chosen, demo=demo)


def _run(residence: Residence, wish: Wish) -> None:
    from mlflow_hydraulic.cli.supervision import Supervision

    settings = checked_settings(residence, wish)
    Supervision(residence, replace(wish, port=free_port(wish.host, wish.port)), settings).run()


def checked_settings(residence: Residence, wish: Wish) -> Settings:
    """The settings that server, controller, monitor and deployments will see; `BadInput` before anything is started."""
    from mlflow_hydraulic.configuration import read_configuration
    from mlflow_hydraulic.deploy_targets.environment import Mlflow, open_environments
    from mlflow_hydraulic.monitor.configured import read_monitoring
    from mlflow_hydraulic.settings import read_settings, read_tables

    if wish.auth and find_spec("flask_wtf") is None:
        raise BadInput('--auth: MLflow\'s log-in is not installed here: pip install "mlflow-hydraulic[auth]"')
    environ = residence.environ(os.environ, wish.url)
    settings = read_settings(environ)
    read_monitoring(read_tables(environ))
    mlflow = Mlflow(tracking_uri=wish.url, storage=lambda model: model.uri)  # nothing is deployed by these
    open_environments(read_configuration(read_tables(environ)).environments, settings, mlflow)
    return settings


def _detach(residence: Residence, wish: Wish, auth: bool | None) -> None:
    """Start an `up` that outlives this command, and come back when it is ready; where one runs already, say so."""
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "up", "--folder", str(residence.path)]
    command += ["--host", wish.host, "--port", str(wish.port), "--workers", str(wish.workers), "--no-echo"]
    command += ["--interval", f"{wish.interval_s:g}"] if wish.interval_s else []
    command += [] if auth is None else ["--auth" if auth else "--no-auth"]
    command += ["--demo-users"] if wish.demo else []
    pid = holder(residence.lock)
    if pid is not None:
        click.echo(f"runs already, as process {pid}")
        _wait_ready(residence, None)
        return
    log = residence.logs / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_ready(residence, process)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _wait_ready(residence: Residence, process: subprocess.Popen[bytes] | None) -> None:
    log = residence.logs / "up.log"
    while True:
        if process is not None and process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise Failed(f"`hydraulic up` ended with code {process.returncode}:\n{said}")
        if process is None and holder(residence.lock) is None:
            raise Failed("it has just ended: try again")
        status = residence.read_status()
        if status.get("ready") and status.get("pid") == holder(residence.lock):
            break
        time.sleep(POLL_S)
    click.echo(f"{status['url']} is up; the commands of another shell:  . {residence.env_sh}")
    click.echo(f'end it with "hydraulic down --folder {residence.path}"; what it says is in {log}')


@click.command()
@in_folder
def down(*, folder: Path) -> None:
    """End the `up` of a folder and all that it runs; also deployments that a killed `up` left serving.

    \b
    Examples:
      hydraulic down
      hydraulic down --folder demo
    """
    residence = Residence(folder)
    if not residence.lock.exists():
        click.echo(f"nothing to end: there was never a `hydraulic up` in {residence.path}")
        return
    signal_holder(residence.lock, signal.SIGTERM, wait_s=DOWN_S)
    try:
        with exclusive(residence.lock, wait_s=0):
            _end_left_over(residence)
    except Held as held:
        raise Failed(f"process {held.pid} does not end: look at {residence.logs}, or end it with SIGINT") from held


def _end_left_over(residence: Residence) -> None:
    import threading

    from mlflow_hydraulic.cli.resting import Deployments

    wish = Wish(host="127.0.0.1", port=0, auth=False, interval_s=None, workers=1)
    deployments = Deployments(residence, checked_settings(residence, wish), click.echo)
    if not deployments.end(threading.Event()):
        raise Failed(f"not every deployment ended: look at {residence.home}")
    residence.status.unlink(missing_ok=True)
    click.echo("stopped: nothing is left running")
