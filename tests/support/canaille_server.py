"""Runs Canaille with ds1 and ds3 (group "data", ds3 also "ops"): `python canaille_server.py PORT BACK SECRET`.

In Canaille's own environment, where nothing of ours is to be had. Everything is kept in memory.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from canaille import create_app  # type: ignore[import-not-found,unused-ignore]  # in that environment only
from joserfc.jwk import RSAKey

port, back, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
app = create_app(
    {
        "SECRET_KEY": "a key of the tests, which is long enough",
        "SERVER_NAME": f"localhost:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {
            "DATABASE": "memory",
            "SMTP": None,
            "JAVASCRIPT": False,
            "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"], "READ": ["user_name", "groups", "lock_date"]}},
        },
        "CANAILLE_OIDC": {
            "ACTIVE_JWKS": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)],
            "REQUIRE_NONCE": True,
            "TRUSTED_DOMAINS": ["127.0.0.1"],  # no page that asks for consent
        },
    }
)
with app.app_context():
    from canaille.app import models  # type: ignore[import-not-found,unused-ignore]  # wants the application
    from canaille.backends import Backend  # type: ignore[import-not-found,unused-ignore]

    people = {}
    for name in ("ds1", "ds3"):
        people[name] = models.User(
            user_name=name,
            formatted_name=name,
            family_name=name,
            emails=[f"{name}@lab.example"],
            password=f"the password of {name} there",
        )
        Backend.instance.save(people[name])
    for group, members in (("data", ["ds1", "ds3"]), ("ops", ["ds3"])):
        Backend.instance.save(models.Group(display_name=group, members=[people[name] for name in members]))
    client = models.Client(
        client_id="mlflow",
        client_secret=secret,
        client_name="MLflow",
        client_uri=back,
        contacts=["somebody@lab.example"],
        redirect_uris=[f"{back}/hydraulic/login/back"],
        post_logout_redirect_uris=[f"{back}/hydraulic/logout"],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",
        client_id_issued_at=datetime.now(timezone.utc),
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)
app.run("localhost", port, threaded=True)
