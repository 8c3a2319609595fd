"""The REST routes, an area a module; importing this declares them all."""

from mlflow_hydraulic.web.api import (
    about,
    acts,
    description,
)

__all__ = [
    "about",
    "acts",
    "description",
]
