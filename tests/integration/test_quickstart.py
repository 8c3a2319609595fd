"""`examples/quickstart.py`, whole: what `make quickstart` does after the installation, on simulated cycles."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.local import kill_leftovers, processes_of
from tests.support.login import FORM_TOKEN

ROOT = Path(__file__).resolve().parents[2]
Quickstart = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    """Runs it in tmp_path/place; what a failed test leaves is ended."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "HYDRAULIC_DATA": str(tmp_path / "simulated.parquet"),
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    made = run("-m", "mlflow_hydraulic.cli", "data", "simulate", "simulated.parquet")
    assert made.returncode == 0, made
    yield lambda *options: run(str(ROOT / "examples" / "quickstart.py"), "--folder", str(tmp_path / "place"), *options)
    run("-m", "mlflow_hydraulic.cli", "down", "--folder", "place")
    kill_leftovers(tmp_path / "place" / "home")


def own_processes(folder: Path) -> list[psutil.Process]:
    """Every process that names `folder`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_main_job_goes_through_both_stages_and_make_stop_ends_it(quickstart: Quickstart, tmp_path: Path) -> None:
    done = quickstart()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout
    for word in ("Staging", "Production"):
        assert f"hydraulic-cooler 1 is in {word}" in said
    for environment in ("dev", "prod"):
        assert f"hydraulic.{environment}.state=healthy" in said
    # each class is the likeliest for its own cycle in PROD
    asked = re.findall(r"# simulated cycle \d+: its cooler was at (\d+) %", said)
    assert asked == ["3", "3", "20", "100", "3"]
    likely = re.findall(r"cool_cond_y\.(\d+) +(?:1\.0000|0\.[5-9]\d+)", said)
    assert likely == asked
    assert "nothing to do: what the registry says is what runs" in said
    assert "mlflow deployments create -t seldon-local --name cooler-by-hand" in said
    page = re.search(r"^open +(http://127\.0\.0\.1:\d+)/hydraulic/projects ", said, flags=re.MULTILINE)
    assert page is not None
    told = dict(re.findall(r"^log in as +(ds\d), password (\S+)$", said, flags=re.MULTILINE))
    assert list(told) == ["ds1", "ds2"] and "127.0.0.1 only" in said
    for user, password in told.items():
        with requests.Session() as session:
            token = FORM_TOKEN.findall(session.get(f"{page[1]}/hydraulic/login", timeout=60).text)[0]
            sent = {"user": user, "password": password, "token": token}
            assert session.post(f"{page[1]}/hydraulic/login", data=sent, timeout=60).ok
            listed = session.get(f"{page[1]}/ajax-api/2.0/hydraulic/projects", timeout=60).json()["items"]
            assert [one["name"] for one in listed] == (["hydraulic"] if user == "ds1" else [])  # not shared yet

    place = tmp_path / "place"
    assert own_processes(place)
    stopped = quickstart("--stop")
    assert stopped.returncode == 0 and "nothing is left running" in stopped.stdout, stopped
    assert not own_processes(place) and not processes_of(place / "home")
