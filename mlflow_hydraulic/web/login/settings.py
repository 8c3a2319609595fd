"""The table [oidc] of hydraulic.toml: the OpenID Connect provider, and whom it lets in. The secret is a variable."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mlflow_hydraulic.errors import BadInput

SECRET = "HYDRAULIC_OIDC_CLIENT_SECRET"  # noqa: S105 - the variable's name
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NEEDED = ("issuer", "client_id")


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """users: patterns of names that become users at their first log-in; others must be MLflow's users before.

    username_claim: unique at the provider, and never given to somebody else. groups_claim: where groups stand in the
    ID token or the user info. user_groups: where any are named, only their members may log in. admin_groups: whose
    members are MLflow's administrators, and others not. server_url: our own address as browsers see it, where a proxy
    does not say it. client_secret: "" for a public client.
    """

    issuer: str
    client_id: str
    label: str = "OpenID Connect"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    username_claim: str = "preferred_username"
    users: tuple[str, ...] = ()
    groups_claim: str = ""
    user_groups: tuple[str, ...] = ()
    admin_groups: tuple[str, ...] = ()
    passwords: bool = True
    server_url: str = ""
    client_secret: str = ""

    def makes(self, name: str) -> bool:
        """Whether `name` becomes a user at the first log-in."""
        return any(fnmatchcase(name, pattern) for pattern in self.users)

    def __repr__(self) -> str:
        return f"OidcSettings({self.issuer}, client {self.client_id})"  # never the secret


def read_oidc(tables: Mapping[str, Any], environ: Mapping[str, str]) -> OidcSettings | None:
    """The provider of the table [oidc]; None where there is none. `BadInput` names a wrong key, or what is missing."""
    given = tables.get("oidc")
    if given is None:
        return None
    missing = [name for name in NEEDED if not (isinstance(given, dict) and given.get(name))]
    if missing:
        raise BadInput(f"[oidc]: {' and '.join(missing)} must be given")
    if "client_secret" in given:
        raise BadInput(f"[oidc] client_secret: no secret belongs into the file; give it by {SECRET}")
    try:
        found = msgspec.convert({**given, "client_secret": environ.get(SECRET, "")}, OidcSettings)
    except msgspec.ValidationError as error:
        raise BadInput(f"[oidc]: {error}") from error
    if "openid" not in found.scopes:
        raise BadInput(f'[oidc] scopes={list(found.scopes)}: must hold "openid"')
    if (found.user_groups or found.admin_groups) and not found.groups_claim:
        raise BadInput("[oidc] user_groups, admin_groups: name the groups_claim that they are looked up in")
    _check_address("issuer", found.issuer)
    if found.server_url:
        _check_address("server_url", found.server_url)
    if find_spec("authlib") is None:
        raise BadInput('[oidc]: Authlib is not installed here: pip install "mlflow-hydraulic[oidc]"')
    return found


def _check_address(name: str, url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise BadInput(f"[oidc] {name}={url!r}: must be an https:// address; http:// is for this machine only")
