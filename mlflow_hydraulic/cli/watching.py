"""Wiring of the monitor: targets, record, true values, versions and evidence that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_hydraulic.accuracy.store import FILE, ActualStore
from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, open_sources, workspace
from mlflow_hydraulic.monitor.points import open_points
from mlflow_hydraulic.monitor.service_look import ServiceLook
from mlflow_hydraulic.monitor.versions import Versions
from mlflow_hydraulic.monitor.watch import Watched
from mlflow_hydraulic.record.opening import open_record
from mlflow_hydraulic.record.recorder import record_folder
from mlflow_hydraulic.settings import Settings


def open_watched(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Watched:
    """All that a pass of the monitor looks at; nothing is asked yet but the evidence database."""
    sources, database, monitoring = open_sources(settings), open_evidence(settings), open_monitoring()
    return Watched(
        sources=sources,
        database=database,
        record=lambda: open_record(settings),
        actuals=lambda: ActualStore(record_folder(settings) / FILE, make=False),
        versions=open_versions(settings),
        points=open_points(settings),
        monitoring=monitoring,
        service=ServiceLook(
            targets=sources.targets,
            database=database,
            workspace=workspace(),
            slas=monitoring.slas,
            interval_s=monitoring.looking.interval_s,
        ),
        workspace=workspace(),
        stopping=stopping,
    )


def open_versions(settings: Settings) -> Versions:
    """Where versions' files are and what their runs measured, by MLflow."""
    from mlflow_hydraulic.plugin.client import open_client
    from mlflow_hydraulic.plugin.trained import files_of, measures_of

    client = open_client()
    return Versions(
        folder=lambda model: files_of(model, settings.home),
        measured=lambda model: measures_of(client, model),
    )
