"""A small OpenID Connect provider over real HTTP that lies as a test wants: what a real one is not to be had for.

The real one of the integration tests is in `tests.support.canaille`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT, SECRET = "mlflow", "the secret of the client"
Json = dict[str, Any]


@cache
def _key(whose: str) -> RSAKey:
    """Keys with one and the same id; made once, for that is slow."""
    del whose
    made: RSAKey = RSAKey.generate_key(2048, {"kid": "one"})
    return made


@dataclass
class FakeProvider:
    """What it says. claims: over the honest ones of the ID token, None takes one away. metadata: likewise.

    signature: "good", "other" (a key that it does not publish), "secret" (HS256 by the client's secret) or "none".
    """

    issuer: str = ""
    claims: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    userinfo: Json = field(default_factory=dict)
    signature: str = "good"
    id_token: bool = True
    broken: str = ""  # a path that answers with a web page
    asked: list[str] = field(default_factory=list)
    codes: dict[str, Json] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: _key("its own"))

    def discovery(self) -> Json:
        honest = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        return _without_none({**honest, **self.metadata})

    def allow(self, url: str) -> str:
        """What the person's browser does at `url`, who is let in: the address that it is sent back to."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["client_id"] == CLIENT and asked["response_type"] == "code", asked
        assert asked["code_challenge_method"] == "S256", asked
        code = hashlib.sha256(asked["state"].encode()).hexdigest()[:20]
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def token(self, given: Json, login: str) -> tuple[int, Json]:
        if login != f"{CLIENT}:{SECRET}":
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(given.get("code", ""), None)  # a code is good once
        challenge = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        sent = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != sent or asked["redirect_uri"] != given.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        answer = {"access_token": "an access token", "token_type": "Bearer", "expires_in": 60}
        return 200, {**answer, "id_token": self._id_token(asked)} if self.id_token else answer

    def _id_token(self, asked: Json) -> str:
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT, "sub": "4711", "iat": now, "exp": now + 60}
        honest |= {"nonce": asked["nonce"], "preferred_username": "ds1"}
        claims = _without_none({**honest, **self.claims})
        if self.signature == "none":
            parts = [json.dumps({"alg": "none"}), json.dumps(claims)]
            return ".".join(base64.urlsafe_b64encode(one.encode()).rstrip(b"=").decode() for one in parts) + "."
        if self.signature == "secret":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
        key = self.key if self.signature == "good" else _key("another")
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    """One that listens on a free port of this machine."""
    provider = FakeProvider()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.asked.append(path)
            known = {
                "/.well-known/openid-configuration": provider.discovery(),
                "/jwks": {"keys": [provider.key.as_dict(private=False)]},
                "/userinfo": {"sub": "4711", **provider.userinfo},
            }
            self._send(200 if path in known else 404, known.get(path, {}), path)

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            login = base64.b64decode(self.headers.get("Authorization", "Basic ").split(" ")[1]).decode()
            self._send(*provider.token(given, login), self.path)

        def _send(self, status: int, body: Json, path: str) -> None:
            page = path == provider.broken
            self.send_response(200 if page else status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.end_headers()
            self.wfile.write(b"<html>a page</html>" if page else json.dumps(body).encode())

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _without_none(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}
