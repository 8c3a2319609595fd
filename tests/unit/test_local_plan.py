"""What to start, keep and stop, whose turn it is, how it is judged: the local target's decisions."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.local.counts import merged
from mlflow_hydraulic.deploy_targets.local.plan import (
    Identity,
    crashes_in_a_row,
    judge,
    plan_scorers,
    restart_delay_s,
)
from mlflow_hydraulic.deploy_targets.local.router import end_to_end
from mlflow_hydraulic.deploy_targets.local.weights import Share, Wheel
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor


def model(version: int) -> ModelVersion:
    return ModelVersion(uri=f"models:/m/{version}", name="m", version=str(version), digest=f"d{version}")


def wanted(*predictors: tuple[str, int, int], shadow: int | None = None) -> Deployment:
    first, *rest = predictors
    return Deployment(
        name="d",
        namespace="n",
        predictors=(
            Predictor(name=first[0], model=model(first[1]), replicas=first[2], traffic=100),
            *(Predictor(name=n, model=model(v), replicas=r, traffic=0) for n, v, r in rest),
        ),
        shadow=None if shadow is None else Predictor(name="shadow", model=model(shadow)),
    )


def running(*scorers: tuple[str, str, int]) -> dict[str, tuple[str, Identity]]:
    return {scorer: (predictor, Identity.of(model(version))) for scorer, predictor, version in scorers}


def test_a_new_version_starts_anew_and_stops_the_old() -> None:
    plan = plan_scorers(wanted(("default", 2, 1)), running(("s1", "default", 1)))
    assert (plan.assigned, [p.name for p in plan.start], plan.stop) == ({}, ["default"], ("s1",))


def test_more_and_fewer_replicas_touch_no_other_scorer() -> None:
    more = plan_scorers(wanted(("default", 1, 3)), running(("s1", "default", 1)))
    assert (dict(more.assigned), len(more.start), more.stop) == ({"s1": "default"}, 2, ())
    fewer = plan_scorers(wanted(("default", 1, 1)), running(("s1", "default", 1), ("s2", "default", 1)))
    assert (dict(fewer.assigned), fewer.start, fewer.stop) == ({"s1": "default"}, (), ("s2",))


def test_a_shadow_that_is_promoted_keeps_its_process() -> None:
    plan = plan_scorers(wanted(("default", 2, 1)), running(("s1", "default", 1), ("s2", "shadow", 2)))
    assert (dict(plan.assigned), plan.start, plan.stop) == ({"s2": "default"}, (), ("s1",))


def test_another_engine_is_another_scorer() -> None:
    plan = plan_scorers(wanted(("default", 1, 1)), running(("s1", "default", 1)), engine="pyfunc")
    assert (len(plan.start), plan.stop) == (1, ("s1",))


lanes = st.lists(
    st.tuples(st.sampled_from(["default", "b", "c"]), st.integers(1, 3), st.integers(1, 4)),
    min_size=1,
    max_size=3,
    unique_by=lambda lane: lane[0],
)
processes = st.lists(st.tuples(st.sampled_from(["default", "b", "shadow"]), st.integers(1, 3)), max_size=8)


@given(lanes, processes, st.none() | st.integers(1, 3))
def test_a_plan_gives_what_is_wanted_with_the_fewest_starts(
    given_lanes: list[tuple[str, int, int]], scorers: list[tuple[str, int]], shadow: int | None
) -> None:
    desired = wanted(*given_lanes, shadow=shadow)
    now = running(*((f"s{i}", name, version) for i, (name, version) in enumerate(scorers)))
    plan = plan_scorers(desired, now)
    assert set(plan.assigned) | set(plan.stop) == set(now)
    assert not set(plan.assigned) & set(plan.stop)
    after = Counter(plan.assigned.values()) + Counter(p.name for p in plan.start)
    assert after == Counter({p.name: p.replicas for p in desired.all})
    for scorer, name in plan.assigned.items():
        predictor = desired.predictor(name)
        assert predictor is not None
        assert now[scorer][1] == Identity.of(predictor.model)
    for version in (1, 2, 3):  # none is started while one of the same version is stopped
        assert not (
            any(now[s][1].version == str(version) for s in plan.stop)
            and any(p.model.version == str(version) for p in plan.start)
        )


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100), min_size=1).filter(lambda w: sum(w.values()) > 0))
def test_a_wheel_is_exact_over_each_round(weights: dict[str, int]) -> None:
    wheel = Wheel(weights)
    dealt = Counter(wheel.next() for _ in range(2 * sum(weights.values())))
    assert dealt == Counter({name: 2 * weight for name, weight in weights.items() if weight})


def test_a_wheel_without_weights_deals_nothing() -> None:
    with pytest.raises(LookupError):
        Wheel({"a": 0}).next()


@given(st.integers(0, 100))
def test_a_share_is_exact_over_a_hundred(percent: int) -> None:
    share = Share(percent)
    assert sum(share.next() for _ in range(300)) == 3 * percent


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_restarts_slow_down_and_never_stop(crashes: int, jitter: float) -> None:
    assert 0.2 <= restart_delay_s(crashes, jitter) <= 37.5
    assert restart_delay_s(crashes, jitter) >= restart_delay_s(max(1, crashes - 1), 0.0)


def test_crashes_are_forgotten_after_a_steady_life() -> None:
    assert (crashes_in_a_row(3, 1.0), crashes_in_a_row(3, 61.0)) == (4, 1)


def test_how_it_is() -> None:
    assert judge({"a": 1}, {"a": 1}, []) == ("healthy", "")
    assert judge({"a": 2, "b": 1}, {"a": 1}, [1])[0] == "unhealthy"
    state, cause = judge({"a": 1}, {}, [4])
    assert (state, "crashed 4 times" in cause) == ("failed", True)


def test_headers_for_one_connection_stay_there() -> None:
    headers = [(b"connection", b"close, X-Secret"), (b"x-secret", b"1"), (b"te", b"x"), (b"accept", b"*/*")]
    assert end_to_end([*headers, (b"transfer-encoding", b"chunked")]) == [(b"accept", b"*/*")]


def test_metrics_of_several_processes_keep_families_together() -> None:
    one = '# TYPE s histogram\ns_bucket{le="1"} 1\ns_sum 2\n# TYPE n counter\nn 1\nnot a sample\n'
    lines = merged([({"replica": "s1"}, one), ({"replica": 's"2'}, one)]).splitlines()
    assert lines.count("# TYPE s histogram") == 1
    assert lines.index('s_sum{replica="s\\"2"} 2') < lines.index("# TYPE n counter")
