"""Seldon's own Python microservice in an environment of its own: `python -m tests.support.seldon_env` makes it.

seldon-core 1.17.1, the last release under the Apache License 2.0, cannot be installed together with today's MLflow:
pip would fall back to an old one. So it stands alone under .cache/seldon-env, without its declared requirements.
Used by the comparison test and by the benchmark of starts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "seldon-env"
SELDON = "seldon-core==1.17.1"
# Its generated stubs need protobuf 3.20. With a later one in pure Python they are imported too, but their maps
# (requestPath, tags) are lists there, and each gRPC answer fails. onnxruntime 1.27 asks for protobuf 4.
REQUIREMENTS = (
    *("flask", "flask-cors", "grpcio", "grpcio-reflection<1.49", "protobuf<3.21", "gunicorn", "jsonschema"),
    *("prometheus-client", "pyyaml", "click", "numpy", "setuptools<81", "onnxruntime<1.27", "msgspec"),
)
ENVIRON = {"PYTHONPATH": str(ROOT)}


class NotMade(Exception):
    """The environment cannot be made here; the message has pip's last lines."""


def seldon_python(folder: Path = FOLDER, requirements: tuple[str, ...] = REQUIREMENTS) -> Path:
    """The interpreter that has seldon-core, made once and anew when the list changes. Two at once do no harm."""
    wanted = hashlib.sha256("\n".join((SELDON, *requirements, sys.version)).encode()).hexdigest()
    stamp = folder / ".requirements"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
        try:
            _make(scratch, requirements)
            (scratch / ".requirements").write_text(wanted, encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)  # its scripts name the old path: run modules with `python -m`, not scripts
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder / "bin" / "python"


def microservice(python: Path, component: str, *parameters: str) -> tuple[list[str], dict[str, str]]:
    """The command and the variables that run `seldon-core-microservice` on a component, told by its dotted name."""
    command = [str(python), "-c", "from seldon_core.microservice import main; main()", component, *parameters]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))}
    return command, {**kept, **ENVIRON}


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, *requirements],
        [*pip, "--no-deps", SELDON],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise NotMade(f"{' '.join(command)}: {(done.stderr or done.stdout)[-500:]}")


if __name__ == "__main__":
    print(seldon_python())
