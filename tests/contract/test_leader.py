"""Leader election through a real API: candidates in threads of their own, a leader that dies, an API server in trouble.

On the fake and, with TEST_KUBECONFIG, on a real cluster in a namespace of its own.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.leader import LEASE, ApiLease, Elector, Terms
from tests.contract.kube_suite import KUBECONFIG, Cluster, wait_until
from tests.contract.kube_suite import open_cluster as open_suite
from tests.fakekube.faults import Fault

TERMS = Terms(lease_s=1.0, renew_s=0.6, retry_s=0.1)
Make = Callable[[str], Elector]
only_fake = pytest.mark.skipif(bool(KUBECONFIG), reason="only the fake can be told to do this")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_suite(tmp_path_factory.mktemp("kube")) as opened:
        yield opened


@pytest.fixture
def make(suite: Cluster, tmp_path: Path) -> Iterator[Make]:
    """Candidates for one Lease, each with connections of its own."""
    name = f"leader-{uuid.uuid4().hex[:8]}"
    path = suite.fake.kubeconfig(tmp_path / "kubeconfig") if suite.fake else Path(KUBECONFIG)
    with contextlib.ExitStack() as stack:

        def made(holder: str) -> Elector:
            patience = Patience(total_s=0.0, call_s=TERMS.renew_s / 2)
            cluster = stack.enter_context(open_cluster(kubeconfig=str(path), patience=patience))
            place = (suite.namespace, name)
            elector = Elector(ApiLease(cluster, *place), place=place, holder=holder, terms=TERMS)
            stack.callback(elector.stop)
            return elector

        yield made


def spec_of(suite: Cluster, elector: Elector) -> dict[str, object]:
    path = LEASE.path(suite.namespace, elector.name)
    spec: dict[str, object] = suite.dynamic.request("get", path).to_dict()["spec"]
    return spec


def test_one_of_three_leads_and_hands_over(suite: Cluster, make: Make) -> None:
    electors = [make(str(at)) for at in range(3)]
    for elector in electors:
        elector.start()
    leaders = wait_until(lambda: [one for one in electors if one.is_leader()])
    assert len(leaders) == 1
    first = leaders[0]
    assert spec_of(suite, first)["holderIdentity"] == first.holder
    first.stop()
    (second,) = wait_until(lambda: [one for one in electors if one.is_leader()])
    assert second is not first
    assert spec_of(suite, second)["leaseTransitions"] == 1


def test_a_leader_that_was_killed_is_followed_when_its_time_is_up(suite: Cluster, make: Make) -> None:
    killed, heir = make("killed"), make("heir")
    killed.step()
    assert killed.is_leader()
    heir.start()  # `killed` does no step any more
    wait_until(heir.is_leader)
    assert not killed.is_leader()
    killed.step()
    assert not killed.is_leader(), "it is back and sees the other"
    assert spec_of(suite, heir)["holderIdentity"] == "heir"


def test_two_that_find_no_lease_at_the_same_time(make: Make) -> None:
    electors = [make(str(at)) for at in range(8)]
    for elector in electors:
        elector.start()
    wait_until(lambda: any(one.is_leader() for one in electors))
    assert sum(one.is_leader() for one in electors) == 1


@only_fake
@pytest.mark.parametrize("kind", ["reset before", "reset after", "refused"])
def test_a_renewal_that_is_lost_is_made_again_in_time(suite: Cluster, make: Make, kind: str) -> None:
    assert suite.fake is not None
    leader = make("leader")
    leader.step()
    fault = Fault(kind="refused", code=503) if kind == "refused" else Fault(kind=kind)  # type: ignore[arg-type]
    for method in ("GET", "PATCH"):
        suite.fake.fail(fault, method=method, path=leader.name)
        leader.step()
        assert leader.is_leader(), "by its last renewal"
        leader.step()
        assert leader.is_leader()
        assert suite.fake.faults_left == 0


@only_fake
def test_without_the_api_server_nobody_leads_and_with_it_one_does_again(suite: Cluster, make: Make) -> None:
    assert suite.fake is not None
    one, two = make("one"), make("two")
    one.start()
    wait_until(one.is_leader)
    two.start()
    suite.fake.fail(Fault(kind="reset before"), path=one.name, times=1000)
    wait_until(lambda: not one.is_leader())
    assert not two.is_leader()
    suite.fake.forgive()
    wait_until(lambda: one.is_leader() or two.is_leader())
    assert not (one.is_leader() and two.is_leader())


@only_fake
def test_somebody_who_writes_between_our_two_requests(suite: Cluster, make: Make) -> None:
    """A conflict tells nothing but that: the next step reads anew."""
    leader = make("leader")
    leader.step()
    real = leader._leases.read

    def read() -> object:
        found = real()
        note = {"metadata": {"annotations": {"by": "hand"}}}
        path = LEASE.path(suite.namespace, leader.name)
        suite.dynamic.request("patch", path, body=note, content_type="application/merge-patch+json")
        return found

    leader._leases.read = read  # type: ignore[method-assign, assignment]  # a hand that is quicker than ours
    leader.step()
    assert leader.is_leader(), "for as long as its last renewal holds"
    wait_until(lambda: not leader.is_leader())
    leader._leases.read = real  # type: ignore[method-assign]
    leader.step()
    assert leader.is_leader()
