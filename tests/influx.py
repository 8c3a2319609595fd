"""A real InfluxDB 1.x or VictoriaMetrics for tests, from Debian's packages: free ports, data in the test's folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.services import free_port

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "inmem"
[http]
  bind-address = "127.0.0.1:{http}"
  auth-enabled = {auth}
  log-enabled = false
[monitor]
  store-enabled = false
"""
START_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Database:
    """One that answers. folder: its data; it may be stopped and started again."""

    url: str
    process: subprocess.Popen[bytes]

    def query(self, database: str, text: str, **more: str) -> list[dict[str, Any]]:
        """The series that an InfluxQL query gives: {"name", "columns", "values", "tags"}."""
        answer = requests.get(
            f"{self.url}/query", params={"db": database, "q": text, "epoch": "ns", **more}, timeout=30
        )
        answer.raise_for_status()
        result = answer.json()["results"][0]
        assert "error" not in result, result
        found: list[dict[str, Any]] = result.get("series", [])
        return found


@contextmanager
def influxdb(folder: Path, *, port: int = 0, auth: bool = False) -> Iterator[Database]:
    """InfluxDB 1.x; the test is skipped where it is not installed."""
    program = _program("influxd", "influxdb")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = folder / "influxdb.conf"
    text = CONFIG.format(folder=folder, rpc=free_port(), http=port, auth=str(auth).lower())
    config.write_text(text, encoding="utf-8")
    with _running([program, "-config", str(config)], f"http://127.0.0.1:{port}", "/ping", folder) as database:
        yield database


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[Database]:
    """VictoriaMetrics, which takes line protocol too."""
    program = _program("victoria-metrics", "victoria-metrics")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
    with _running(command, f"http://127.0.0.1:{port}", "/health", folder) as database:
        yield database


@contextmanager
def _running(command: list[str], url: str, ready: str, folder: Path) -> Iterator[Database]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(url + ready):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)  # between looks at another process, within the deadline
        yield Database(url=url, process=process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 300
    except requests.RequestException:
        return False


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return found
