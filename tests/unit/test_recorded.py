"""What the ledger says of the registry: deletions, renames, names used again, and what is found behind our back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.configuration import read_configuration
from mlflow_hydraulic.errors import BadInput, Failed, Unavailable
from mlflow_hydraulic.evidence import attempts
from mlflow_hydraulic.evidence.recorded import (
    Key,
    alias_subject,
    carried_out,
    model_of,
    stage_subject,
    tag_subject,
    unrecorded,
    version_of,
)
from mlflow_hydraulic.facts import Trouble, changed_facts, facts_of
from mlflow_hydraulic.registry import RegisteredModel, Registry, Version
from tests.unit.worlds import running


def said(*rows: tuple[str, str, object]) -> dict[Key, object]:
    return carried_out({("default", verb, subject): after for verb, subject, after in rows})


def test_what_a_deleted_model_had_is_gone_and_a_new_one_of_its_name_begins_anew() -> None:
    rows = [
        ("stage", "models:/m/1", "Production"),
        ("alias", "models:/m@champion", 1),
        ("stage", "models:/mm/1", "Staging"),
    ]
    deleted = said(*rows, ("delete model", "models:/m", None))
    assert deleted == {("default", "stage", "models:/mm/1"): "Staging"}
    again = Registry((RegisteredModel(name="m", versions=(Version(model="m", number=1),)),))
    assert [event.subject for event in unrecorded(again, deleted)] == ["models:/mm/1"]


def test_a_deleted_version_takes_its_tags_along() -> None:
    rows = [
        ("stage", "models:/m/1", "Staging"),
        ("tag", "models:/m/1#hydraulic.weight", "5"),
        ("stage", "models:/m/11", "Staging"),
    ]
    assert list(said(*rows, ("delete version", "models:/m/1", None))) == [("default", "stage", "models:/m/11")]


def test_a_renamed_model_is_not_found_behind_our_back() -> None:
    rows = [
        ("stage", "models:/a/1", "Production"),
        ("alias", "models:/a@x", 1),
        ("tag", "models:/a/1#hydraulic.weight", "5"),
    ]
    now = said(*rows, ("rename model", "models:/a", "b"))
    version = Version(model="b", number=1, stage="Production", tags={"hydraulic.weight": "5"})
    registry = Registry((RegisteredModel(name="b", versions=(version,), aliases={"x": 1}),))
    assert unrecorded(registry, now) == []


def test_names_with_odd_characters_keep_apart() -> None:
    odd = "rig @ plant #2 (100%)"
    version = Version(model=odd, number=1, stage="Staging", tags={"hydraulic.weight": "5"})
    registry = Registry((RegisteredModel(name=odd, versions=(version,), aliases={"dev": 1}),))
    found = unrecorded(registry, {})
    assert {event.model for event in found} == {odd}
    written = {("default", event.verb, event.subject): event.after for event in found}
    assert unrecorded(registry, carried_out(written)) == []
    gone = carried_out({**written, ("default", "delete model", f"models:/{odd}"): None})
    assert gone == {}


def test_a_long_split_is_remembered_by_its_hash() -> None:
    long = "update " + "/".join(f"v{n} 1%" for n in range(1, 101))
    other = long.replace("v100", "v101")
    assert len(attempts.fitting(long)) == len(attempts.fitting(other)) == attempts.LONGEST_WANTED
    assert attempts.fitting(long) != attempts.fitting(other)
    assert attempts.fitting("update v1") == "update v1"


def test_only_what_may_pass_is_due_again() -> None:
    now, key = datetime(2026, 1, 1, tzinfo=timezone.utc), ("prod", "m")
    passing = attempts.failed(None, key=key, wanted="w", error=Unavailable("away"), now=now)
    assert passing.due is not None
    assert now < passing.due <= now + timedelta(seconds=3)
    assert attempts.failed(None, key=key, wanted="w", error=Failed("broken"), now=now).due is None
    assert attempts.failed(None, key=key, wanted="w", error=KeyError(), now=now).cause == "KeyError"


def test_two_environments_in_one_place_are_refused() -> None:
    with pytest.raises(BadInput, match="dev has that namespace"):
        read_configuration({"environments": {"prod": {"namespace": "dev"}}})


def test_facts_are_written_only_where_they_differ() -> None:
    dev, prod = preset("stages")
    here = running("prod", (1, 100), shadow=2)
    tags = {"hydraulic.prod.state": "healthy", "hydraulic.prod.endpoint": "http://prod/m", "hydraulic.weight": "5"}
    versions = tuple(Version(model="m", number=n, tags=tags if n == 1 else {}) for n in (1, 2, 3))
    (changed,) = changed_facts([RegisteredModel(name="m", versions=versions)], (dev, prod), [here], {})
    assert (changed[0].number, changed[1]["hydraulic.prod.state"]) == (2, "healthy")
    trouble = Trouble(text="x" * 9999, versions=frozenset({3}))
    shown = facts_of(versions[2], prod, here, trouble)
    assert shown["hydraulic.prod.state"] is None
    assert len(shown["hydraulic.prod.problem"] or "") == 500


def test_what_a_person_deployed_by_hand_is_no_fact_of_the_version() -> None:
    by_hand = running("prod", (1, 100))
    by_hand.deployment.labels.clear()
    version = Version(model="m", number=1)
    assert changed_facts([RegisteredModel(name="m", versions=(version,))], preset("stages"), [by_hand], {}) == []


@pytest.mark.parametrize("model", ["m", "a b", "m@x", "m#1", "3"])
def test_a_subject_is_read_as_it_was_written(model: str) -> None:
    for subject in (stage_subject(model, 12), tag_subject(model, 12, "a/b#c/7")):
        assert (model_of(subject), version_of(subject)) == (model, 12)
    assert model_of(alias_subject(model, "best")) == model


@pytest.mark.parametrize("subject", ["models:/m@best", "models:/m", "prod/m", "models:/m/x", ""])
def test_a_subject_without_a_version_is_a_value_error(subject: str) -> None:
    with pytest.raises(ValueError, match="version"):
        version_of(subject)
