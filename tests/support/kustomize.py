"""A kustomization as kubectl renders it; by Debian's kubectl too, whose kustomize (2.0) has other words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.helm import INSTALL

Json = dict[str, Any]
KUSTOMIZATION = "kustomization.yaml"


def kustomized(folder: str, scratch: Path, kubectl: str = "kubectl") -> list[Json]:
    """The objects of `folder` in install/. Where kubectl is older than 1.21, of a copy in the words of its day."""
    root = INSTALL
    if _minor(kubectl) < 21:
        root = scratch / "install"
        for name in ("base", "overlays"):
            shutil.copytree(INSTALL / name, root / name)
        for path in root.rglob(KUSTOMIZATION):
            _aged(path)
    done = subprocess.run(
        [kubectl, "kustomize", str(root / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]  # an old one leaves {} of what is deleted


def _minor(kubectl: str) -> int:
    said = subprocess.run(
        [kubectl, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=60, check=True
    )
    return int(re.sub(r"\D", "", json.loads(said.stdout)["clientVersion"]["minor"]))


def _aged(path: Path) -> None:
    """Folders among the resources were `bases`, and patches were listed by their path."""
    said: Json = yaml.safe_load(path.read_text(encoding="utf-8"))
    folders = [one for one in said["resources"] if (path.parent / one).is_dir()]
    said["bases"] = folders
    said["resources"] = [one for one in said["resources"] if one not in folders]
    said["patchesStrategicMerge"] = [one["path"] for one in said.pop("patches", [])]
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
