"""Several who change the same deployment at once, and answers that get lost: nobody's change is overwritten unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.deployment import Exists, Observed
from mlflow_hydraulic.errors import Conflict, Failed, HydraulicError
from tests.fakekube.faults import Fault
from tests.support.kube_target import Rig, befalls, rig
from tests.support.kube_values import deployment, predictor
from tests.support.local import until

V1, V2, V3 = deployment(), deployment(predictor("2")), deployment(predictor("3"))


@pytest.fixture
def seldon(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


@pytest.fixture
def other(seldon: Rig) -> Iterator[KubernetesTarget]:
    """Somebody else's target on the same cluster."""
    with seldon.other() as cluster:
        yield KubernetesTarget(cluster, look_s=0.1, fatal_s=0.1)


def before_write(made: Rig, act: Callable[[], object], *, dry: bool = False) -> None:
    """Lets `act` happen when all is read and checked, just before the next write is sent (or its dry run)."""
    call, done = made.cluster.call, threading.Event()

    def watched(method: str, path: str, **more: object) -> object:
        is_dry = "dryRun" in str(more.get("query_params"))
        if method == "patch" and is_dry == dry and not done.is_set():
            done.set()
            act()
        return call(method, path, **more)

    made.cluster.call = watched


def test_of_many_creations_at_once_one_wins_and_the_others_are_told(seldon: Rig) -> None:
    wanted = [deployment(predictor(str(1 + n % 3))) for n in range(6)]
    done: list[Observed] = []
    told: list[HydraulicError] = []
    gate = threading.Barrier(len(wanted))

    def create(number: int) -> None:
        gate.wait()
        try:
            done.append(seldon.target.apply(wanted[number], mode="create"))
        except HydraulicError as error:
            told.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert {type(error) for error in told} == {Exists}
    assert seldon.target.get("prod", "cooler").serving == done[0].serving
    managers = {entry["manager"] for entry in seldon.main["metadata"]["managedFields"]}
    assert managers == {"mlflow-hydraulic", "manager"}, "claims are released"


def test_a_change_made_from_what_is_no_longer_there_is_refused(seldon: Rig) -> None:
    first = seldon.target.apply(V1)
    seldon.target.apply(V2, expected=first.generation)
    for action in (
        lambda: seldon.target.apply(V3, expected=first.generation),
        lambda: seldon.target.delete("prod", "cooler", expected=first.generation),
    ):
        with pytest.raises(Conflict, match="generation 2, not 1"):
            action()
    assert seldon.target.get("prod", "cooler").serving == V2


def test_whoever_is_overtaken_while_waiting_says_so(seldon: Rig) -> None:
    seldon.target.apply(V1)
    seldon.fake.operator.hold("notice")
    told: list[BaseException] = []

    def slow() -> None:
        try:
            seldon.target.apply(V2, timeout_s=30)
        except HydraulicError as error:
            told.append(error)

    waiting = threading.Thread(target=slow)
    waiting.start()
    until(lambda: "b2b2" in str(seldon.main["spec"]), "the first change is written")
    seldon.target.apply(V3, wait=False)
    waiting.join(30)
    assert [type(error) for error in told] == [Conflict]
    seldon.fake.operator.release()
    until(lambda: seldon.target.get("prod", "cooler").serving == V3, "the later change stands")


@pytest.mark.parametrize("dry", [True, False], ids=["before the dry run", "after it"])
def test_a_creation_that_comes_too_late_changes_nothing(seldon: Rig, other: KubernetesTarget, dry: bool) -> None:
    before_write(seldon, lambda: other.apply(V1, mode="create"), dry=dry)
    with pytest.raises(Exists):
        seldon.target.apply(V2, mode="create")
    assert other.get("prod", "cooler").serving == V1


@pytest.mark.parametrize("dry", [True, False], ids=["before the dry run", "after it"])
def test_a_change_between_look_and_write_is_not_overwritten(seldon: Rig, other: KubernetesTarget, dry: bool) -> None:
    first = seldon.target.apply(V1)
    before_write(seldon, lambda: other.apply(V3), dry=dry)
    with pytest.raises(Conflict, match="changed by someone else"):
        seldon.target.apply(V2, expected=first.generation)
    assert other.get("prod", "cooler").serving == V3
    before_write(seldon, lambda: other.apply(V1), dry=dry)
    assert seldon.target.apply(V2).serving == V2, "who names no generation wants it whatever was there"


def test_a_deletion_of_what_was_changed_meanwhile_is_refused(seldon: Rig, other: KubernetesTarget) -> None:
    first = seldon.target.apply(V1)
    call, done = seldon.cluster.call, threading.Event()

    def watched(method: str, path: str, **more: object) -> object:
        if method == "delete" and not done.is_set():
            done.set()
            other.apply(V2)
        return call(method, path, **more)

    seldon.cluster.call = watched
    with pytest.raises(Conflict, match="generation 2, not 1"):
        seldon.target.delete("prod", "cooler", expected=first.generation)
    assert other.get("prod", "cooler").serving == V2


def test_a_lost_answer_to_a_change_is_no_false_conflict(seldon: Rig) -> None:
    lose = Fault(kind="reset after")
    before_write(seldon, lambda: seldon.fake.kube.fail(lose, method="PATCH"))
    first = seldon.target.apply(V1, mode="create")
    for number, wanted in enumerate((V2, V3)):
        before_write(seldon, lambda: seldon.fake.kube.fail(lose, method="PATCH"))
        made = seldon.target.apply(wanted, expected=first.generation + number)
        assert (made.serving, made.generation) == (wanted, first.generation + number + 1)
        assert seldon.fake.kube.faults_left == 0
    seldon.fake.kube.fail(lose, method="DELETE")
    seldon.target.delete("prod", "cooler")
    assert seldon.target.get("prod", "cooler").state == "not found"


def test_a_failed_change_that_somebody_replaced_is_not_taken_back(tmp_path: Path) -> None:
    with rig(tmp_path, befalls=befalls("CrashLoopBackOff")) as made, made.other() as cluster:
        other = KubernetesTarget(cluster, look_s=0.1, fatal_s=0.1)
        made.target.apply(V1)
        call, done = made.cluster.call, threading.Event()

        def watched(method: str, path: str, **more: object) -> object:
            if path.endswith("/log") and not done.is_set():  # the failure is believed by now
                done.set()
                other.apply(V3)
            return call(method, path, **more)

        made.cluster.call = watched
        with pytest.raises(Failed, match="crashed"):
            made.target.apply(V2)
        assert done.is_set()
        seen = other.get("prod", "cooler")
        assert (seen.serving, seen.desired, seen.cause) == (V3, V3, "")
