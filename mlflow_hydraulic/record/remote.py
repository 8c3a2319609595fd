"""An intake elsewhere as a shipper's destination. Called by `hydraulic record ship --to`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import requests

from mlflow_hydraulic.errors import BadData, BadInput, Unavailable
from mlflow_hydraulic.record.entries import Head, encode
from mlflow_hydraulic.record.frames import HEAD, frame
from mlflow_hydraulic.settings import Settings

TOKEN = "HYDRAULIC_INTAKE_TOKEN"  # noqa: S105 - its name: a pod has it from a secret
TIMEOUT_S = 60.0
UNREADABLE = (400, 413, 422)  # this segment is at fault, and no other


class Remote:
    """The intake at `url`. `Unavailable` where it is away or refuses the token, `BadData` where it cannot read."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"--to {url}: must be the URL of an intake, as http://record.monitoring:8090")
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def offset(self, segment: str) -> int:
        return self._ask("GET", segment, {}, b"")

    def take(self, segment: str, head: Head, start: int, data: bytes, *, final: bool) -> int:
        body = frame(HEAD, encode(head)) + data
        return self._ask("POST", segment, {"start": str(start), "final": "1" if final else "0"}, body)

    def _ask(self, method: str, segment: str, parameters: dict[str, str], body: bytes) -> int:
        url = f"{self._url}/segments/{segment}"
        try:
            answer = self._session.request(method, url, params=parameters, data=body, timeout=TIMEOUT_S)
            said = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise Unavailable(f"intake {self._url}: {error}") from error
        if answer.status_code in UNREADABLE:
            raise BadData(segment, f"the intake cannot read it: {said.get('error', '')}")
        offset = said.get("offset")
        if answer.status_code != 200 or not isinstance(offset, int):
            raise Unavailable(f"intake {self._url} answers {answer.status_code}: {said.get('error', said)}")
        return offset


def read_token(settings: Settings, environ: Mapping[str, str] | None = None) -> str:
    """The token that intake and shippers share: HYDRAULIC_INTAKE_TOKEN, else in the file that is named; "" for none."""
    if token := (os.environ if environ is None else environ).get(TOKEN, "").strip():
        return token
    if not settings.intake_auth_file:
        return ""
    try:
        token = Path(settings.intake_auth_file).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInput(f"HYDRAULIC_INTAKE_AUTH_FILE={settings.intake_auth_file}: {error}") from error
    if not token:
        raise BadInput(f"HYDRAULIC_INTAKE_AUTH_FILE={settings.intake_auth_file}: the file is empty")
    return token
