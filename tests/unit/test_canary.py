"""The canary's verdicts and decisions: values in, verdict and reason out."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.canary.decide import decide
from mlflow_hydraulic.canary.judge import Verdict, judge, numbers, percent
from mlflow_hydraulic.canary.look import Decision, Look
from mlflow_hydraulic.canary.memory import Memory, Note, read_row, read_word
from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.service_level import Counters, Level, Process, since

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
RULES = Rules(hold_s=60, min_requests=100, max_error_rate=0.01, max_p99_ms=250, patience_s=600)
BOUNDS = (0.1, 0.25, 1.0)


def level(requests: int, errors: int = 0, slow: int = 0, restarts: int = 0, ready: int = 1) -> Level:
    return Level(
        requests=requests,
        errors=errors,
        buckets=(requests - slow, 0, slow, 0),
        bounds_s=BOUNDS,
        restarts=restarts,
        ready=ready,
        wanted=1,
    )


def counters(requests: int = 0, errors: int = 0, slow: int = 0, started: float = 1.0, restarts: int = 0) -> Counters:
    process = Process(
        started=started, requests=requests, errors=errors, buckets=(requests - slow, 0, slow, 0), restarts=restarts
    )
    return Counters(processes={"p": process}, bounds_s=BOUNDS, ready=1, wanted=1)


def memory(phase: str = "mark", share: int = 25, **more: object) -> Memory:
    marks = {"v3": counters(), "v4": counters()} if phase == "mark" else {}
    made = Memory(phase=phase, old=3, new=4, share=share, since=NOW, marks=marks, archived=True)  # type: ignore[arg-type]  # a literal
    return replace(made, **more)  # type: ignore[arg-type]  # shorter calls below


def look(remembered: Memory | None = None, **more: object) -> Look:
    """Production asks for v4, v3 was archived for it; the canary stands at 25 %."""
    made = Look(
        rules=RULES,
        asked=4,
        runs=((3, 75), (4, 25)) if remembered else ((3, 100),),
        state="healthy",
        memory=remembered,
        counters={"v3": counters(300), "v4": counters(100)},
        now=NOW + timedelta(seconds=60),
        known=frozenset({2, 3, 4, 5}),
        archived=frozenset({3}),
    )
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "held_s", "verdict", "words"),
    [
        (level(100), 60, Verdict.GOOD, ""),
        (level(100), 59, Verdict.EARLY, "1 s more"),
        (level(99), 60, Verdict.EARLY, "1 request more"),
        (None, 1e6, Verdict.UNKNOWN, "nobody can tell"),
        (level(100, ready=0), 60, Verdict.UNKNOWN, "0 of 1 of its replicas are ready"),
        (level(100, errors=1), 60, Verdict.GOOD, ""),
        (level(100, errors=2), 0, Verdict.BREACH, "2 of 100 requests failed (2 %), more than 1 %"),
        (level(2, errors=2), 0, Verdict.BREACH, "2 of 2 requests failed (100 %)"),
        (level(1, errors=1), 60, Verdict.EARLY, "99 requests more"),
        (level(100, slow=1), 60, Verdict.GOOD, ""),
        (level(100, slow=2), 60, Verdict.BREACH, "p99 is 625 ms, more than 250 ms"),
        (level(5, slow=5), 0, Verdict.BREACH, "more than 250 ms"),
        (level(100, restarts=1), 0, Verdict.BREACH, "started again once"),
    ],
)
def test_the_worst_measure_decides(seen: Level | None, held_s: float, verdict: Verdict, words: str) -> None:
    found = judge(RULES, seen, None, held_s)
    assert found.verdict is verdict
    assert words in "; ".join(found.why)


def test_the_ratio_is_measured_by_the_champion_before_in_the_same_step() -> None:
    rules = replace(RULES, max_p99_ms=None, max_p99_ratio=1.5)
    fast = Level(requests=100, buckets=(100, 0, 0, 0), bounds_s=BOUNDS, ready=1, wanted=1)
    slow = Level(requests=100, buckets=(0, 100, 0, 0), bounds_s=BOUNDS, ready=1, wanted=1)
    assert judge(rules, slow, slow, 60).verdict is Verdict.GOOD
    found = judge(rules, slow, fast, 60)
    assert (found.verdict, "1.5 times the 99 ms" in found.why[0]) == (Verdict.BREACH, True)
    assert judge(rules, fast, None, 60).verdict is Verdict.UNKNOWN
    assert judge(rules, fast, level(99), 60).verdict is Verdict.EARLY
    late = Level(requests=100, buckets=(0, 0, 0, 100), bounds_s=BOUNDS)
    assert judge(rules, fast, late, 60).verdict is Verdict.UNKNOWN


def test_what_cannot_be_told_is_never_good_and_never_a_breach() -> None:
    assert Verdict.GOOD < Verdict.EARLY < Verdict.UNKNOWN < Verdict.BREACH
    bare = Level(requests=1000, bounds_s=BOUNDS, ready=1, wanted=1)
    assert judge(RULES, bare, None, 60).verdict is Verdict.UNKNOWN, "answers without durations"
    assert bare.quantile_s(0.99) is None
    assert level(100, slow=0).quantile_s(0.5) == 0.05
    assert Level(requests=1, buckets=(0, 0, 0, 1), bounds_s=BOUNDS).quantile_s(0.99) == math.inf


def test_numbers_in_words() -> None:
    assert numbers(level(412, errors=1)) == "412 requests, error rate 0.24 %, p99 99 ms"
    assert numbers(level(1, restarts=2, ready=0)).endswith("2 restarts, 0 of 1 replicas ready")
    assert [percent(share) for share in (0, 0.002, 0.0123, 0.2, 1)] == ["0 %", "0.2 %", "1.2 %", "20 %", "100 %"]


def test_counters_since_a_mark_know_processes_that_began_anew() -> None:
    assert since(counters(10), counters(25)).requests == 15
    assert since(counters(10), counters(4, started=2.0, restarts=1)) == level(4, restarts=1)
    assert since(counters(10), counters(4)).requests == 4, "a clock that was set back tells no start"
    assert since(Counters(), counters(7)).requests == 7
    assert since(counters(10), Counters(bounds_s=BOUNDS)).requests == 0
    made = counters(3, errors=1, slow=2)
    assert Counters.from_json(made.to_json()) == replace(made, ready=0, wanted=0)
    for wrong in (None, {}, {"processes": {"p": [1]}, "bounds_s": []}, {"processes": 3, "bounds_s": []}):
        with pytest.raises(BadInput):
            Counters.from_json(wrong)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=12))
def test_what_was_counted_never_shrinks_below_what_the_living_process_counts(steps: list[tuple[int, bool]]) -> None:
    mark, seen, started = counters(5), 5, 1.0
    for asked, restarted in steps:
        started, seen = (started + 1, asked) if restarted else (started, seen + asked)
        found = since(mark, counters(seen, started=started))
        assert 0 <= found.requests <= seen
        assert found.requests == (seen if started > 1 else seen - 5)


def outcome(decision: Decision) -> tuple[object, str]:
    return decision.arms, decision.note.phase if decision.note else ""


STEPS = [
    # a canary begins from who serves alone
    (look(), ((3, 95), (4, 5)), "begin"),
    (look(state="unhealthy"), ((3, 95), (4, 5)), "begin"),
    (look(state="launching"), ((3, 100),), ""),
    (look(state="failed"), None, ""),
    (look(runs=()), None, ""),
    (look(runs=((0, 100),)), None, ""),
    (look(runs=((3, 50), (4, 50))), None, ""),
    (look(rollback=True), None, ""),
    # each step is counted from where it runs, and judged before the next
    (look(memory("begin", 5)), ((3, 95), (4, 5)), ""),
    (look(memory("step")), ((3, 75), (4, 25)), "mark"),
    (look(memory("step"), counters=None), ((3, 75), (4, 25)), ""),
    (look(memory()), ((3, 50), (4, 50)), "step"),
    (look(memory(), counters=None), ((3, 75), (4, 25)), ""),
    (look(memory(), counters={"v4": counters(99)}), ((3, 75), (4, 25)), ""),
    (look(memory(), now=NOW), ((3, 75), (4, 25)), ""),
    (look(memory(), runs=((3, 90), (4, 10))), ((3, 75), (4, 25)), ""),
    (look(memory(share=50), runs=((3, 50), (4, 50))), ((4, 100),), "done"),
    (look(memory("done", 100), runs=((3, 50), (4, 50))), ((4, 100),), ""),
    # a breach goes back, and is remembered
    (look(memory(), counters={"v4": counters(100, errors=2)}), ((3, 100),), "back"),
    (look(memory("back", 0)), ((3, 100),), ""),
    (look(memory("back", 0), runs=((3, 100),)), ((3, 100),), ""),
    (look(memory("back", 0), runs=()), ((3, 100),), ""),
    (look(memory("back", 0, word="retry"), runs=((3, 100),)), ((3, 95), (4, 5)), "begin"),
    (look(memory("back", 0, spoken=frozenset({4})), runs=((3, 100),)), ((3, 95), (4, 5)), "begin"),
    (look(memory("back", 0), runs=((3, 100),), asked=5), ((3, 95), (5, 5)), "begin"),
    # halted
    (look(memory("halt")), ((3, 75), (4, 25)), ""),
    (look(memory("halt", word="retry")), ((3, 75), (4, 25)), "step"),
    (look(memory("halt", word="abort")), ((3, 100),), "back"),
    (look(memory("halt"), asked=3), None, "over"),
    # people
    (look(memory(word="promote")), ((4, 100),), "done"),
    (look(memory(word="abort")), ((3, 100),), "back"),
    (look(memory(), asked=3), None, "over"),
    (look(memory(), rollback=True, asked=2), None, "over"),
    (look(memory(), asked=None, split=True), None, "over"),
    (look(memory(), asked=5), ((3, 95), (5, 5)), "begin"),
    (look(memory(archived=False)), ((4, 100),), "done"),
    (look(memory(spoken=frozenset({4}))), ((3, 95), (4, 5)), "begin"),
    (look(memory(), known=frozenset({4})), ((3, 75), (4, 25)), ""),
    # the registry asks for nothing any more
    (look(memory(), asked=None), ((3, 100),), "back"),
    (look(memory("back", 0), asked=None, runs=((3, 100),)), ((3, 100),), ""),
    (look(memory("back", 0, spoken=frozenset({3})), asked=None, runs=((3, 100),)), None, ""),
    (look(memory("done", 100), asked=None, runs=((4, 100),)), None, ""),
    (look(asked=None), None, ""),
]


@pytest.mark.parametrize(("seen", "arms", "phase"), STEPS)
def test_what_is_decided(seen: Look, arms: object, phase: str) -> None:
    assert outcome(decide(seen)) == (arms, phase), decide(seen).why


def test_an_undecided_step_waits_as_long_as_patience_lasts() -> None:
    late = NOW + timedelta(seconds=600)
    ends = {"hold": ((3, 75), (4, 25)), "go on": ((3, 50), (4, 50)), "roll back": ((3, 100),)}
    for when_unsure, arms in ends.items():
        rules = replace(RULES, when_unsure=when_unsure)
        for counted in (None, {"v4": counters(5)}):
            early = decide(look(memory(), rules=rules, now=late - timedelta(seconds=1), counters=counted))
            assert outcome(early) == (((3, 75), (4, 25)), "")
            assert decide(look(memory(), rules=rules, now=late, counters=counted)).arms == arms
    bad = decide(look(memory(), rules=replace(RULES, when_unsure="go on"), now=late, counters={"v4": counters(9, 9)}))
    assert bad.arms == ((3, 100),), "a breach is never passed over"


def test_a_breach_may_halt() -> None:
    rules = replace(RULES, on_breach="halt")
    halted = decide(look(memory(), rules=rules, counters={"v4": counters(100, errors=20)}))
    assert outcome(halted) == (((3, 75), (4, 25)), "halt")
    assert (halted.kind, "20 of 100 requests failed" in halted.fact) == ("hold", True)


def test_the_line_says_where_it_stands_and_what_it_waits_for() -> None:
    said = decide(look(memory(), counters={"v4": counters(40)}, now=NOW + timedelta(seconds=20))).why
    assert said == (
        "canary step 2 of 4: v4 25 % (v3 75 %), 40 requests, error rate 0 %, p99 99 ms; "
        "waits for 40 s more and 60 requests more"
    )
    assert decide(look(memory())).why == (
        "canary step 3 of 4: v4 50 % (v3 50 %); 25 % was good: 100 requests, error rate 0 %, p99 99 ms"
    )


def test_rows_are_read_back_and_others_refused() -> None:
    note = Note(phase="mark", old=3, new=4, share=5, before=5, reason="r", marks={"v4": counters(1)})
    found = read_row(note.to_json(), NOW, "r")
    assert (found.phase, found.old, found.new, found.share, set(found.marks)) == ("mark", 3, 4, 5, {"v4"})
    begun = read_row(replace(note, phase="begin", marks={}, archived=True).to_json(), NOW, "")
    assert begun.after(note.to_json(), NOW, "r").archived
    for wrong in (None, {}, {"phase": "no", "from": 1, "to": 2, "share": 3}, {**note.to_json(), "marks": 3}):
        with pytest.raises(BadInput):
            read_row(wrong, NOW, "")
    assert [read_word(text, "prod") for text in ("", "abort", "abort in", "promote in prod", "abort in dev")] == [
        "",
        "abort",
        "abort",
        "promote",
        "",
    ]
