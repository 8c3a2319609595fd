"""Who of MLflow's users is an administrator. Asked by the registry's gate for requests with a log-in."""

from __future__ import annotations

import sys

from mlflow.exceptions import MlflowException

from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.plugin.caller import Caller


def who_is(caller: Caller) -> Who:
    """The caller as rights know them; `Who()`, whom nothing limits, where the change is no request with a log-in."""
    return Who(name=caller.user, admin=is_admin(caller.user)) if caller.logged_in else Who()


def is_admin(name: str) -> bool:
    """Whether MLflow's basic-auth has this user as an administrator."""
    auth = sys.modules.get("mlflow.server.auth")
    if auth is None or getattr(auth.store, "engine", None) is None:
        return False
    try:
        return bool(auth.store.get_user(name).is_admin)
    except MlflowException:  # deleted meanwhile, or known to somebody else than MLflow
        return False
