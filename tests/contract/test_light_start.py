"""What the command line loads: help next to nothing, commands on the evidence database no MLflow and no pandas.

Each of these libraries takes from half a second to some seconds of processor time, at every call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("mlflow", "pandas", "sklearn", "matplotlib", "scipy", "pyarrow", "onnxruntime", "kubernetes", "plotly")
LOADED = """
import json, sys
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.errors import HydraulicError
for words in json.loads(sys.argv[1]):
    try:
        main(words, standalone_mode=False)
    except HydraulicError as error:
        sys.exit(f"{words}: {error}")
    print("\\0" + json.dumps([words, sorted(sys.modules)]))
"""


def loaded(commands: list[list[str]], database_uri: str = "") -> dict[str, list[str]]:
    """The modules that are loaded after each of the commands, called one after the other in one process."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environ |= {"MLFLOW_TRACKING_URI": database_uri} if database_uri else {}
    program = [sys.executable, "-c", LOADED, json.dumps(commands)]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("\0")]
    assert [words for words, _ in told] == commands
    return {" ".join(words): modules for words, modules in told}


def test_help_loads_no_library() -> None:
    for command, modules in loaded([["--help"], ["alerts", "--help"], ["monitor", "report", "--help"]]).items():
        assert not {*HEAVY, "numpy", "sqlalchemy"} & set(modules), command


@pytest.mark.parametrize("database_uri", ["sqlite"], indirect=True)
def test_commands_on_the_evidence_database_load_no_mlflow(evidence: Engine, database_uri: str) -> None:
    commands = [
        ["db", "check"],
        ["ledger", "verify"],
        ["ledger", "show"],
        ["alerts", "list"],
        ["alerts", "list", "--by", "deployment"],
        ["alerts", "rules"],
        ["alerts", "mute", "--env", "dev", "--for", "1h", "--reason", "rig is rebuilt"],
        ["monitor", "status"],
        ["monitor", "sla"],
    ]
    for command, modules in loaded(commands, database_uri).items():
        assert not set(HEAVY) & set(modules), command
