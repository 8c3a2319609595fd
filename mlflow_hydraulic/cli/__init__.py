"""The command line `hydraulic`. Each command's module is imported when that command is called, so help is quick."""

from __future__ import annotations

import importlib
import sys

import click

from mlflow_hydraulic.cli.exits import exit_code
from mlflow_hydraulic.cli.table import printable_lines
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.version import VERSION

# command: (module that defines it, its one-line help)
COMMANDS = {
    "actuals": ("mlflow_hydraulic.cli.actuals", "Bring true values, joined with predictions by their ids."),
    "alerts": ("mlflow_hydraulic.cli.alerts", "List alerts, acknowledge, mute and close them; send a test."),
    "apply": ("mlflow_hydraulic.cli.plan", "Do what a saved plan says, if the world has not moved since."),
    "as-of": ("mlflow_hydraulic.cli.asof", "Show what ran, and what the registry said, at any time."),
    "bundle": (
        "mlflow_hydraulic.cli.bundle",
        "Inspect a model's portable bundle and verify its certificate.",
    ),
    "canary": ("mlflow_hydraulic.cli.canary", "See, end or repeat the canary of a new champion."),
    "controller": ("mlflow_hydraulic.cli.controller", "Keep deployments in step with the registry."),
    "data": ("mlflow_hydraulic.cli.data", "Fetch, load, check, simulate and describe the rig's cycles."),
    "db": ("mlflow_hydraulic.cli.db", "Make, upgrade and check the evidence database."),
    "deploy": ("mlflow_hydraulic.cli.deploy", "Say what is to run where: a champion, a challenger, a split."),
    "down": ("mlflow_hydraulic.cli.up", "End what `up` runs in a folder."),
    "end": ("mlflow_hydraulic.cli.deploy", "End what runs of a model in an environment."),
    "history": ("mlflow_hydraulic.cli.history", "Tell what happened to one model, in words."),
    "ledger": ("mlflow_hydraulic.cli.ledger", "Show, verify, export and anchor the ledger."),
    "local": ("mlflow_hydraulic.cli.local", "Look after deployments on this machine: list, start, stop, logs."),
    "monitor": ("mlflow_hydraulic.cli.monitor", "Watch service, drift and accuracy; status and report."),
    "plan": ("mlflow_hydraulic.cli.plan", "Show what would be done, and why."),
    "policy": ("mlflow_hydraulic.cli.policy", "Explain who may move what where."),
    "projects": ("mlflow_hydraulic.cli.projects", "Make and share projects of models; roles in them."),
    "record": ("mlflow_hydraulic.cli.record", "Look at what was asked and answered; bring it together."),
    "replay": ("mlflow_hydraulic.cli.replay", "Send rows of a file to a scorer, each once, with faults if wanted."),
    "rollback": ("mlflow_hydraulic.cli.rollback", "Go back to what ran before, through the gate."),
    "serve": ("mlflow_hydraulic.cli.serve", "Serve one model in four dialects on one port."),
    "serve-pod": ("mlflow_hydraulic.cli.serve_pod", "Serve in a pod: what the scorer's image runs."),
    "train": ("mlflow_hydraulic.cli.train", "Train a model of one condition and log it to MLflow."),
    "up": ("mlflow_hydraulic.cli.up", "Run server, controller, monitor and deployments in one command."),
    "verdict": ("mlflow_hydraulic.cli.verdict", "Approve or reject a version, or see what was said of it."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when called, and whose errors are one clean line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.{cmd_name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HydraulicError as error:
            click.echo(printable_lines(f"hydraulic: {error}"), err=True)
            ctx.exit(exit_code(error))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="hydraulic")
def main() -> None:
    """Run models from an MLflow registry: train, bundle, serve, deploy.

    \b
    Examples:
      hydraulic data info ../shared/data
      hydraulic train --target cool_cond_y --data ../shared/data --register hydraulic-cooler
      hydraulic bundle verify models:/hydraulic-cooler/1
      mlflow deployments create -t seldon-local --name cooler -m models:/hydraulic-cooler/1

    Shell completion: eval "$(_HYDRAULIC_COMPLETE=bash_source hydraulic)" (or zsh_source, fish_source).
    """


if __name__ == "__main__":
    sys.exit(main())
