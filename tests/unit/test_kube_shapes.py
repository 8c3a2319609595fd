"""The table of what each shape can do: what it denies is refused with its row, and the documentation shows the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.kserve_manifest import kserve_manifests
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import option_help, options_from_config, options_from_table
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.plain_manifest import plain_manifests
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import seldon_manifest
from mlflow_hydraulic.deploy_targets.kubernetes.shapes import (
    ABILITIES,
    SHAPES,
    TABLE,
    refuse_impossible,
    table_markdown,
)
from mlflow_hydraulic.deployment import Deployment
from mlflow_hydraulic.errors import BadInput
from tests.support.kube_values import deployment, predictor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[2] / "docs" / "kubernetes.md"
AB = deployment(predictor(traffic=50), predictor("2", "b", 50))
ABC = deployment(predictor(traffic=50), predictor("2", "b", 30), predictor("3", "c", 20))
SHADOWED = deployment(shadow=predictor("2", "shadow"))

# Every row that can be asked for, asked for once.
ASKED: dict[str, tuple[Deployment, dict[str, str]]] = {
    "A/B of two": (AB, {}),
    "A/B of three or more": (ABC, {}),
    "shadow": (SHADOWED, {}),
    "autoscaling": (deployment(), {"autoscale_max": "2"}),
    "disruption budget": (deployment(), {"max_unavailable": "1"}),
    "request log": (deployment(), {"logger_url": "http://broker"}),
    "request timeout": (deployment(), {"timeout_ms": "2000"}),
    "gateway": (deployment(), {"gateway_url": "http://istio"}),
    "init container brings the model": (deployment(), {"delivery": "initializer"}),
    "server prepackaged-mlflow": (deployment(), {"server": "prepackaged-mlflow"}),
    "server mlserver": (deployment(), {"server": "mlserver", "protocol": "v2"}),
    "server image": (deployment(), {"server": "image", "image": "own:1"}),
}
# Rows that say how it is, or what the shape does by itself.
TOLD = {"one champion", "canary steps", "orchestrator", "feedback", "explain", "gRPC", "scorer fetches from MLflow"}


def make(shape: str, one: Deployment, options: KubernetesOptions) -> object:
    storage = {p.model.uri: "s3://bucket/m" for p in one.all}
    if shape == "seldon":
        return seldon_manifest(one, options, storage=storage)
    if shape == "kserve":
        return kserve_manifests(one, options, storage=storage)
    return plain_manifests(one, options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ASKED)
def test_a_no_of_the_table_is_refused_with_its_row_and_a_yes_is_made(name: str, shape: str) -> None:
    one, config = ASKED[name]
    options = options_from_config(config)
    if ABILITIES[name].can(shape):
        assert make(shape, one, options)
        return
    with pytest.raises(BadInput) as error:
        make(shape, one, options)
    row = ABILITIES[name]
    assert f"asks for {name}, which the shape {shape!r} cannot do" in str(error.value)
    assert f"seldon: {row.seldon}, kserve: {row.kserve}, plain: {row.plain}" in str(error.value)


def test_every_row_is_asked_for_or_tells() -> None:
    assert {one.name for one in TABLE} == set(ASKED) | TOLD


def test_seldon_can_all_of_it() -> None:
    assert all(one.can("seldon") for one in TABLE)
    refuse_impossible("seldon", ABC, KubernetesOptions())


def test_the_documentation_shows_the_table_and_every_option() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert table_markdown() in text
    rows = [f"| `{key}` | {meaning} |" for key, meaning in option_help().items()]
    assert "\n".join(rows) + "\n\n" in text


def test_the_toml_of_the_documentation_is_read() -> None:
    example = DOCS.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    table = tomllib.loads(example)["environments"]["prod"]["kubernetes"]
    options = options_from_table("environments.prod.kubernetes", table)
    assert (options.autoscale_max, dict(options.secret_env)) == (5, {"MLFLOW_TRACKING_PASSWORD": "mlflow/password"})
