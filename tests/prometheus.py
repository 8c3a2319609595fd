"""A real Prometheus for tests, from Debian's package: a free port, its configuration and data in the test's folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.services import free_port
from tests.support.local import until

START_S = 60.0


@dataclass(frozen=True)
class Prometheus:
    """One that is ready."""

    url: str

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series of an instant query: {"metric": labels, "value": [time, text]}."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": text}, timeout=30)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def api(self, path: str) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{path}", timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["data"]
        return found


@contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[Prometheus]:
    """Prometheus with this configuration; the test is skipped where it is not installed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "prometheus.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            try:
                return requests.get(f"{url}/-/ready", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        until(ready, "Prometheus is ready", START_S)
        yield Prometheus(url)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is; skips where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found
