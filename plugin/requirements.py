"""What an environment must install to load and score a hydraulic model; written into each saved model."""

from __future__ import annotations

import json
from importlib import metadata

from mlflow_hydraulic.version import VERSION

PACKAGE = "mlflow-hydraulic"
# MLflow's inference would miss the package, and its own range of these is wide; the numbers hang on the exact ones.
SCORING = ("numpy", "onnxruntime", "pandas", "pyarrow", "scikit-learn", "skops")


def package_requirements() -> list[str]:
    """This package as it can be installed elsewhere, and the scoring libraries as they are installed here."""
    return [_this_package(), *(f"{name}=={metadata.version(name)}" for name in SCORING)]


def _this_package() -> str:
    """Its version from an index; where it was installed from a repository, the very commit (PEP 610)."""
    try:
        text = metadata.distribution(PACKAGE).read_text("direct_url.json")
    except metadata.PackageNotFoundError:  # run from a checkout without an install
        text = None
    origin = json.loads(text) if text else {}
    vcs = origin.get("vcs_info")
    if not vcs:
        return f"{PACKAGE}=={VERSION}"
    return f"{PACKAGE} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
