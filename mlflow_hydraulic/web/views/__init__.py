"""The pages, an area a module; importing this declares them all."""

from mlflow_hydraulic.web.views import (
    about,
)

__all__ = [
    "about",
]
