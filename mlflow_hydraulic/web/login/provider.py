"""An OpenID Connect provider, by Authlib: discovery, PKCE, state, nonce, and the ID token's signature and claims.

Made once a process; `door` sends browsers there and takes them back. Every trouble is `Unavailable` or `NotLetIn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError

from mlflow_hydraulic.errors import HydraulicError, Refused, Unavailable
from mlflow_hydraulic.web.login.settings import SECRET, OidcSettings

TIMEOUT_S = 10.0
SKEW_S = 60  # between the provider's clock and ours
# signed with a key of the provider's own: never "none", and no secret that the client knows as well
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LONGEST_NAME = 255


class NotLetIn(Refused):
    """The provider, or what it says of the person, does not let them in."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a browser is sent, and what must come back with it."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who the provider says logged in. id_token: for the log-out there."""

    name: str
    groups: frozenset[str]
    id_token: str


class _Client(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # Authlib's classes are untyped
    """Authlib's client without its web frameworks: what must survive a redirect stands in a cookie of `door`."""

    client_cls = OAuth2Session


class Provider:
    """One provider, as the table [oidc] names it."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        secret = {"client_secret": settings.client_secret} if settings.client_secret else {}
        method = {} if settings.client_secret else {"token_endpoint_auth_method": "none"}
        self._client: Any = _Client(  # Any: Authlib is untyped
            None,
            "oidc",
            client_id=settings.client_id,
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(settings.scopes),
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT_S,
                "leeway": 0,  # an access token of one minute is good: it is used at once
                **method,
            },
            **secret,
        )

    def start(self, redirect_uri: str) -> Start:
        """The address at the provider that a browser is sent to."""
        with self._troubles():
            self._metadata()
            made = self._client.create_authorization_url(
                redirect_uri, code_verifier=generate_token(64), nonce=generate_token(32)
            )
        return Start(url=made["url"], state=made["state"], nonce=made["nonce"], verifier=made["code_verifier"])

    def finish(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Person:
        """Who came back with `code`; `NotLetIn` where anything about it is wrong."""
        with self._troubles():
            issuer = self._metadata()["issuer"]
            token = self._client.fetch_access_token(redirect_uri, code=code, code_verifier=verifier)
            if not isinstance(token.get("id_token"), str):
                raise NotLetIn(
                    f"{self._named} sent no ID token: is {self.settings.client_id!r} an OpenID client there?"
                )
            options = {
                "iss": {"essential": True, "value": issuer},
                "aud": {"essential": True, "value": self.settings.client_id},
            }
            claims = dict(self._client.parse_id_token(token, nonce, claims_options=options, leeway=SKEW_S))
            wanted = {self.settings.username_claim, self.settings.groups_claim} - {""}
            if wanted - set(claims) and self._metadata().get("userinfo_endpoint"):
                more = dict(self._client.userinfo(token=token))
                if more.get("sub") != claims["sub"]:
                    raise NotLetIn(f"{self._named} told of another person than it let in: tell its administrator")
                claims = {**more, **claims}
        return self._person(claims, token["id_token"])

    def end_url(self, id_token: str, back: str) -> str:
        """Where the browser logs out at the provider, to come `back`; "" where it offers no such thing."""
        try:
            with self._troubles():
                if not self._metadata().get("end_session_endpoint"):
                    return ""
                made = self._client.create_logout_url(back, id_token or None, client_id=self.settings.client_id)
        except HydraulicError:
            return ""  # the log-out here is done; the provider is away
        return str(made["url"])

    def _person(self, claims: dict[str, Any], id_token: str) -> Person:  # Any: JSON
        claim = self.settings.username_claim
        name = claims.get(claim)
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise NotLetIn(
                f"{self._named} told no usable {claim!r}: set username_claim in [oidc] to a claim that it sends"
            )
        if claim == "email" and claims.get("email_verified") is not True:
            raise NotLetIn(f"{self._named} has not verified the address {name!r}: verify it there, then log in again")
        said = claims.get(self.settings.groups_claim) if self.settings.groups_claim else None
        groups = said if isinstance(said, list) else [said]
        return Person(name=name, groups=frozenset(str(one) for one in groups if one), id_token=id_token)

    def _metadata(self) -> dict[str, Any]:  # Any: JSON
        """What the provider says of itself, fetched once; its issuer must be the one that was configured."""
        found: dict[str, Any] = self._client.load_server_metadata()
        if found.get("issuer", "") != self.settings.issuer:
            self._client.server_metadata.pop("_loaded_at", None)
            raise NotLetIn(
                f"[oidc] issuer={self.settings.issuer!r}: the provider there calls itself {found.get('issuer')!r}"
            )
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [one for one in offered if one in SIGNATURES]
        return found

    @property
    def _named(self) -> str:
        return self.settings.label

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """What can go wrong at the provider as errors of ours, with no code and no token in them."""
        try:
            yield
        except requests.JSONDecodeError as error:  # a request's error too, and no reason to try again
            raise NotLetIn(f"{self._named} sent something else than OpenID Connect: no JSON") from error
        except requests.RequestException as error:
            raise Unavailable(f"{self._named} does not answer at {self.settings.issuer}: try again") from error
        except AuthlibBaseError as error:
            hint = f"; check client_id and {SECRET}" if error.error == "invalid_client" else "; log in again"
            raise NotLetIn(f"{self._named} refused: {error.error}{hint}") from error
        except JoseError as error:
            raise NotLetIn(f"what {self._named} sent cannot be trusted: {_told(error)}; log in again") from error
        except (ValueError, KeyError, TypeError, RuntimeError) as error:  # JSON of another shape
            raise NotLetIn(f"{self._named} sent something else than OpenID Connect: {type(error).__name__}") from error


def _told(error: JoseError) -> str:
    claim = getattr(error, "claim", "")
    return f"{error.error}{f' ({claim})' if claim else ''}"
