"""Canaille, a real OpenID Connect provider, in an environment of its own under .cache/canaille-env.

    with canaille(back="http://127.0.0.1:5000") as provider: ...

Apart from ours, for it brings an application's pinned libraries. `tests.support.canaille_server` is what runs there.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests

from tests.services import free_port

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "canaille-env"
WANTED = "canaille[front,oidc,server]==0.3.6"
SERVER = Path(__file__).with_name("canaille_server.py")
INPUT = re.compile(r"<input[^>]*>")
START_S = 120


@dataclass(frozen=True, kw_only=True)
class Canaille:
    """One that answers. Its people: see `canaille_server`."""

    issuer: str
    client: str = "mlflow"
    secret: str = "the secret of the client"

    def log_in(self, session: requests.Session, url: str, user: str, until: str) -> str:
        """Do in `session` what a person's browser does from `url` on: the address under `until` that it ends at."""
        answer = session.get(url, allow_redirects=False, timeout=60)
        for _ in range(12):
            there = urljoin(answer.url, answer.headers.get("Location", ""))
            if there.startswith(until):
                return there
            if answer.is_redirect:
                answer = session.get(there, allow_redirects=False, timeout=60)
                continue
            sent = _fields(answer.text) | {"login": user, "password": f"the password of {user} there"}
            answer = session.post(answer.url, data=sent, allow_redirects=False, timeout=60)
        pytest.fail(f"the provider does not send back to {until}: {answer.status_code} {answer.url}\n{answer.text}")


@contextmanager
def canaille(back: str, folder: Path) -> Iterator[Canaille]:
    """One whose client is the server at `back`; the test is skipped, with the reason, where it cannot be installed."""
    python, port = _python(), free_port()
    with (folder / "canaille.log").open("wb") as out:
        # -I: the modules beside the script are not its own
        command = [str(python), "-I", str(SERVER), str(port), back, Canaille.secret]
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        issuer = f"http://localhost:{port}"  # whose cookies are not those of a server on 127.0.0.1
        _wait(process, issuer, folder / "canaille.log")
        yield Canaille(issuer=issuer)
    finally:
        process.kill()
        process.wait()


def _python() -> Path:
    """The interpreter that has it, made once."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".made"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == WANTED:
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
        [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", WANTED],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"Canaille, the provider, cannot be installed: {(done.stderr or done.stdout)[-300:]}")
    stamp.write_text(WANTED, encoding="utf-8")
    return python


def _wait(process: subprocess.Popen[bytes], issuer: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).ok:
                return
        except requests.RequestException:
            pass  # not yet
        time.sleep(0.1)
    pytest.fail(f"Canaille does not answer at {issuer}:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _fields(page: str) -> dict[str, str]:
    """What the page's form would send."""
    found = {}
    for field in INPUT.findall(page):
        name, value = (re.search(rf'{key}="([^"]*)"', field) for key in ("name", "value"))
        if name:
            found[name[1]] = html.unescape(value[1]) if value else ""
    return found
