"""Controllers of a canary, killed and overtaken anywhere: no step is made without its check."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.reconcile import run_pass
from tests.unit.canaries import RULES, Callers, begin, environments, go, phases
from tests.unit.test_reconcile import Killed, Scene, _kill_at

OPS = st.one_of(
    st.tuples(st.just("callers"), st.integers(0, 400)),
    st.tuples(st.just("time"), st.integers(0, 90)),
    st.tuples(st.just("pass"), st.just(0)),
    st.tuples(st.just("pass"), st.just(0)),
    st.tuples(st.just("killed"), st.integers(0, 14)),
    st.tuples(st.just("overtaken"), st.integers(0, 14)),
    st.tuples(st.just("silent"), st.just(0)),
    st.tuples(st.just("turns bad"), st.just(0)),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ops=st.lists(OPS, min_size=5, max_size=30))
def test_no_step_without_its_check_whoever_is_killed_wherever(ops: list[tuple[str, int]]) -> None:
    """Shares only grow, step by step, each after a check that its own numbers pass, until a breach takes all back."""
    scene = Scene(environments=environments())
    callers = Callers(scene)
    try:
        begin(scene)
        shares = [0]
        for kind, number in ops:
            _do(scene, callers, kind, number)
            shares.append(_share(scene))
            _check_history(scene)
        assert all(later >= earlier or later == 0 for earlier, later in itertools.pairwise(shares)), shares
        for _ in range(9):
            go(scene, callers)
        assert scene.serving("prod") == {"m": "v1" if callers.bad or _went_back(scene) else "v2"}
        _check_history(scene)
        with scene.database.connect() as connection:
            assert ledger.verify(connection).holds
    finally:
        scene.database.dispose()


def _do(scene: Scene, callers: Callers, kind: str, number: int) -> None:
    _kill_at(scene, None)
    if kind == "callers":
        callers.ask(number)
    elif kind == "time":
        scene.clock.forward(number)
    elif kind == "silent":
        scene.targets["prod"].counters.clear()
    elif kind == "turns bad" and _share(scene) != 100:
        callers.bad.add(2)
    elif kind in {"killed", "overtaken", "pass"}:
        if kind == "killed":
            _kill_at(scene, number)
        if kind == "overtaken":
            _overtake(scene, number)
        with suppress(Killed, Unavailable):
            run_pass(scene.world)
        _kill_at(scene, None)


def _overtake(scene: Scene, step: int) -> None:
    """Another controller makes a whole pass at the `step`th thing that the next pass does, outside the target's own."""
    left = [step]

    def count(what: str) -> None:
        if what == "before apply":
            return
        left[0] -= 1
        if left[0] == -1:
            with suppress(Unavailable):
                run_pass(scene.world)

    scene.registry.step = count
    for target in scene.targets.values():
        target.step = count


def _share(scene: Scene) -> int:
    deployments = scene.targets["prod"].deployments
    return dict(deployments["m"].wanted.arms).get(2, 0) if "m" in deployments else 0


def _went_back(scene: Scene) -> bool:
    return any(phase == "back" for phase, _ in phases(scene))


def _check_history(scene: Scene) -> None:
    """The ledger alone: begin, mark, then the next step with enough requests and time since that mark; or back."""
    marked_at, share = None, 0
    for row in scene.rows("canary"):
        value = json.loads(row.after)
        phase, after = value["phase"], value["share"]
        if phase in {"step", "done"}:
            assert marked_at is not None, "a step that nobody counted was passed"
            assert (ledger_time(row) - marked_at) >= RULES.hold_s
            asked = int(row.reason.partition(" was good: ")[2].partition(" request")[0])
            assert asked >= RULES.min_requests, row.reason
            assert after == RULES.after(share)
            share, marked_at = after, None
        elif phase == "begin":
            assert (share, after) == (0, 5), "it began twice"
            share = after
        elif phase == "mark":
            assert (marked_at, after) == (None, share), "one step was marked twice"
            marked_at = ledger_time(row)
        else:
            assert phase == "back"
            assert "requests failed" in row.reason
    assert _share(scene) in {share, RULES.steps[0] and _before(share)} or _went_back(scene)


def _before(share: int) -> int:
    """What still runs when a controller was killed between its row and the change."""
    return max((step for step in (0, *RULES.steps) if step < share), default=0)


def ledger_time(row: ledger.Row) -> float:
    return datetime.fromisoformat(row.at).timestamp()
