"""Names of hidden models that MLflow writes on logged models: left out of its answers for whom they are hidden.

A logged model is its experiment's, which MLflow shows by permissions of its own; its tag `mlflow.modelVersions` lists
the registered versions that were made of it, whosoever they are. Put behind MLflow's answers by `app`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import g, request
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from mlflow_hydraulic.plugin.sharing import roles
from mlflow_hydraulic.plugin.users import is_admin

if TYPE_CHECKING:
    from flask import Response

PATH = "/logged-models"


def withhold(response: Response) -> Response:
    """The answer without the names of models in projects in which who asks has no role."""
    user = g.get("mlflow_authenticated_user") or ""
    if PATH not in request.path or not user or not response.is_json:
        return response
    if MLFLOW_MODEL_VERSIONS.encode() not in response.get_data() or is_admin(user):
        return response
    placed = roles(user)
    said = response.get_json()
    without(said, lambda name: isinstance(name, str) and name in placed and placed[name] is None)
    response.set_data(json.dumps(said))
    return response


def without(said: Any, hidden: Callable[[object], bool]) -> None:  # Any: JSON
    """Take the versions of hidden models out of all tags in `said` that list some."""
    if isinstance(said, list):
        for one in said:
            without(one, hidden)
    elif isinstance(said, dict) and said.get("key") == MLFLOW_MODEL_VERSIONS:
        said["value"] = _shown(str(said.get("value", "")), hidden)
    elif isinstance(said, dict):
        without(list(said.values()), hidden)


def _shown(text: str, hidden: Callable[[object], bool]) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, list):
        return text
    return json.dumps([one for one in found if not (isinstance(one, dict) and hidden(one.get("name")))])
