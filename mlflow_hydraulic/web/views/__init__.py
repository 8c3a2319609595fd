"""The pages, an area a module; importing this declares them all."""

from mlflow_hydraulic.web.views import (
    about,
    alerts,
    composition,
    deploy,
    deployments,
    events,
    models,
    monitoring,
    projects,
)

__all__ = [
    "about",
    "alerts",
    "composition",
    "deploy",
    "deployments",
    "events",
    "models",
    "monitoring",
    "projects",
]
