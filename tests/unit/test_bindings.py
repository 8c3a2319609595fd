"""Bindings: which version fills which role, and what is refused because it cannot be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.bindings import Desired, Environment, Problem, Selector, preset, resolve
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.registry import STAGES, RegisteredModel, Registry, Version

DEV, PROD = preset("stages")
BOTH_PROD = preset("both")[1]


def model(*versions: Version, aliases: dict[str, int] | None = None, name: str = "m") -> RegisteredModel:
    return RegisteredModel(name=name, versions=versions, aliases=aliases or {})


def version(number: int, stage: str = "None", **tags: str) -> Version:
    return Version(model="m", number=number, stage=stage, tags={f"hydraulic.{key}": tag for key, tag in tags.items()})


def arms(wish: Desired | Problem | None) -> list[tuple[int, int]]:
    assert isinstance(wish, Desired), wish
    return [(arm.version.number, arm.weight) for arm in wish.arms]


def problem(wish: Desired | Problem | None) -> str:
    assert isinstance(wish, Problem), wish
    return wish.message


def test_staging_is_dev_and_production_is_prod() -> None:
    both = model(version(1, "Production"), version(2, "Staging"))
    assert arms(resolve(both, PROD)) == [(1, 100)]
    assert arms(resolve(both, DEV)) == [(2, 100)]
    assert resolve(model(version(1), version(2, "Archived")), PROD) is None


def test_weights_split_the_traffic_and_must_add_up() -> None:
    split = model(version(1, "Production", weight="30"), version(2, "Production", weight="70"))
    assert arms(resolve(split, PROD)) == [(1, 30), (2, 70)]
    short = model(version(1, "Production", weight="30"), version(2, "Production", weight="60"))
    assert "add up to 90" in problem(resolve(short, PROD))


@pytest.mark.parametrize("weight", ["", "0", "100", "-1", "1e1", "30.0", " 30", "٣٠", "999999999999"])
def test_a_weight_is_a_whole_number_from_1_to_99(weight: str) -> None:
    split = model(version(1, "Production", weight=weight), version(2, "Production", weight="70"))
    assert "a share is a whole number from 1 to 99" in problem(resolve(split, PROD))


def test_two_in_one_stage_without_weights_are_refused_with_the_way_out() -> None:
    message = problem(resolve(model(version(1, "Production"), version(2, "Production")), PROD))
    assert "versions 1, 2 are all stage:Production" in message
    assert "archive all but one" in message


def test_a_version_left_alone_takes_all_the_traffic_whatever_its_old_weight() -> None:
    assert arms(resolve(model(version(1, "Archived"), version(2, "Production", weight="70")), PROD)) == [(2, 100)]


def test_a_challenger_shadows_and_cannot_be_the_champion() -> None:
    wish = resolve(model(version(1, "Production"), version(2), aliases={"challenger": 2}), PROD)
    assert isinstance(wish, Desired)
    assert wish.challenger is not None
    assert wish.challenger.number == 2
    itself = model(version(1, "Production"), aliases={"challenger": 1})
    assert "cannot challenge itself" in problem(resolve(itself, PROD))


def test_alias_and_stage_that_disagree_block_the_environment() -> None:
    torn = model(version(1, "Production"), version(2), aliases={"champion": 2})
    message = problem(resolve(torn, BOTH_PROD))
    assert "alias:champion is version 2" in message
    assert "stage:Production is version 1" in message
    assert arms(resolve(model(version(1, "Production"), aliases={"champion": 1}), BOTH_PROD)) == [(1, 100)]


def test_an_alias_of_a_deleted_version_selects_nothing() -> None:
    assert resolve(model(version(1), aliases={"champion": 9}), preset("aliases")[1]) is None


def test_a_model_per_environment_looks_at_its_own_names_only() -> None:
    dev, prod = preset("model-per-environment")
    mine = model(version(1), aliases={"champion": 1}, name="dev.cooler")
    assert arms(resolve(mine, dev)) == [(1, 100)]
    assert resolve(mine, prod) is None


@pytest.mark.parametrize("text", ["stage:production", "stage:None", "alias:", "alias:a b", "tag:x", "champion", ""])
def test_a_wrong_selector_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match="write"):
        Selector.parse(text)


@given(
    stages=st.lists(st.sampled_from(STAGES), max_size=6),
    weights=st.lists(st.sampled_from(["", "1", "30", "70", "x"]), min_size=6, max_size=6),
    alias=st.integers(0, 7),
)
def test_whatever_the_registry_says_the_answer_is_whole_or_a_problem(
    stages: list[str], weights: list[str], alias: int
) -> None:
    versions = [version(n, stage, weight=weights[n - 1]) for n, stage in enumerate(stages, start=1)]
    torn = model(*versions, aliases={"champion": alias} if alias else {})
    for environment in (*preset("both"), *preset("stages"), Environment(name="x")):
        wish = resolve(torn, environment)
        if isinstance(wish, Desired):
            assert sum(arm.weight for arm in wish.arms) == 100
            assert all(arm.version in versions for arm in wish.arms)


def test_the_fingerprint_sees_intent_and_not_the_facts_written_back() -> None:
    said = Registry((model(version(1, "Production")),)).fingerprint()
    fact = Version(model="m", number=1, stage="Production", tags={"hydraulic.prod.state": "healthy"})
    assert Registry((model(fact),)).fingerprint() == said
    assert Registry((model(version(1, "Staging")),)).fingerprint() != said
    assert Registry((model(version(1, "Production", weight="5")),)).fingerprint() != said
    assert Registry((model(version(1, "Production"), aliases={"a": 1}),)).fingerprint() != said
