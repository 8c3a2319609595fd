"""Which models MLflow's grants let a user read, all at once: the same as MLflow says of each one by one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mlflow_hydraulic.people.visible import Readable
from mlflow_hydraulic.plugin.grants import readable_models

MODELS = ("mine", "theirs", "hidden", "unknown")


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MLflow's own store of users and grants; `mlflow.server.auth` itself wants a server's environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's imports and migrations
        from mlflow.server.auth import permissions
        from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore()
        store.init_db(f"sqlite:///{tmp_path_factory.mktemp('auth') / 'auth.db'}")
    store.create_user("ds1", "a long password")
    store.create_user("ds2", "a long password")
    store.create_registered_model_permission("mine", "ds1", "MANAGE")
    store.create_registered_model_permission("theirs", "ds2", "READ")
    store.create_registered_model_permission(
        "hidden", "ds1", "DENY" if hasattr(permissions, "DENY") else "NO_PERMISSIONS"
    )
    default = SimpleNamespace(default_permission="READ")
    yield SimpleNamespace(store=store, auth_config=default, get_permission=permissions.get_permission)
    store.engine.dispose()


def one_by_one(auth: Any, user: str) -> set[str]:
    """What MLflow's own rule says: the grant on the model, at least the default, but never over an explicit none."""
    identity, default = auth.store.get_user(user).id, auth.get_permission(auth.auth_config.default_permission)
    found = set()
    for model in MODELS:
        own = auth.store.get_role_permission_for_resource(identity, "registered_model", model, "default")
        none = own is not None and own.name in ("NO_PERMISSIONS", "DENY")
        if (own is not None and own.can_read) or (not none and default.can_read):
            found.add(model)
    return found


@pytest.mark.parametrize("default", ["READ", "NO_PERMISSIONS", "MANAGE", "EDIT"])
@pytest.mark.parametrize("user", ["ds1", "ds2"])
def test_the_same_as_one_by_one(auth: Any, user: str, default: str) -> None:
    auth.auth_config.default_permission = default
    readable = readable_models(auth, user)
    assert {model for model in MODELS if model in readable} == one_by_one(auth, user)


def test_a_grant_on_all_models(auth: Any) -> None:
    auth.auth_config.default_permission = "NO_PERMISSIONS"
    role = auth.store.create_role("readers", "default")
    auth.store.add_role_permission(role.id, "registered_model", "*", "READ")
    auth.store.assign_role_to_user(auth.store.get_user("ds2").id, role.id)
    assert readable_models(auth, "ds2") == Readable()
    assert readable_models(auth, "ds1") == Readable(every=False, names=frozenset({"mine"}))
    assert readable_models(auth, "nobody") == Readable(every=False)
