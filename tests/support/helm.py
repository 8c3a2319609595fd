"""The chart as Helm renders it: its own Go library, from the package helm-python-sdk, in a process of its own.

What it does not do that `helm install` does: ask a cluster (`lookup`, API versions), hooks, upgrades.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "deploy_targets" / "kubernetes" / "install"
CHART = INSTALL / "mlflow-hydraulic"
RELEASE, NAMESPACE = "hydraulic", "mlflow"
Json = dict[str, Any]
PROGRAM = """
import json, sys
import helm_python
asked, answers = json.load(sys.stdin), []
with helm_python.Chart.load(asked["chart"]) as chart:
    for values in asked["values"]:
        try:
            chart.validate_schema(values)
            answers.append(chart.render(values, name=asked["release"], namespace=asked["namespace"]))
        except helm_python.HelmError as error:
            answers.append(str(error))
lint = [helm_python.lint(asked["chart"], values, strict=True) for values in asked["lint"]]
json.dump({"answers": answers, "lint": lint}, sys.stdout)
"""


class ChartError(Exception):
    """What Helm says of values, or of the chart."""


def rendered(*values: Json) -> list[dict[str, str]]:
    """Text by template, for each of these values; `ChartError` in Helm's words."""
    answers = _asked(values, ())["answers"]
    for answer in answers:
        if isinstance(answer, str):
            raise ChartError(answer)
    return [{name.rpartition("/")[2]: text for name, text in answer.items()} for answer in answers]


def linted(*values: Json) -> list[Json]:
    """What `helm lint --strict` says for each of these values."""
    lint: list[Json] = _asked((), values)["lint"]
    return lint


def objects(texts: dict[str, str]) -> list[Json]:
    """All objects of a render, without the notes."""
    return [
        one
        for name, text in sorted(texts.items())
        if name.endswith(".yaml")
        for one in yaml.safe_load_all(text)
        if one is not None
    ]


def values_file(name: str) -> Json:
    """The values of a file beside the chart's own, such as values-prod.yaml."""
    values: Json = yaml.safe_load((CHART / name).read_text(encoding="utf-8"))
    return values


def _asked(values: tuple[Json, ...], lint: tuple[Json, ...]) -> Json:
    asked = {"chart": str(CHART), "values": values, "lint": lint, "release": RELEASE, "namespace": NAMESPACE}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise ChartError(done.stderr)
    answers: Json = json.loads(done.stdout)
    return answers
