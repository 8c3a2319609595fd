"""What every target must do with a change: in place, under the same address, never one that was made from old sight."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import Conflict
from tests.contract.subjects import Subject
from tests.support.local import until


def split(subject: Subject, share: int) -> Deployment:
    """A main predictor and an arm, and a shadow."""
    return Deployment(
        name="cooler",
        namespace=subject.dev,
        predictors=(
            Predictor(name="default", model=subject.good("2"), traffic=100 - share),
            Predictor(name="b", model=subject.good("3"), traffic=share),
        ),
        shadow=Predictor(name="shadow", model=subject.good("4"), traffic=50),
    )


def test_a_change_takes_place_under_the_same_address(subject: Subject) -> None:
    first = subject.apply(subject.one(subject.good("1")))
    wanted = split(subject, 25)
    changed = subject.apply(wanted, expected=first.generation)
    assert (changed.state, changed.serving, changed.url) == ("healthy", wanted, first.url)
    assert changed.ready == {"default": 1, "b": 1, "shadow": 1}
    with pytest.raises(Conflict):
        subject.apply(wanted, expected=first.generation)


def test_shares_and_replicas_change_and_predictors_go(subject: Subject) -> None:
    wanted = split(subject, 25)
    subject.apply(wanted)
    a, b = wanted.predictors
    stepped = replace(wanted, predictors=(replace(a, traffic=40), replace(b, traffic=60, replicas=2)))
    assert subject.apply(stepped).serving == stepped
    won = replace(wanted, predictors=(replace(b, traffic=100, replicas=2),), shadow=None)
    after = subject.apply(won)
    assert (after.state, after.serving, after.ready) == ("healthy", won, {"b": 2})


def test_the_generation_grows_with_every_change_and_guards_the_deletion_too(subject: Subject) -> None:
    first = subject.apply(subject.one(subject.good("1")))
    second = subject.apply(subject.one(subject.good("2")), expected=first.generation)
    assert second.generation > first.generation
    assert subject.get().generation == second.generation
    with pytest.raises(Conflict):
        subject.target.delete(subject.dev, "cooler", expected=first.generation)
    assert subject.get().state == "healthy"
    subject.target.delete(subject.dev, "cooler", expected=second.generation)
    assert subject.get().state == "not found"


def test_without_waiting_it_becomes_healthy_by_itself(subject: Subject) -> None:
    wanted = subject.one(subject.good("1"))
    at_once = subject.apply(wanted, wait=False)
    assert at_once.desired == wanted
    until(lambda: subject.get().state == "healthy", "it is healthy", 180)
    assert subject.get().serving == wanted
