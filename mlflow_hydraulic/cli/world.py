"""Wiring: the registry, targets and evidence database that the settings name. For plan, controller and ledger."""

from __future__ import annotations

import os

from sqlalchemy import Engine

from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.deploy_targets.environment import Mlflow, open_environments
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.monitor.configured import Monitoring, read_monitoring
from mlflow_hydraulic.settings import Settings, read_settings, read_tables
from mlflow_hydraulic.world import Sources, World


def open_world(settings: Settings | None = None) -> World:
    """The world of this process: MLflow's tracking and registry URIs and workspace, hydraulic.toml, HYDRAULIC_*."""
    settings = settings or read_settings()
    sources = open_sources(settings)
    return World(
        registry=sources.registry,
        environments=sources.environments,
        targets=sources.targets,
        database=open_evidence(settings),
        workspace=workspace(),
    )


def open_sources(settings: Settings | None = None) -> Sources:
    """What a plan is made from: the same without the evidence database."""
    from mlflow_hydraulic.plugin.client import open_client, open_registry, tracking_uri
    from mlflow_hydraulic.plugin.storage import Storage

    settings = settings or read_settings()
    configuration = open_configuration()
    client = open_client()
    mlflow = Mlflow(tracking_uri=tracking_uri(), storage=Storage(client).of)
    return Sources(
        registry=open_registry(client, settings.home, workspace()),
        environments=configuration.environments,
        targets=open_environments(configuration.environments, settings, mlflow),
    )


def workspace() -> str:
    """MLflow's workspace of this process: a controller looks after one."""
    return os.environ.get("MLFLOW_WORKSPACE", "").strip() or "default"


def open_configuration() -> Configuration:
    """Environments and policy from hydraulic.toml."""
    return read_configuration(read_tables())


def open_monitoring() -> Monitoring:
    """Alert rules and channels from hydraulic.toml."""
    return read_monitoring(read_tables())


def open_evidence(settings: Settings | None = None) -> Engine:
    """The evidence database, of this package's schema version; made beside MLflow's tables where it is not there."""
    engine = database.open_database(evidence_uri(settings or read_settings()))
    database.ready(engine)
    return engine


def evidence_uri(settings: Settings) -> str:
    """HYDRAULIC_DATABASE, or the registry's database where MLflow names one rather than a server."""
    if settings.database:
        return settings.database
    from mlflow_hydraulic.plugin.address import registry_uri

    uri = registry_uri()
    if database.plain_uri(uri).partition(":")[0].partition("+")[0] in database.SCHEMES:
        return uri
    raise BadInput(
        f"the registry is {database.safe_uri(uri)}, which is no database: set HYDRAULIC_DATABASE to the one that "
        f'the MLflow server uses, such as "postgresql://mlflow@db/mlflow"'
    )
