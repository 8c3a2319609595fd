"""`hydraulic data`: fetch, load, check, simulate, convert and describe the rig's cycles."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.cli.features import features
from mlflow_hydraulic.settings import read_settings

if TYPE_CHECKING:
    from mlflow_hydraulic.rig.cycles import Cycles

# The rig's modules import pandas and pyarrow, so each command imports what it needs when it is called.


@click.group()
def data() -> None:
    """Fetch, load, check, simulate and describe the rig's cycles.

    SOURCE is a folder, UCI's zip, a per-second .parquet or .csv, or the tutorial's .csv of means.

    \b
    Examples:
      hydraulic data info ../shared/data
      hydraulic data fetch
      hydraulic data simulate cycles.parquet --cycles 300 --seed 1
    """


data.add_command(features)


@data.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(source: Path, as_json: bool) -> None:
    """Say what SOURCE holds: cycles, sensors, classes, origin, digest.

    \b
    Examples:
      hydraulic data info ../shared/data
      hydraulic data info cycles.parquet --json
    """
    facts = _facts(_load(source))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name in ("source", "origin", "cycles", "runs", "seconds", "digest"):
        click.echo(f"{name:9}{facts[name]}")
    for column, counts in facts["classes"].items():
        click.echo(f"{column:17}" + "  ".join(f"{label}: {count}" for label, count in counts.items()))
    click.echo(
        f"{'sensor':8}{'column':15}{'unit':7}{'smallest':>12}{'mean':>12}{'largest':>12}  (of the cycles' means)"
    )
    for sensor in facts["sensors"]:
        numbers = "".join(f"{sensor[key]:12.4g}" for key in ("smallest", "mean", "largest"))
        click.echo(f"{sensor['name']:8}{sensor['column']:15}{sensor['unit']:7}{numbers}")


@data.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--published", is_flag=True, help="Also compare every file with UCI's fingerprints (zip or text folder).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(source: Path, published: bool, as_json: bool) -> None:
    """Read every number of SOURCE; damage is named by file, row and column (exit code 3).

    Exit codes: 0 good, 3 damaged, 4 not found, 7 not the published files.

    \b
    Examples:
      hydraulic data check ../shared/data
      hydraulic data check condition+monitoring+of+hydraulic+systems.zip --published
    """
    from mlflow_hydraulic.rig.fetch import verify
    from mlflow_hydraulic.rig.load import load_cycles

    cycles = load_cycles(source)  # no cache: what is on disk now is what is checked
    if published:
        verify(source)
    facts = {"source": str(source), "cycles": len(cycles), "origin": cycles.origin, "digest": cycles.digest}
    verdict = "good, and as published" if published else "good"
    click.echo(json.dumps(facts | {"verdict": verdict}) if as_json else f"{source}: {verdict}: {_short(cycles)}")


@data.command()
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="Folder; default: HYDRAULIC_HOME/data.")
@click.option("--url", default=None, help="Another place to download the published zip from.")
def fetch(to: Path | None, url: str | None) -> None:
    """Download the published data set and verify it against its fingerprints.

    A download that was cut off is continued by the next call.

    \b
    Examples:
      hydraulic data fetch
      hydraulic data fetch --to data --url https://mirror.example/hydraulic.zip
    """
    from mlflow_hydraulic.rig.fetch import URL
    from mlflow_hydraulic.rig.fetch import fetch as fetch_zip
    from mlflow_hydraulic.rig.find import download_folder

    folder = to or download_folder(read_settings())
    with download_bar() as progress:
        path = fetch_zip(folder, url=url or URL, progress=progress)
    click.echo(path)


@data.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--cycles", default=2205, show_default=True, help="How many cycles.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same cycles.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv", "uci"]), default="parquet", show_default=True,
              help="uci: a folder of full-rate text as UCI publishes it (0.25 MB a cycle).")  # fmt: skip
def simulate(out: Path, cycles: int, seed: int, form: str) -> None:
    """Write synthetic cycles to OUT, marked as SIMULATED; loading them keeps the mark.

    \b
    Examples:
      hydraulic data simulate cycles.parquet
      hydraulic data simulate text --cycles 20 --format uci
    """
    from mlflow_hydraulic.rig.simulate import simulate_cycles
    from mlflow_hydraulic.rig.write import write_csv, write_parquet, write_uci

    _check_suffix(out, form)
    made = simulate_cycles(cycles=cycles, seed=seed)
    if form == "uci":
        with click.progressbar(length=17, label="sensors", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            write_uci(made, out, progress=lambda _: bar.update(1))
    else:
        (write_csv if form == "csv" else write_parquet)(made, out)
    click.echo(f"{out}: SIMULATED: {_short(made)}")


@data.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def convert(source: Path, out: Path) -> None:
    """Write SOURCE, reduced to seconds, with its conditions, to the parquet file OUT.

    \b
    Examples:
      hydraulic data convert condition+monitoring+of+hydraulic+systems.zip cycles.parquet
    """
    from mlflow_hydraulic.rig.write import write_parquet

    _check_suffix(out, "parquet")
    cycles = _load(source)
    write_parquet(cycles, out)
    click.echo(f"{out}: {_short(cycles)}")


@contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr, where that is a terminal; yields what `fetch` calls as bytes arrive."""
    with click.progressbar(length=1, label="download", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.length = total or done
            bar.update(done - bar.pos)

        yield progress


def _load(source: Path) -> Cycles:
    from mlflow_hydraulic.rig.find import cache_folder
    from mlflow_hydraulic.rig.load import load_cycles

    return load_cycles(source, cache=cache_folder(read_settings()))


def _check_suffix(out: Path, form: str) -> None:
    if form != "uci" and out.suffix != f".{form}":
        raise click.BadParameter(f"{out}: must end in .{form}, so that loaders know what it is", param_hint="OUT")


def _short(cycles: Cycles) -> str:
    return f"{len(cycles)} cycles, {cycles.origin}, digest {cycles.digest[:12]}"


def _facts(cycles: Cycles) -> dict[str, Any]:  # Any: the value is JSON
    from mlflow_hydraulic.rig.sensors import SENSORS

    means = cycles.means
    labels = cycles.conditions
    return {
        "source": cycles.source,
        "origin": cycles.origin,
        "cycles": len(cycles),
        "runs": None if cycles.run is None else len(set(cycles.run.tolist())),
        "means": True,
        "seconds": cycles.seconds is not None,
        "digest": cycles.digest,
        "classes": {}
        if labels is None
        else {
            column: {str(label): int(count) for label, count in labels[column].value_counts().sort_index().items()}
            for column in labels
        },
        "sensors": [
            {
                "name": sensor.name,
                "column": sensor.column,
                "unit": sensor.unit,
                "smallest": float(means[sensor.column].min()),
                "mean": float(means[sensor.column].mean()),
                "largest": float(means[sensor.column].max()),
            }
            for sensor in SENSORS
        ],
    }
