"""Any model: another project's scikit-learn model, logged with MLflow's own flavor, deploys by the same commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Shell = Callable[..., str]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Runs a command as a person would, with a registry of its own; deletes the deployment at the end."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, check=False, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    yield run
    run("mlflow", "deployments", "delete", "-t", "seldon-local", "--name", "wine")


def _post(url: str, body: bytes) -> dict[str, object]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer: dict[str, object] = json.load(reply)
    return answer


@pytest.mark.slow
def test_a_model_of_another_project_is_deployed_by_the_commands_that_it_prints(shell: Shell) -> None:
    said = shell(sys.executable, str(ROOT / "examples" / "second_project" / "train.py"))
    create = re.search(r"^mlflow deployments create .*$", said, flags=re.MULTILINE)
    ask = re.search(r"-d '(.*)'$", said, flags=re.MULTILINE)
    assert create is not None and ask is not None, said
    shell(*create[0].split())

    told = shell("mlflow", "deployments", "get", "-t", "seldon-local", "--name", "wine")
    url = re.search(r"https?://[^\s'\",}]+", told)
    assert url is not None, told
    wine = json.loads(ask[1])
    assert _post(f"{url[0].rstrip('/')}/invocations", ask[1].encode()) == {"predictions": ["class_0"]}

    wine["dataframe_split"]["data"][0][0] = "strong"  # a word where a number belongs
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(f"{url[0].rstrip('/')}/invocations", json.dumps(wine).encode())
    assert refused.value.code == 400
    assert b"alcohol" in refused.value.read()
