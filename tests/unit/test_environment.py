"""An environment on this machine: never takes "cannot see" for "is not there", changes only what it has seen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.deploy_targets.local.environment import LocalEnvironment
from mlflow_hydraulic.deploy_targets.local.folder import Folder, Wanted
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, Observed, Predictor
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.settings import Settings
from tests.unit.worlds import pinned

DEV = preset("stages")[0]
HERE = Deployment(name="m", namespace="dev", predictors=(Predictor(name="v1", model=pinned("m", 1)),))


def environment(home: Path) -> LocalEnvironment:
    return LocalEnvironment(DEV, LocalTarget(Settings(home=home)), home)


def write(home: Path, generation: int) -> None:
    """As another controller, or a person, would have changed it."""
    folder = Folder(home, "dev", "m")
    folder.make()
    folder.write_wanted(Wanted(generation=generation, deployment=HERE))


def test_a_folder_that_was_there_and_is_gone_is_no_empty_one(tmp_path: Path) -> None:
    dev = environment(tmp_path)
    assert dev.observe() == [], "a first look at a new home"
    shutil.rmtree(tmp_path / "local")
    for act in (dev.observe, lambda: dev.apply(HERE, None), lambda: dev.delete("m", None)):
        with pytest.raises(Unavailable):
            act()
    assert environment(tmp_path).observe() == [], "who starts anew begins anew"


def test_a_folder_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be read"):
        environment(tmp_path).observe()


@pytest.mark.parametrize("before", [0, 1])
def test_what_changed_since_it_was_seen_is_not_changed(tmp_path: Path, before: int) -> None:
    dev = environment(tmp_path)
    if before:
        write(tmp_path, before)
    seen = next(iter(dev.observe()), None)
    write(tmp_path, before + 1)
    dev.observe()  # another look is no new plan
    with pytest.raises(Unavailable, match="somebody else was quicker"):
        dev.apply(HERE, seen)
    if before:
        with pytest.raises(Unavailable, match="somebody else was quicker"):
            dev.delete("m", seen)
    wanted = Folder(tmp_path, "dev", "m").read_wanted()
    assert wanted is not None
    assert wanted.generation == before + 1


def test_what_is_as_it_was_seen_is_deleted(tmp_path: Path) -> None:
    dev = environment(tmp_path)
    write(tmp_path, 3)
    (seen,) = dev.observe()
    dev.delete("m", seen)
    assert dev.observe() == []


class Refuses(LocalTarget):
    """A target whose `apply` raises `error`, or gives `shown`, which is all that runs there."""

    error: Exception | None = None
    shown: Observed | None = None

    def apply(self, *_: object, **__: object) -> Observed:
        if self.error:
            raise self.error
        assert self.shown
        return self.shown

    def observe(self, namespace: str | None = None) -> list[Observed]:
        return [self.shown] if self.shown else []


def test_a_full_disk_passes_and_a_broken_model_does_not(tmp_path: Path) -> None:
    target = Refuses(Settings(home=tmp_path))
    dev = LocalEnvironment(DEV, target, tmp_path)
    target.error = Failed("cannot be written")
    target.error.__cause__ = OSError(28, "No space left on device")
    with pytest.raises(Unavailable, match="cannot be written"):
        dev.apply(HERE, None)
    target.error = Failed("its graph is broken")
    with pytest.raises(Failed, match="graph"):
        dev.apply(HERE, None)


def test_an_update_that_leaves_it_ill_is_no_success(tmp_path: Path) -> None:
    target = Refuses(Settings(home=tmp_path))
    target.shown = Observed(name="m", namespace="dev", state="unhealthy", cause="v1: 1 of 2 replicas answer")
    with pytest.raises(Unavailable, match="1 of 2 replicas"):
        LocalEnvironment(DEV, target, tmp_path).apply(HERE, None)


def test_what_has_no_process_has_failed_so_that_it_is_brought_back(tmp_path: Path) -> None:
    target = Refuses(Settings(home=tmp_path))
    dev = LocalEnvironment(DEV, target, tmp_path)
    for state in ("unhealthy", "terminating"):
        target.shown = Observed(name="m", namespace="dev", state=state, desired=HERE)
        target.shown = replace(target.shown, cause="the deletion was interrupted" if state == "terminating" else "")
        assert [one.state for one in dev.observe()] == ["failed"]
        target.shown = replace(target.shown, pid=7)
        assert [one.state for one in dev.observe()] == [state]
    target.shown = Observed(name="m", namespace="dev", state="terminating", desired=HERE)
    assert [one.state for one in dev.observe()] == ["terminating"], "somebody deletes it at this moment"
