"""`hydraulic train`: choose, evaluate and fit a model of one condition, and log it to MLflow."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.sensors import CONDITION_BY_COLUMN

if TYPE_CHECKING:
    from mlflow_hydraulic.plugin.tracking import LoggedModel
    from mlflow_hydraulic.rig.choice import Progress
    from mlflow_hydraulic.rig.cycles import Cycles
    from mlflow_hydraulic.rig.train import TrainingResult

SIMULATED = "SIMULATED DATA: these figures say nothing of a real rig, and the model must not serve one."


@click.command()
@click.option("--target", type=click.Choice(list(CONDITION_BY_COLUMN)), help="Condition to predict.")
@click.option("--all-targets", is_flag=True, help="One model for each of the five conditions.")
@click.option(
    "--features",
    type=click.Choice(["means", "statistics"]),
    help="Inputs of the model. [default: means for cool_cond_y, statistics for the others]",
)
@click.option("--data", metavar="PATH", help="Folder, zip, parquet or CSV. [default: as `hydraulic data` finds it]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Same seed, same model.")
@click.option("--quick", is_flag=True, help="Leave out the nested check of the choice.")
@click.option("--dry-run", is_flag=True, help="Evaluate and log nothing.")
@click.option("--register", metavar="NAME", help="Register the model; with --all-targets NAME-<target>.")
@click.option("--experiment", default="hydraulic", show_default=True, metavar="NAME", help="MLflow experiment.")
@click.option("--tracking-uri", metavar="URI", help="MLflow server or store. [default: MLFLOW_TRACKING_URI]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
def train(
    *,
    target: str | None,
    all_targets: bool,
    features: str | None,
    data: str | None,
    seed: int,
    quick: bool,
    dry_run: bool,
    register: str | None,
    experiment: str,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Train a model of one condition and log it to MLflow.

    The model is chosen by runs that it did not see; its accuracy in contiguous time stands beside that.

    \b
    Examples:
      hydraulic train --target cool_cond_y --data ../shared/data --register hydraulic-cooler
      hydraulic train --target hyd_accum_bar_y --dry-run
      hydraulic train --all-targets --register hydraulic --tracking-uri http://127.0.0.1:5000
    """
    if (target is None) != all_targets:
        raise click.UsageError("give either --target or --all-targets")
    if dry_run and register:
        raise BadInput(f"--register {register} with --dry-run: a dry run logs nothing; leave one of them out")
    targets = list(CONDITION_BY_COLUMN) if all_targets else [str(target)]
    if not dry_run:
        from mlflow_hydraulic.plugin.tracking import reach

        reach(tracking_uri)  # before minutes of training, not after
    cycles = _cycles(data)
    if cycles.origin == "simulated":
        click.secho(SIMULATED, err=True, fg="red", bold=True)
    reports = []
    for each in targets:
        result = _train(cycles, each, features, seed, quick)
        name = f"{register}-{each}" if register and all_targets else register
        logged = None if dry_run else _log(result, cycles, experiment, name)
        reports.append(_report(result, cycles, logged))
        if not as_json:
            click.echo(_text(result, cycles, logged))
    if as_json:
        click.echo(json.dumps(reports if all_targets else reports[0], indent=2))


def _cycles(data: str | None) -> Cycles:
    from mlflow_hydraulic.rig.find import find_cycles
    from mlflow_hydraulic.settings import read_settings

    settings = read_settings()
    return find_cycles(dataclasses.replace(settings, data=data) if data else settings)


def _train(cycles: Cycles, target: str, features: str | None, seed: int, quick: bool) -> TrainingResult:
    from mlflow_hydraulic.rig.train import train as fit

    with _bar(f"Training {target}") as progress:
        return fit(cycles, target=target, features=features, seed=seed, nested_choice=not quick, progress=progress)


@contextmanager
def _bar(label: str) -> Iterator[Progress | None]:
    """A progress bar on a terminal, and nothing where standard error goes to a file."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        yield lambda done, total: bar.update(done * 1000 // total - bar.pos)


def _log(result: TrainingResult, cycles: Cycles, experiment: str, name: str | None) -> LoggedModel:
    from mlflow_hydraulic.plugin.tracking import log_training

    return log_training(result, cycles, experiment=experiment, registered_model_name=name)


def _report(result: TrainingResult, cycles: Cycles, logged: LoggedModel | None) -> dict[str, Any]:  # Any: JSON
    def measures(found: dict[str, Any]) -> dict[str, Any]:
        return {name: dataclasses.asdict(interval) for name, interval in found.items()}

    return {
        "target": result.target,
        "features": result.model.features,
        "chosen": result.chosen,
        "seed": result.seed,
        "origin": cycles.origin,
        "source": cycles.source,
        "data_sha256": cycles.digest,
        "measures": {scheme: measures(found.measures) for scheme, found in result.evaluations.items()},
        "nested": {scheme: measures(found) for scheme, found in result.nested.items()},
        "candidates": result.candidates.to_dict(orient="records"),
        "timings_s": result.timings_s,
        "model": None if logged is None else dataclasses.asdict(logged),
    }


def _text(result: TrainingResult, cycles: Cycles, logged: LoggedModel | None) -> str:
    from mlflow_hydraulic.rig.folds import SCHEMES

    label = "" if cycles.origin == "measured" else "  ** SIMULATED DATA **"
    lines = [
        f"{result.target}: {result.chosen} on {len(result.model.schema.inputs)} inputs ({result.model.features}), "
        f"{len(cycles)} {cycles.origin} cycles{label}",
        "",
        f"  {'tested on':<30}{'accuracy [95 %]':<28}{'balanced':<10}{'log-loss':<10}calibration error",
    ]
    for scheme, found in result.evaluations.items():
        m = found.measures
        lines.append(
            f"  {SCHEMES[scheme]:<30}{m['accuracy']!s:<28}{m['balanced_accuracy'].value:<10.4f}"
            f"{m['log_loss'].value:<10.3g}{m['ece'].value:.4f}"
        )
    lines += [f"  {SCHEMES[s] + ', choice too':<30}{found['accuracy']!s}" for s, found in result.nested.items()]
    lines += ["", f"  {'candidate':<30}{'unseen runs':<14}{'contiguous time':<18}seconds"]
    for row in result.candidates.itertuples():
        mark = "  <- chosen by unseen runs" if row.candidate == result.chosen else ""
        lines.append(
            f"  {row.candidate:<30}{row.unseen_runs:<14.4f}{row.contiguous_time:<18.4f}{row.seconds:.1f}{mark}"
        )
    return "\n".join([*lines, "", *_next(logged), ""])


def _next(logged: LoggedModel | None) -> list[str]:
    if logged is None:
        return ["  dry run: nothing was logged"]
    name = (logged.name or "hydraulic").lower().replace("_", "-")
    return [
        f"  model  {logged.uri}   (run {logged.run_id})",
        f"  next   mlflow deployments create -t seldon-local --name {name} -m {logged.uri}",
    ]
