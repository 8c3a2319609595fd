"""`hydraulic db`: the evidence database's schema, which lies beside MLflow's own tables."""

from __future__ import annotations

import json

import click


@click.group()
def db() -> None:
    """Make, upgrade and check the evidence database: HYDRAULIC_DATABASE, or the registry's own.

    \b
    Examples:
      hydraulic db check
      hydraulic db upgrade
      HYDRAULIC_DATABASE=postgresql://mlflow@db/mlflow hydraulic db upgrade
    """


@db.command()
def upgrade() -> None:
    """Bring the schema to this package's version; safe to repeat, and what is recorded stays.

    \b
    Example:
      HYDRAULIC_DATABASE=sqlite:///mlflow.db hydraulic db upgrade
    """
    from mlflow_hydraulic.cli.world import evidence_uri
    from mlflow_hydraulic.evidence import database
    from mlflow_hydraulic.settings import read_settings

    uri = evidence_uri(read_settings())
    version = database.upgrade(database.open_database(uri))
    click.echo(f"{database.safe_uri(uri)}: evidence schema {version}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, as_json: bool) -> None:
    """Say whether the schema is the one that this package needs; exit code 1 when it is not.

    \b
    Example:
      hydraulic db check --json
    """
    from mlflow_hydraulic.cli.world import evidence_uri
    from mlflow_hydraulic.evidence import database
    from mlflow_hydraulic.settings import read_settings

    uri = evidence_uri(read_settings())
    version = database.check(database.open_database(uri))
    said = {"database": database.safe_uri(uri), "schema": version}
    click.echo(json.dumps(said) if as_json else f"{said['database']}: evidence schema {version}, as it should be")
