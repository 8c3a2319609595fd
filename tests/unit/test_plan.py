"""The plan: what is done, what waits, and what is held because the registry did not say so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.deployment import NAME_RULE, deployment_name
from mlflow_hydraulic.plan import MODEL_LABEL, SELECTED_BY, Running, make_plan
from mlflow_hydraulic.registry import RegisteredModel, Registry, Version
from tests.unit.worlds import running

STAGES = preset("stages")
ALIASES = preset("aliases")


def registry(*versions: tuple[int, str], aliases: dict[str, int] | None = None, **weights: str) -> Registry:
    made = tuple(
        Version(
            model="m", number=n, stage=stage, tags={"hydraulic.weight": weights[f"v{n}"]} if f"v{n}" in weights else {}
        )
        for n, stage in versions
    )
    return Registry((RegisteredModel(name="m", versions=made, aliases=aliases or {}),))


def lines(said: Registry, *seen: Running, environments: tuple[object, ...] = STAGES) -> list[str]:
    plan = make_plan(said, environments, seen)  # type: ignore[arg-type]  # object: shorter calls below
    return [f"{action.kind} {action.environment} {action.wanted or action.before}".strip() for action in plan.actions]


def test_a_stage_makes_a_deployment_and_then_there_is_nothing_to_do() -> None:
    assert lines(registry((1, "Staging"))) == ["create dev v1"]
    assert lines(registry((1, "Staging")), running("dev", (1, 100))) == []


def test_another_version_updates_in_place() -> None:
    assert lines(registry((1, "Archived"), (2, "Production")), running("prod", (1, 100))) == ["update prod v2"]


def test_what_is_not_as_configured_is_updated_once_it_stands() -> None:
    seen = replace(running("prod", (1, 100)), stale='image="new"')
    [action] = make_plan(registry((1, "Production")), STAGES, [seen]).actions
    assert (action.kind, action.reason) == ("update", 'image="new"')
    assert lines(registry((1, "Production")), replace(seen, state="launching")) == []
    assert lines(registry((1, "Archived"), (2, "Production")), seen) == ["update prod v2"]


def test_a_split_and_a_challenger_are_updates_too() -> None:
    split = registry((1, "Production"), (2, "Production"), v1="20", v2="80")
    assert lines(split, running("prod", (1, 100))) == ["update prod v1 20%/v2 80%"]
    shadowed = registry((1, "Production"), (2, "None"), aliases={"challenger": 2})
    assert lines(shadowed, running("prod", (1, 100))) == ["update prod v1 + challenger v2"]


@pytest.mark.parametrize("stage", ["Archived", "None"])
def test_an_archived_version_ends(stage: str) -> None:
    assert lines(registry((1, stage)), running("prod", (1, 100))) == ["delete prod v1"]


def test_promotion_serves_in_prod_before_it_ends_in_dev() -> None:
    promoted = registry((1, "Production"))
    assert lines(promoted, running("dev", (1, 100))) == ["wait dev v1", "create prod v1"]
    launching = running("prod", (1, 100), state="launching")
    assert lines(promoted, running("dev", (1, 100)), launching) == ["wait dev v1"]
    assert lines(promoted, running("dev", (1, 100)), running("prod", (1, 100))) == ["delete dev v1"]


def test_a_promotion_that_prod_cannot_take_keeps_dev() -> None:
    torn = registry((1, "Production"), (2, "Production"))
    assert lines(torn, running("dev", (1, 100)), running("prod", (2, 100))) == ["wait dev v1", "hold prod v2"]


def test_a_deleted_version_and_a_lost_model_go_on_serving() -> None:
    assert lines(registry((2, "None")), running("prod", (1, 100))) == ["hold prod v1"]
    assert lines(Registry(()), running("prod", (1, 100))) == ["hold prod v1"]


def test_a_lost_alias_holds_and_an_archived_version_ends() -> None:
    assert lines(registry((1, "None")), running("prod", (1, 100)), environments=ALIASES) == ["hold prod v1"]
    assert lines(registry((1, "Archived")), running("prod", (1, 100)), environments=ALIASES) == ["delete prod v1"]


def test_what_a_person_deployed_by_hand_is_never_touched() -> None:
    by_hand = running("prod", (1, 100))
    by_hand.deployment.labels.clear()
    assert lines(registry((1, "Archived")), by_hand) == []


def test_deletions_come_last() -> None:
    said = Registry(
        (
            RegisteredModel(name="a", versions=(Version(model="a", number=1, stage="Archived"),)),
            RegisteredModel(name="b", versions=(Version(model="b", number=1, stage="Production"),)),
        )
    )
    assert lines(said, running("prod", (1, 100), model="a")) == ["create prod v1", "delete prod v1"]


def test_a_failed_deployment_is_tried_again() -> None:
    assert lines(registry((1, "Staging")), running("dev", (1, 100), state="failed")) == ["update dev v1"]


def test_a_name_that_a_person_took_by_hand_is_held_and_not_overwritten() -> None:
    by_hand = running("dev", (7, 100))
    by_hand.deployment.labels.clear()
    (action,) = make_plan(registry((1, "Staging")), STAGES, [by_hand]).actions
    assert (action.kind, "made by hand and is not touched" in action.reason) == ("hold", True)


def test_two_models_whose_deployments_would_have_one_name() -> None:
    first = "Cooler"
    second = deployment_name(first)
    assert second == deployment_name(second)
    said = Registry(
        tuple(
            RegisteredModel(name=name, versions=(Version(model=name, number=1, stage="Staging"),))
            for name in (first, second)
        )
    )
    plan = make_plan(said, STAGES, [])
    assert [(action.kind, action.model) for action in plan.actions] == [("create", first), ("hold", second)]
    there = running("dev", (1, 100), model=second)
    model = replace(there.deployment.predictors[0].model, name=first)
    predictors = (replace(there.deployment.predictors[0], model=model),)
    there = replace(there, deployment=replace(there.deployment, predictors=predictors))
    there.deployment.labels[MODEL_LABEL] = first
    (held,) = make_plan(said, STAGES, [there]).actions
    assert (held.kind, held.model, "for model 'Cooler'" in held.reason) == ("hold", second, True)


def test_a_promoted_version_stays_where_it_is_so_configured() -> None:
    dev, prod = STAGES
    keeps = (dev, replace(prod, promotes_from=""))
    promoted = registry((1, "Production"))
    both = (running("dev", (1, 100)), running("prod", (1, 100)))
    assert lines(promoted, *both, environments=keeps) == []
    assert lines(registry((1, "Archived")), *both, environments=keeps) == ["delete dev v1", "delete prod v1"]
    assert lines(registry((1, "None")), *both, environments=keeps) == ["delete dev v1", "delete prod v1"]
    demoted = lines(registry((1, "Staging")), *both, environments=keeps)
    assert demoted == ["delete prod v1"], "back to Staging ends PROD"


def test_promotion_follows_promotes_from_whatever_the_order() -> None:
    dev, prod = STAGES
    qa = replace(dev, name="qa", namespace="qa")
    order = (dev, replace(prod, promotes_from="qa"), qa)
    promoted = registry((1, "Production"))
    qa_1, prod_1 = running("qa", (1, 100)), running("prod", (1, 100))
    assert lines(promoted, qa_1, environments=order) == ["create prod v1", "wait qa v1"]
    assert lines(promoted, qa_1, replace(prod_1, state="launching"), environments=order) == ["wait qa v1"]
    assert lines(promoted, qa_1, prod_1, environments=order) == ["delete qa v1"]
    assert lines(registry((1, "Staging")), running("dev", (1, 100)), qa_1, prod_1, environments=order) == [
        "delete prod v1"
    ], "back to Staging ends PROD, though QA comes after it in the file"


def test_promotion_waits_for_the_last_of_a_chain() -> None:
    dev, prod = STAGES
    middle = replace(dev, name="qa", namespace="qa", champion=preset("aliases")[0].champion, promotes_from="dev")
    for order in ((replace(prod, promotes_from="qa"), middle, dev), (dev, middle, replace(prod, promotes_from="qa"))):
        said = lines(registry((1, "Production")), running("dev", (1, 100)), environments=order)
        assert sorted(said) == ["create prod v1", "wait dev v1"]


def test_a_split_is_promoted_when_all_of_it_serves_above() -> None:
    split = registry((1, "Production"), (2, "Production"), v1="20", v2="80")
    dev = running("dev", (1, 50), (2, 50))
    assert "wait dev v1 50%/v2 50%" in lines(split, dev, running("prod", (1, 100)))
    assert lines(split, dev, running("prod", (1, 20), (2, 80))) == ["delete dev v1 50%/v2 50%"]


def test_a_lost_alias_holds_also_where_stages_are_bound_beside_it() -> None:
    both = preset("both")

    def selected(by: str) -> Running:
        one = running("prod", (1, 100))
        one.deployment.labels[SELECTED_BY] = by
        return one

    for stage in ("None", "Staging"):
        said = registry((1, stage))
        kinds = {by: lines(said, selected(by), environments=both) for by in ("alias:champion", "stage:Production")}
        assert "hold prod v1" in kinds["alias:champion"]
        assert "delete prod v1" in kinds["stage:Production"]
    assert lines(registry((1, "Archived")), selected("alias:champion"), environments=both) == ["delete prod v1"]


def test_bindings_that_changed_end_nothing() -> None:
    one = running("prod", (1, 100))
    one.deployment.labels[SELECTED_BY] = "alias:champion"
    assert lines(registry((1, "None")), one) == ["hold prod v1"]
    one.deployment.labels[SELECTED_BY] = "stage:Staging"
    assert lines(registry((1, "None")), one) == ["hold prod v1"]
    dev, prod = STAGES
    narrowed = (dev, replace(prod, models="other-*"))
    (held,) = make_plan(registry((1, "Production")), narrowed, [running("prod", (1, 100))]).actions
    assert (held.kind, "leaves this model out" in held.reason) == ("hold", True)


def test_another_model_put_there_by_hand_is_put_right_even_with_the_same_number() -> None:
    one = running("prod", (1, 100))
    foreign = replace(one.deployment.predictors[0], model=replace(one.deployment.predictors[0].model, name="other"))
    there = replace(one, deployment=replace(one.deployment, predictors=(foreign,)))
    assert lines(registry((1, "Production")), there) == ["update prod v1"]


def test_where_a_target_does_not_answer_nothing_is_planned_and_nothing_ends_for_it() -> None:
    plan = make_plan(registry((1, "Production")), STAGES, [running("dev", (1, 100))], blind={"prod"})
    assert [(action.kind, action.environment) for action in plan.actions] == [("wait", "dev")]


@given(st.text(min_size=1, max_size=80))
def test_every_model_name_gives_a_deployment_name_that_targets_take(name: str) -> None:
    assert NAME_RULE.fullmatch(deployment_name(name))


def test_names_that_look_alike_stay_apart() -> None:
    names = ["cooler", "Cooler", "co oler", "co-oler", "cöoler", "c" * 41, "c" * 42]
    assert len({deployment_name(name) for name in names}) == len(names)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["None", "Staging", "Production", "Archived"])), max_size=4),
    st.lists(st.tuples(st.sampled_from(["dev", "prod"]), st.integers(1, 4)), max_size=2, unique_by=lambda x: x[0]),
)
def test_a_plan_never_ends_what_the_registry_did_not_end(
    versions: list[tuple[int, str]], seen: list[tuple[str, int]]
) -> None:
    stages = dict(versions)
    said = registry(*sorted(stages.items()))
    plan = make_plan(said, STAGES, [running(env, (number, 100)) for env, number in seen])
    serving = dict(seen)
    for action in plan.changes:
        if action.kind == "delete":
            here = {"dev": "Staging", "prod": "Production"}[action.environment]
            assert stages.get(serving[action.environment], "deleted") not in (here, "deleted")
