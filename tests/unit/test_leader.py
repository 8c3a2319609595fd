"""Leader election: two never lead at once, whatever their clocks say, what is lost on the way, and who dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.kubernetes.leader import Elector, Moment, Terms
from mlflow_hydraulic.errors import Conflict, Unavailable

Json = dict[str, Any]
TERMS = Terms(lease_s=15.0, renew_s=10.0, retry_s=2.0)
DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class MemoryLease:
    """The Lease of an API server. trouble: what the next write meets. after: called when something was written."""

    lease: Json | None = None
    trouble: str = ""
    away: bool = False
    after: Callable[[], None] = lambda: None

    def read(self) -> Json | None:
        if self.away:
            raise Unavailable("no answer")
        return self.lease and {**self.lease, "spec": dict(self.lease["spec"])}

    def create(self, body: Json) -> Json:
        return self._write(body, None)

    def replace(self, body: Json) -> Json:
        return self._write(body, body["metadata"]["resourceVersion"])

    def _write(self, body: Json, version: str | None) -> Json:
        trouble, self.trouble = self.trouble, ""
        there = self.lease and self.lease["metadata"]["resourceVersion"]
        if self.away or trouble == "reset before":
            raise Unavailable("no answer")
        if there != version or trouble == "conflict":
            raise Conflict("the object has been modified")
        number = str(int(there or 0) + 1)
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": number}}
        self.after()
        if trouble == "reset after":
            raise Unavailable("the connection was reset")
        return self.lease


@dataclass
class Clocks:
    """Time as one machine has it: its monotonic clock began at `offset`, its wall clock is `skew` off."""

    true_s: list[float]
    offset: float = 0.0
    skew: timedelta = field(default_factory=timedelta)

    def __call__(self) -> Moment:
        return Moment(self.true_s[0] + self.offset, DAY + timedelta(seconds=self.true_s[0]) + self.skew)


def elector(lease: MemoryLease, now: Clocks, holder: str) -> Elector:
    return Elector(lease, place=("mlflow", "hydraulic"), holder=holder, terms=TERMS, now=now)


def test_the_first_leads_and_the_second_waits_a_whole_length_by_its_own_clock() -> None:
    true_s, lease = [100.0], MemoryLease()
    one = elector(lease, Clocks(true_s), "one")
    two = elector(lease, Clocks(true_s, offset=5000.0, skew=timedelta(days=400)), "two")
    one.step()
    two.step()
    assert (one.is_leader(), two.is_leader()) == (True, False)
    true_s[0] += 14.9  # `one` is dead; its renewTime is 400 days ago by the clock of `two`
    two.step()
    assert (one.is_leader(), two.is_leader()) == (False, False)
    true_s[0] += 0.2
    two.step()
    assert two.is_leader()
    assert lease.lease
    assert lease.lease["spec"]["holderIdentity"] == "two"
    assert lease.lease["spec"]["leaseTransitions"] == 1


def test_each_renewal_makes_the_other_wait_anew() -> None:
    true_s, lease = [0.0], MemoryLease()
    one, two = elector(lease, Clocks(true_s), "one"), elector(lease, Clocks(true_s), "two")
    for _ in range(20):
        one.step()
        two.step()
        true_s[0] += 9.0
        assert (one.is_leader(), two.is_leader()) == (True, False)


def test_a_leader_that_cannot_renew_gives_up_before_another_may_take_it() -> None:
    true_s, lease = [0.0], MemoryLease()
    one = elector(lease, Clocks(true_s), "one")
    one.step()
    lease.away = True
    true_s[0] += 9.9
    one.step()
    assert one.is_leader()
    true_s[0] += 0.1
    assert not one.is_leader(), "by itself, without a step"
    lease.away = False
    one.step()
    assert one.is_leader(), "nobody else took it meanwhile"


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    true_s, lease = [0.0], MemoryLease()
    one = elector(lease, Clocks(true_s), "one")
    lease.after = lambda: true_s.__setitem__(0, true_s[0] + 6.0)  # a slow answer
    one.step()
    true_s[0] += 4.0
    assert not one.is_leader()


def test_a_machine_that_slept_leads_no_more() -> None:
    true_s, lease = [0.0], MemoryLease()
    clocks = Clocks(true_s)
    one = elector(lease, clocks, "one")
    one.step()
    clocks.skew += timedelta(minutes=5)  # the monotonic clock stood still
    assert not one.is_leader()


def test_what_is_given_back_is_taken_at_once() -> None:
    true_s, lease = [0.0], MemoryLease()
    one, two = elector(lease, Clocks(true_s), "one"), elector(lease, Clocks(true_s), "two")
    one.step()
    two.step()
    one.stop()
    two.step()
    assert (one.is_leader(), two.is_leader()) == (False, True)


def test_stop_takes_nothing_from_another() -> None:
    true_s, lease = [0.0], MemoryLease()
    one, two = elector(lease, Clocks(true_s), "one"), elector(lease, Clocks(true_s), "two")
    one.step()
    two.step()
    true_s[0] += 16
    two.step()
    one.stop()
    assert two.is_leader()
    assert lease.lease
    assert lease.lease["spec"]["holderIdentity"] == "two"


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": None}, {"holderIdentity": "", "leaseDurationSeconds": None}])
def test_a_lease_that_nobody_holds_is_taken(spec: Json) -> None:
    lease = MemoryLease({"metadata": {"resourceVersion": "7"}, "spec": spec})
    one = elector(lease, Clocks([0.0]), "one")
    one.step()
    assert one.is_leader()


def test_a_holder_that_said_longer_is_given_longer() -> None:
    true_s = [0.0]
    held = {"holderIdentity": "other", "leaseDurationSeconds": 60}
    one = elector(MemoryLease({"metadata": {"resourceVersion": "7"}, "spec": held}), Clocks(true_s), "one")
    one.step()
    true_s[0] += 59
    one.step()
    assert not one.is_leader()
    true_s[0] += 2
    one.step()
    assert one.is_leader()


def test_terms_that_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="renew_s less than lease_s"):
        Terms(lease_s=10.0, renew_s=10.0)


DO = st.one_of(
    st.tuples(st.sampled_from(["step"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["wait"]), st.floats(0.0, 20.0)),
    st.tuples(st.sampled_from(["away", "back", "conflict", "reset before", "reset after"]), st.just(0)),
    st.tuples(st.sampled_from(["stop"]), st.integers(0, 2)),
)


@given(st.lists(DO, max_size=60), st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=3))
def test_never_two_leaders(todo: list[tuple[str, float]], offsets: list[float]) -> None:
    true_s, lease = [0.0], MemoryLease()
    skews = [timedelta(seconds=offset) for offset in reversed(offsets)]
    clocks = [Clocks(true_s, offset, skew) for offset, skew in zip(offsets, skews, strict=True)]
    electors = [elector(lease, clock, str(at)) for at, clock in enumerate(clocks)]
    for what, value in todo:
        if what == "step":
            electors[int(value)].step()
        elif what == "stop":
            electors[int(value)].stop()
        elif what == "wait":
            true_s[0] += value
        elif what in ("away", "back"):
            lease.away = what == "away"
        else:
            lease.trouble = what
        assert sum(one.is_leader() for one in electors) <= 1
