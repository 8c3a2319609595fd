"""What every target must do: deployments come, are seen, and go. The suite knows no target by name."""

from __future__ import annotations

import pytest

from mlflow_hydraulic.deployment import Exists
from mlflow_hydraulic.errors import NotFound
from tests.contract.subjects import Subject


def test_nothing_is_there_at_first(subject: Subject) -> None:
    assert subject.everything() == []
    assert subject.get().state == "not found"
    subject.target.delete(subject.dev, "cooler")
    with pytest.raises(NotFound, match="cooler"):
        subject.apply(subject.one(subject.good("1")), mode="update")


def test_what_is_applied_is_observed_until_it_is_deleted(subject: Subject) -> None:
    wanted = subject.one(subject.good("1"), replicas=2)
    observed = subject.apply(wanted, mode="create")
    assert (observed.state, observed.cause, observed.ready) == ("healthy", "", {"default": 2})
    assert observed.serving == observed.desired == wanted
    assert observed.url.startswith("http")
    assert subject.everything() == subject.target.observe(subject.dev) == [observed]
    assert subject.target.observe(subject.prod) == []
    with pytest.raises(Exists):
        subject.apply(wanted, mode="create")
    subject.target.delete(subject.dev, "cooler")
    assert subject.get().state == "not found"
    assert subject.everything() == []


def test_the_same_name_in_two_namespaces_is_two_deployments(subject: Subject) -> None:
    model = subject.good("1")
    urls = {subject.apply(subject.one(model, namespace=place)).url for place in (subject.dev, subject.prod)}
    assert len(urls) == 2
    assert [one.namespace for one in subject.everything()] == [subject.dev, subject.prod]
    subject.target.delete(subject.dev, "cooler")
    assert [one.namespace for one in subject.everything()] == [subject.prod]


def test_labels_of_any_text_are_kept(subject: Subject) -> None:
    labels = {"hydraulic.model": "Kühler / β", "hydraulic.selected-by": "stage:Production", "x": ""}
    wanted = subject.one(subject.good("1"))
    wanted.labels.update(labels)
    assert subject.apply(wanted).serving == wanted
    assert [one.deployment.labels for one in subject.everything() if one.deployment] == [labels]


def test_applying_it_once_more_changes_nothing_that_serves(subject: Subject) -> None:
    wanted = subject.one(subject.good("1"))
    first = subject.apply(wanted)
    again = subject.apply(wanted)
    assert (again.url, again.serving, again.state) == (first.url, first.serving, "healthy")


def test_deleting_it_twice_is_deleting_it_once(subject: Subject) -> None:
    subject.apply(subject.one(subject.good("1")))
    for _ in range(2):
        subject.target.delete(subject.dev, "cooler")
    assert subject.get().state == "not found"
    assert subject.apply(subject.one(subject.good("2"))).state == "healthy", "the name is free again"
