"""The accounts of `hydraulic up` with a log-in: controller and monitor have their own, and a demo has ds1 and ds2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import requests

from mlflow_hydraulic.errors import Failed

ADMIN = "admin"
CONTROLLER, MONITOR = "hydraulic-controller", "hydraulic-monitor"
# The tutorial's are ds1/ds1 and ds2/ds2; MLflow asks for 12 characters.
DEMO = {"ds1": "ds1ds1ds1ds1", "ds2": "ds2ds2ds2ds2"}
TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """admin: sees every project; controller and monitor must."""

    name: str
    password: str
    admin: bool = False

    def __repr__(self) -> str:
        return f"Account({self.name!r}, admin={self.admin})"  # never the password


def make_accounts(url: str, admin_password: str, accounts: Sequence[Account]) -> None:
    """See to it that each can log in at `url`; `Failed` where the administrator cannot, and so cannot make them."""
    with requests.Session() as session:
        for account in accounts:
            if not _is_there(session, url, account):
                _make(session, url, admin_password, account)


def _is_there(session: requests.Session, url: str, account: Account) -> bool:
    login = (account.name, account.password)
    answer = session.get(f"{url}/api/2.0/mlflow/users/current", auth=login, timeout=TIMEOUT_S)
    return answer.status_code == 200 and bool(answer.json()["user"]["is_admin"]) is account.admin


def _make(session: requests.Session, url: str, admin_password: str, account: Account) -> None:
    """Make the user; one that is there from before gets this password and these rights."""
    login, users = (ADMIN, admin_password), f"{url}/api/2.0/mlflow/users"
    given = {"username": account.name, "password": account.password}
    made = session.post(f"{users}/create", json=given, auth=login, timeout=TIMEOUT_S)
    if made.status_code == 400 and "RESOURCE_ALREADY_EXISTS" in made.text:
        made = session.patch(f"{users}/update-password", json=given, auth=login, timeout=TIMEOUT_S)
    if made.ok:
        rights = {"username": account.name, "is_admin": account.admin}
        made = session.patch(f"{users}/update-admin", json=rights, auth=login, timeout=TIMEOUT_S)
    if not made.ok:
        raise Failed(
            f"the account {account.name!r} cannot be made (HTTP {made.status_code}): is the password of {ADMIN!r} in "
            f"auth.json still the one that MLflow knows? Put the right one there"
        )
