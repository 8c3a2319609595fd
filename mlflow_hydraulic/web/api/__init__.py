"""The REST routes, an area a module; importing this declares them all."""

from mlflow_hydraulic.web.api import (
    about,
    acts,
    alerts,
    deployments,
    description,
    events,
    models,
    monitoring,
    projects,
    verdicts,
)

__all__ = [
    "about",
    "acts",
    "alerts",
    "deployments",
    "description",
    "events",
    "models",
    "monitoring",
    "projects",
    "verdicts",
]
