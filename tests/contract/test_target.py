"""What every target must do. A target joins by a fixture that gives its `Subject`; the suite knows none by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from mlflow_hydraulic.deployment import Deployment, Exists, ModelVersion, Observed, Predictor
from mlflow_hydraulic.errors import Conflict, Failed, NotFound
from tests.support.local import ROOT, fake_model, kill_leftovers, local_target


class Target(Protocol):
    """The operations that the plugin and the controller call."""

    def apply(
        self,
        deployment: Deployment,
        *,
        mode: str = "either",
        expected: int | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
    ) -> Observed: ...

    def observe(self, namespace: str | None = None) -> list[Observed]: ...

    def get(self, namespace: str, name: str) -> Observed: ...

    def delete(self, namespace: str, name: str, *, timeout_s: float | None = None) -> None: ...


@dataclass(frozen=True)
class Subject:
    """A target, a maker of models that it can serve, and of models that it cannot."""

    target: Target
    good: Callable[[str], ModelVersion]
    bad: Callable[[str], ModelVersion]


@pytest.fixture(params=["local"])
def subject(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield Subject(
        target=local_target(tmp_path),  # type: ignore[arg-type]  # its modes are literals
        good=lambda version: fake_model(tmp_path, version),
        bad=lambda version: fake_model(tmp_path, version, crash=True),
    )
    assert kill_leftovers(tmp_path) == [], "processes were left over"


@pytest.fixture
def applied(subject: Subject) -> Iterator[Callable[..., Observed]]:
    """`apply`, with everything deleted afterwards."""
    yield subject.target.apply
    for observed in subject.target.observe():
        subject.target.delete(observed.namespace, observed.name)


def one(model: ModelVersion, name: str = "cooler", namespace: str = "dev", replicas: int = 1) -> Deployment:
    return Deployment(
        name=name, namespace=namespace, predictors=(Predictor(name="default", model=model, replicas=replicas),)
    )


def test_nothing_is_there_at_first(subject: Subject) -> None:
    assert subject.target.observe() == []
    assert subject.target.get("dev", "cooler").state == "not found"
    subject.target.delete("dev", "cooler")
    with pytest.raises(NotFound, match="cooler"):
        subject.target.apply(one(subject.good("1")), mode="update")


def test_what_is_applied_is_observed_until_it_is_deleted(subject: Subject, applied: Callable[..., Observed]) -> None:
    wanted = one(subject.good("1"), replicas=2)
    observed = applied(wanted, mode="create")
    assert (observed.state, observed.cause, observed.ready) == ("healthy", "", {"default": 2})
    assert observed.serving == observed.desired == wanted
    assert observed.url.startswith("http")
    assert subject.target.observe() == subject.target.observe("dev") == [observed]
    assert subject.target.observe("prod") == []
    with pytest.raises(Exists):
        applied(wanted, mode="create")
    subject.target.delete("dev", "cooler")
    assert subject.target.get("dev", "cooler").state == "not found"


def test_the_same_name_in_two_namespaces_is_two_deployments(subject: Subject, applied: Callable[..., Observed]) -> None:
    model = subject.good("1")
    urls = {applied(one(model, namespace=namespace)).url for namespace in ("dev", "prod")}
    assert len(urls) == 2
    assert [o.namespace for o in subject.target.observe()] == ["dev", "prod"]


def test_applying_it_once_more_changes_nothing_that_serves(subject: Subject, applied: Callable[..., Observed]) -> None:
    wanted = one(subject.good("1"))
    first = applied(wanted)
    again = applied(wanted)
    assert (again.url, again.serving, again.state) == (first.url, first.serving, "healthy")


def test_a_change_takes_place_under_the_same_address(subject: Subject, applied: Callable[..., Observed]) -> None:
    first = applied(one(subject.good("1")))
    wanted = Deployment(
        name="cooler",
        namespace="dev",
        predictors=(
            Predictor(name="default", model=subject.good("2"), traffic=75),
            Predictor(name="b", model=subject.good("3"), traffic=25),
        ),
        shadow=Predictor(name="shadow", model=subject.good("4"), traffic=50),
    )
    changed = applied(wanted, expected=first.generation)
    assert (changed.serving, changed.url) == (wanted, first.url)
    assert changed.ready == {"default": 1, "b": 1, "shadow": 1}
    with pytest.raises(Conflict):
        applied(wanted, expected=first.generation)


def test_a_bad_change_fails_with_its_cause_and_the_good_one_serves_on(
    subject: Subject, applied: Callable[..., Observed]
) -> None:
    good = one(subject.good("1"))
    applied(good)
    with pytest.raises(Failed):
        applied(one(subject.bad("2")))
    observed = subject.target.get("dev", "cooler")
    assert (observed.state, observed.serving) == ("healthy", good)
    assert observed.cause
    assert observed.log


def test_a_bad_creation_leaves_nothing(subject: Subject) -> None:
    with pytest.raises(Failed):
        subject.target.apply(one(subject.bad("1")), mode="create")
    assert subject.target.observe() == []
