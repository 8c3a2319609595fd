"""What every target must do when a model cannot serve: say why, keep what served, leave nothing of what is new."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_hydraulic.deployment import Predictor
from mlflow_hydraulic.errors import Failed
from tests.contract.subjects import Subject
from tests.support.local import until


def test_a_bad_change_fails_with_its_cause_and_the_good_one_serves_on(subject: Subject) -> None:
    good = subject.one(subject.good("1"))
    first = subject.apply(good)
    with pytest.raises(Failed):
        subject.apply(subject.one(subject.bad("2")))
    until(lambda: subject.get().state == "healthy", "what served is as it was", 180)  # an operator notices later
    observed = subject.get()
    assert (observed.serving, observed.url) == (good, first.url)
    assert observed.cause
    assert observed.log
    again = subject.apply(subject.one(subject.good("3")))
    assert (again.state, again.cause, again.serving) == ("healthy", "", again.desired), "a good change heals it"


def test_a_bad_arm_fails_the_whole_change(subject: Subject) -> None:
    good = subject.one(subject.good("1"))
    subject.apply(good)
    arm = Predictor(name="b", model=subject.bad("2"), traffic=20)
    with pytest.raises(Failed):
        subject.apply(replace(good, predictors=(replace(good.predictors[0], traffic=80), arm)))
    until(lambda: subject.get().state == "healthy", "what served is as it was", 180)
    assert subject.get().serving == good


def test_a_bad_creation_leaves_nothing(subject: Subject) -> None:
    with pytest.raises(Failed):
        subject.apply(subject.one(subject.bad("1")), mode="create")
    assert subject.everything() == []
