"""docs/pod.md is kept true: the variables, the recipe, the storages and the variants are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.plugin import delivery
from mlflow_hydraulic.seldon_component import SeldonComponent
from tests.support.seldon_env import REQUIREMENTS, SELDON

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "pod.md").read_text(encoding="utf-8")


def test_every_variable_of_the_contract_is_told() -> None:
    assert not [name for name in pod.RESERVED if f"`{name}`" not in TEXT]


def test_the_recipe_is_the_one_that_the_comparison_uses() -> None:
    recipe = re.search(r"pip install flask.*?(?=\n\$)", TEXT, re.DOTALL)
    assert recipe is not None
    words = recipe[0].replace("\\\n", " ").replace('"', "").split()[2:]
    assert sorted(words) == sorted(REQUIREMENTS)
    assert f"--no-deps {SELDON}" in TEXT


def test_the_waits_the_component_and_the_variants_are_those_of_the_code() -> None:
    waits = [f"{wait:g}" for wait in delivery.waits(60)]
    assert f"after {', '.join(waits[:6])}, ..." in TEXT
    assert f"{SeldonComponent.__module__}.{SeldonComponent.__name__}" in TEXT
    parameters = SeldonComponent.__init__.__kwdefaults__ or {}
    assert not [name for name in parameters if f"`{name}`" not in TEXT]
    assert not [path.stem for path in (ROOT / "image").glob("[!s]*.txt") if f"`VARIANT={path.stem}`" not in TEXT]
