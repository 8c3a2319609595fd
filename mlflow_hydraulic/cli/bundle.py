"""`hydraulic bundle`: look into a model's portable bundle, verify it against its Python model, build it anew."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.bundle.manifest import MANIFEST
from mlflow_hydraulic.bundle.read import Bundle, read_bundle
from mlflow_hydraulic.errors import HydraulicError, NotFound

if TYPE_CHECKING:
    from mlflow_hydraulic.bundle.certificate import Certificate

FOLDER = "bundle"  # in a saved model
GROUPS = 5  # groups of rows in a certificate
Json = dict[str, Any]  # Any: the value is JSON

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bundle() -> None:
    """Inspect a model's portable bundle and verify its certificate.

    MODEL is a saved model's folder, or an MLflow URI: models:/name/1, models:/name@champion, runs:/ID/model.

    \b
    Examples:
      hydraulic bundle show models:/hydraulic-cooler/1
      hydraulic bundle verify ./saved-model --json
      hydraulic bundle build ./saved-model -o ./bundle
    """


@bundle.command()
@click.argument("model")
@as_json
def show(model: str, *, as_json: bool) -> None:
    """Print what a bundle holds: inputs, labels, graph, certificate. Digests of all files are checked.

    MODEL may also be the bundle's own folder.

    \b
    Example:
      hydraulic bundle show models:/hydraulic-cooler/1 --json
    """
    with _folder(model) as folder:
        found = read_bundle(_bundle_folder(folder))
        certificate = found.read_certificate()
        value = {**_described(found), "certificate": certificate}
        click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else _text(found, certificate))


@bundle.command()
@click.argument("model")
def digest(model: str) -> None:
    """Print the sha256 of MODEL's files, by which deployments and pods pin it. It need not have a bundle.

    \b
    Example:
      hydraulic bundle digest models:/hydraulic-cooler/1
    """
    from mlflow_hydraulic.bundle.digest import digest_folder

    with _folder(model) as folder:
        click.echo(digest_folder(folder))


@bundle.command()
@click.argument("model")
@as_json
def verify(model: str, *, as_json: bool) -> None:
    """Make the certificate again from the Python model and compare every field with the stored one.

    Exit code 0: all fits. 7: a digest or a field does not fit; the message names it.

    \b
    Example:
      hydraulic bundle verify models:/hydraulic-cooler/1
    """
    from mlflow_hydraulic.bundle.verify import verify_bundle
    from mlflow_hydraulic.plugin.download import saved_model

    with _folder(model) as folder:
        try:
            place = _bundle_folder(folder)
            found = read_bundle(place)
            with _progress("verifying") as step:
                certificate = verify_bundle(place, saved_model(folder), progress=step)
        except HydraulicError as error:
            if as_json:
                click.echo(json.dumps({"verified": False, "problem": str(error)}, ensure_ascii=False))
            raise
        _say_verified(found, certificate, as_json=as_json)


@bundle.command()
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make; must not exist.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the certificate's random rows.")
def build(model: str, output: Path, seed: int) -> None:
    """Build the bundle of a saved model into a folder of its own, with the libraries installed here.

    \b
    Example:
      hydraulic bundle build models:/hydraulic-cooler/1 -o bundle --seed 3
    """
    from mlflow_hydraulic.bundle.build import build_bundle
    from mlflow_hydraulic.plugin.download import saved_model

    with _folder(model) as folder, _progress("building") as step:
        built = saved_model(folder)
        if (
            folder / FOLDER / MANIFEST
        ).exists():  # the saved model leaves the rows that drift is judged by to its bundle
            built = replace(built, reference=read_bundle(folder / FOLDER).read_reference())
        made = build_bundle(built, output, seed=seed, progress=step)
    click.echo(_text(made, made.read_certificate()))


@contextmanager
def _folder(model: str) -> Iterator[Path]:
    """The model's folder; a downloaded one is removed at the end."""
    if Path(model).is_dir():
        yield Path(model)
        return
    from mlflow_hydraulic.plugin.download import model_folder

    with tempfile.TemporaryDirectory(prefix="hydraulic-bundle-") as into:
        yield model_folder(model, Path(into))


def _bundle_folder(folder: Path) -> Path:
    for place in (folder / FOLDER, folder):
        if (place / MANIFEST).exists():
            return place
    raise NotFound(
        f"{folder}: holds no bundle ({FOLDER}/{MANIFEST}): only models saved by the flavor 'hydraulic' have one; "
        "others are served by pyfunc"
    )


@contextmanager
def _progress(label: str) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, one step a group of rows; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=GROUPS, label=label, file=sys.stderr, item_show_func=lambda name: name) as bar:
        yield lambda name: bar.update(1, name)


def _described(found: Bundle) -> Json:
    return {
        "folder": str(found.folder),
        "digest": found.digest,
        "schema": found.schema.to_dict(),
        "graph": found.graph.name if found.graph else None,
        "reason": found.reason,
        "precision": found.precision if found.graph else None,
        "origin": found.origin,
        "features": found.features,
        "background_rows": len(found.background),
        "tie_rule": found.tie_rule,
        "files": found.files,
    }


def _text(found: Bundle, certificate: Json | None) -> str:
    labels = ", ".join(str(label) for label in found.schema.labels) or "(a number)"
    facts = {
        "target": f"{found.target}: {labels}",
        "inputs": f"{len(found.schema.inputs)} ({found.features}, {found.origin})",
        "graph": f"{found.graph.name}, {found.precision}" if found.graph else f"none: {found.reason}",
        "digest": found.digest,
    }
    lines = [f"{name:<12}{value}" for name, value in facts.items()]
    return "\n".join([*lines, "", *(_table(certificate) if certificate else [])]).rstrip()


def _table(certificate: Json) -> list[str]:
    head = f"{'rows compared':<14}{'rows':>7}{'difference':>12}{'ulp':>9}{'flips':>7}{'ties':>6}"
    lines = [head]
    for group in [*certificate["groups"], {"name": "all", **certificate["summary"]}]:
        lines.append(
            f"{group['name']:<14}{group['rows']:>7}{group['largest_difference']:>12.2g}{group['largest_ulp']:>9}"
            f"{group['flips']:>7}{group['ties']:>6}"
        )
    return [*lines, "", f"certificate: {'passed' if certificate['summary']['passed'] else 'FAILED'}"]


def _say_verified(found: Bundle, certificate: Certificate | None, *, as_json: bool) -> None:
    if as_json:
        value = {
            "verified": True,
            "digest": found.digest,
            "graph": found.graph.name if found.graph else None,
            "reason": found.reason,
            "summary": asdict(certificate.summary) if certificate else None,
        }
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        click.echo(_text(found, certificate.to_dict() if certificate else None))
        click.echo("verified: the bundle is what this Python model gives")
