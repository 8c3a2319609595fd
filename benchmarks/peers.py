"""Environments of the peers that we measure against: one virtual environment each, made on demand under .cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.report import say

CACHE = Path(__file__).resolve().parents[1] / ".cache"

# The same versions as ours, so that the model is the same and only the way to serve it differs.
MLFLOW = [f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops", "pandas", "numpy")]
TSFRESH = ["tsfresh>=0.20", "pandas<3", "setuptools<81"]


def peer_python(name: str, requirements: list[str]) -> Path:
    """The interpreter of the environment `.cache/bench-{name}`, made anew when `requirements` have changed."""
    folder = CACHE / f"bench-{name}"
    stamp, wanted = folder / ".requirements", hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    say(f"installing the peer {name} into {folder} ({', '.join(requirements)})")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    quiet = ["-qq", "--disable-pip-version-check"]
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *requirements], check=True, stdout=sys.stderr)
    stamp.write_text(wanted, encoding="utf-8")
    return python
