"""The gate: every rule, on the stage, alias, tag and deletion that it guards."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timezone

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.policy import Move, Policy, Rule, Window, judge

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
TO_PROD = Move(
    kind="stage", model="m", version=2, actor="ds1", reason="better", now=MONDAY, before="Staging", after="Production"
)
STAGES = preset("stages")


def reasons(move: Move, policy: Policy, preset_name: str = "stages") -> tuple[str, ...]:
    return judge(move, preset(preset_name), policy).reasons


def test_prod_asks_for_a_reason_by_default_and_dev_does_not() -> None:
    assert judge(TO_PROD, STAGES, Policy()).allowed
    assert "asks for a reason" in reasons(replace(TO_PROD, reason="  "), Policy())[0]
    assert judge(replace(TO_PROD, reason="", before="None", after="Staging"), STAGES, Policy()).allowed


def test_leaving_prod_is_guarded_like_entering_it() -> None:
    out = replace(TO_PROD, before="Production", after="Archived", reason="")
    assert judge(out, STAGES, Policy()).environments == ("prod",)
    assert not judge(out, STAGES, Policy()).allowed


def test_users_and_roles() -> None:
    policy = Policy(rules={"prod": Rule(allow=("ds9", "role:operator"))}, roles={"ds1": ("reader",)})
    assert reasons(TO_PROD, policy) == ("only ds9 or the role operator may change PROD, not 'ds1'",)
    assert not reasons(TO_PROD, replace(policy, roles={"ds1": ("operator",)}))
    assert not reasons(replace(TO_PROD, actor="ds9"), policy)
    assert "nobody is logged in" in reasons(replace(TO_PROD, actor=""), policy)[0]


def test_a_user_named_like_a_role_is_not_that_role() -> None:
    policy = Policy(rules={"prod": Rule(allow=("role:operator",))})
    assert reasons(replace(TO_PROD, actor="operator"), policy)


def test_the_approver_is_not_the_trainer() -> None:
    policy = Policy(rules={"prod": Rule(not_the_trainer=True)})
    assert "'ds1' trained version 2" in reasons(replace(TO_PROD, trainer="ds1"), policy)[0]
    assert not reasons(replace(TO_PROD, trainer="ds2"), policy)
    assert "nobody is logged in" in reasons(replace(TO_PROD, actor="", trainer="ds2"), policy)[0]
    assert "who trained version 2 is not known" in reasons(replace(TO_PROD, trainer=""), policy)[0]


def test_the_trainer_may_take_out_what_they_may_not_bring_in() -> None:
    policy = Policy(rules={"prod": Rule(not_the_trainer=True)})
    out = replace(TO_PROD, before="Production", after="Archived", trainer="ds1")
    assert judge(out, STAGES, policy).allowed
    assert judge(replace(out, trainer="", actor=""), STAGES, policy).allowed
    held = replace(TO_PROD, stage="Production", trainer="ds1")
    assert not reasons(replace(held, kind="delete version", before="Production", after=""), policy)
    assert not reasons(replace(held, kind="tag", subject="hydraulic.weight", before="", after="9"), policy)
    alias = replace(held, kind="alias", subject="champion", before="1", after="2")
    assert "'ds1' trained version 2" in reasons(alias, policy, "aliases")[0]
    assert not reasons(replace(alias, before="2", after=""), policy, "aliases")
    renamed = replace(held, kind="rename model", before="m", after="n")
    assert not reasons(renamed, policy)
    assert "'ds1' trained version 2" in reasons(replace(renamed, model="n"), policy)[0]


@pytest.mark.parametrize(("hour", "open_"), [(7, True), (8, False), (12, False), (18, False), (19, True)])
def test_closed_windows(hour: int, open_: bool) -> None:
    policy = Policy(rules={"prod": Rule(closed=(Window(days=("mon",), start=time(8), end=time(18, 30)),))})
    assert bool(reasons(replace(TO_PROD, now=MONDAY.replace(hour=hour)), policy)) is not open_
    assert not reasons(replace(TO_PROD, now=MONDAY.replace(day=24)), policy)


@pytest.mark.parametrize(
    "window", [{"days": ()}, {"days": ("monday",)}, {"days": ("mon",), "start": time(9), "end": time(9)}]
)
def test_a_window_that_means_nothing_is_refused(window: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Window(**window)  # type: ignore[arg-type]


def test_weights_aliases_and_deletions_touch_the_environment_that_they_change() -> None:
    policy = Policy()
    tag = replace(TO_PROD, kind="tag", subject="hydraulic.weight", stage="Production", before="", after="9", reason="")
    assert judge(tag, STAGES, policy).environments == ("prod",)
    assert not judge(replace(tag, subject="note"), STAGES, policy).environments
    assert not judge(replace(tag, stage="None"), STAGES, policy).environments
    held = replace(tag, stage="None", aliases=("champion",))
    assert judge(held, preset("aliases"), policy).environments == ("prod",)
    renamed = replace(held, kind="rename model", before="m", after="n")
    assert judge(renamed, preset("aliases"), policy).environments == ("prod",)
    assert not judge(replace(renamed, aliases=()), preset("aliases"), policy).environments
    gone = replace(TO_PROD, kind="delete version", before="Production", stage="Production", after="", reason="")
    assert judge(gone, STAGES, policy).environments == ("prod",)
    alias = replace(TO_PROD, kind="alias", subject="champion", before="1", after="2", reason="")
    assert judge(alias, preset("both"), policy).environments == ("prod",)
    assert not judge(alias, STAGES, policy).environments


def test_a_protected_alias_is_guarded_whether_it_is_bound_or_not() -> None:
    policy = Policy(protected_aliases=("golden",), protected_by=("ds9",))
    alias = replace(TO_PROD, kind="alias", subject="golden", before="", after="2")
    assert reasons(alias, policy) == ("only ds9 may move the protected alias 'golden', not 'ds1'",)
    assert not reasons(replace(alias, actor="ds9"), policy)


def test_all_objections_are_told_at_once() -> None:
    rule = Rule(allow=(), reason_required=True, not_the_trainer=True, closed=(Window(days=("mon",)),))
    told = reasons(replace(TO_PROD, reason="", trainer="ds1"), Policy(rules={"prod": rule}))
    assert len(told) == 4
