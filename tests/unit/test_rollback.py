"""A rollback's decision: what to go back to, and moves after which the registry asks for exactly that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from mlflow_hydraulic.bindings import Desired, Environment, Problem, Selector, preset, resolve
from mlflow_hydraulic.errors import BadInput, Conflict, NotFound
from mlflow_hydraulic.evidence.compositions import Composition, Part
from mlflow_hydraulic.moves import after_all, after_one
from mlflow_hydraulic.plan import Wanted, make_plan, wanted_of
from mlflow_hydraulic.registry import STAGES, RegisteredModel, Registry, Version
from mlflow_hydraulic.rollback import HELD, Rollback, decide
from tests.unit.worlds import running

STAGE_PROD, ALIAS_PROD, BOTH_PROD = (preset(name)[1] for name in ("stages", "aliases", "both"))


def part(version: int, traffic: int = 100, replicas: int = 1) -> Part:
    return Part(version=version, digest=f"d{version}", traffic=traffic, replicas=replicas)


def composed(*parts: Part, shadow: int | None = None) -> Composition:
    return Composition(model="m", predictors=parts, shadow=part(shadow) if shadow else None)


V1, V2, V3 = (composed(part(n)) for n in (1, 2, 3))
SPLIT = composed(part(1, 30), part(2, 70))


def model(stages: dict[int, str], aliases: dict[str, int] | None = None, **tags: dict[str, str]) -> RegisteredModel:
    """Versions by stage; tags by "v2"."""
    return RegisteredModel(
        name="m",
        versions=tuple(
            Version(model="m", number=n, stage=stage, tags=tags.get(f"v{n}", {})) for n, stage in stages.items()
        ),
        aliases=aliases or {},
    )


def told(made: Rollback) -> list[str]:
    return [str(move) for move in made.moves]


def after(found: RegisteredModel, made: Rollback, environment: Environment = STAGE_PROD) -> Wanted:
    wish = resolve(after_all(found, made.moves), environment)
    assert isinstance(wish, Desired), wish
    return wanted_of(wish)


def test_one_champion_for_another_is_one_move() -> None:
    made = decide(model({1: "None", 2: "Archived", 3: "Production"}), STAGE_PROD, [V2, V3])
    assert told(made) == ["version 2: stage Archived -> Production (archives version 3)"]
    assert made.reason("3 is worse") == "rollback to v2 in prod: 3 is worse"


def test_an_alias_is_moved_where_an_alias_binds() -> None:
    made = decide(model({2: "None", 3: "None"}, {"champion": 3}), ALIAS_PROD, [V2, V3])
    assert told(made) == ["alias champion: version 3 -> version 2"]


def test_alias_and_stage_go_back_together() -> None:
    found = model({2: "Archived", 3: "Production"}, {"champion": 3})
    made = decide(found, BOTH_PROD, [V2, V3])
    assert told(made) == [
        "alias champion: version 3 -> version 2",
        "version 2: stage Archived -> Production (archives version 3)",
    ]
    assert isinstance(resolve(after_one(found, made.moves[0]), BOTH_PROD), Problem)


def test_a_split_comes_back_with_its_weights_and_replicas() -> None:
    ran = [composed(part(1, 30, 2), part(2, 70)), V3]
    found = model({1: "Archived", 2: "Archived", 3: "Production"}, v3={"hydraulic.weight": "70"})
    made = decide(found, STAGE_PROD, ran)
    assert after(found, made).arms == ((1, 30), (2, 70))
    assert after(found, made).replicas == ((1, 2),)
    assert str(made.running) == "v3"


def test_the_challenger_is_restored_and_removed() -> None:
    with_shadow = composed(part(2), shadow=1)
    found = model({1: "None", 2: "Archived", 3: "Production"})
    assert after(found, decide(found, STAGE_PROD, [with_shadow, V3])).challenger == 1
    found = model({1: "None", 2: "Archived", 3: "Production"}, {"challenger": 1})
    made = decide(found, STAGE_PROD, [V2, composed(part(3), shadow=1)])
    assert after(found, made).challenger is None
    assert HELD in told(made)[0]


def test_what_was_asked_for_and_never_ran_goes_back_to_what_runs() -> None:
    assert decide(model({2: "Archived", 3: "Production"}), STAGE_PROD, [V1, V2]).target == V2


def test_two_by_mistake_in_production_go_back_to_what_runs() -> None:
    made = decide(model({1: "Archived", 2: "Production", 3: "Production"}), STAGE_PROD, [V1, V2])
    assert told(made) == ["version 3: stage Production -> Archived"]


def test_what_was_archived_by_mistake_comes_back() -> None:
    assert decide(model({2: "Archived"}), STAGE_PROD, [V1, V2, None]).target == V2


def test_exactly_what_is_named_runs_again() -> None:
    found, shadowed = model({1: "Archived", 2: "None", 3: "Production"}), composed(part(1), shadow=2)
    assert decide(found, STAGE_PROD, [V1, shadowed, V3], to=1).target == shadowed
    assert decide(found, STAGE_PROD, [V1, shadowed, V3], what="v1").target == V1
    with pytest.raises(
        NotFound, match=r"'v9' never ran healthily in prod: name what did \('v3', 'v1 \+ challenger v2'"
    ):
        decide(found, STAGE_PROD, [V1, shadowed, V3], what="v9")


def test_a_version_that_is_named_answers_again_alone_where_it_did() -> None:
    found = model({1: "Archived", 2: "Archived", 3: "Production"})
    assert decide(found, STAGE_PROD, [V1, SPLIT, V2, V3], to=1).target == V1
    assert decide(found, STAGE_PROD, [SPLIT, V2, V3], to=1).target == SPLIT
    assert decide(found, STAGE_PROD, [V1, V3], to=3).moves == ()


def test_repeated_it_does_nothing_more_and_never_goes_to_and_fro() -> None:
    found = model({1: "Archived", 2: "Archived", 3: "Production"})
    made = decide(found, STAGE_PROD, [V1, V2, V3])
    back = after_all(found, made.moves)
    assert decide(back, STAGE_PROD, [V1, V2, V3], made.reason("x")).moves == ()
    with pytest.raises(Conflict, match="name a version with --to"):
        decide(back, STAGE_PROD, [V1, V2, V3, V2], made.reason("x"))
    assert decide(back, STAGE_PROD, [V1, V2, V3, V2], made.reason("x"), to=2).moves == ()
    assert decide(back, STAGE_PROD, [V1, V2, V3, V2], made.reason("x"), to=1).target == V1


def test_a_rollback_to_what_runs_is_finished_when_it_was_cut_short() -> None:
    selectors = tuple(map(Selector.parse, ("stage:Production", "alias:champion", "stage:Staging")))
    both = Environment(name="prod", namespace="prod", champion=selectors)
    found = model({1: "Staging", 2: "Production", 3: "None"}, {"champion": 3})
    made = decide(found, both, [V2, V3])
    assert told(made) == [
        "version 3: stage None -> Production (archives version 2)",
        "version 1: stage Staging -> Archived",
    ]
    half = after_all(found, made.moves[:1])
    assert told(decide(half, both, [V2, V3], made.reason("x"))) == told(made)[1:]
    with pytest.raises(Conflict, match="name a version with --to"):
        decide(after_all(found, made.moves), both, [V2, V3], made.reason("x"))


@pytest.mark.parametrize(
    ("found", "ran", "to", "error", "words"),
    [
        (model({1: "Production"}), [], None, NotFound, "nothing is on record"),
        (model({1: "Production"}), [V1], None, NotFound, "only v1 ever ran"),
        (model({1: "None", 3: "Production"}), [V1, V2, V3], None, NotFound, "version 2 was deleted.*there are 1, 3"),
        (model({3: "Production"}), [V2, V3], 9, NotFound, r"version 9 never ran healthily in prod.*v2, v3"),
    ],
)
def test_what_cannot_be_gone_back_to_is_said(
    found: RegisteredModel, ran: list[Composition | None], to: int | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        decide(found, STAGE_PROD, ran, to=to)


def test_a_split_that_only_aliases_bind_cannot_come_back() -> None:
    with pytest.raises(BadInput, match="only stages can ask for that"):
        decide(model({1: "None", 2: "None"}, {"champion": 2}), ALIAS_PROD, [SPLIT, V2])


def test_a_model_that_the_environment_does_not_look_at_is_refused() -> None:
    with pytest.raises(BadInput, match="looks at models named"):
        decide(model({1: "None"}), preset("model-per-environment")[1], [V1])


VERSIONS = (1, 2, 3, 4)
TAGS = st.fixed_dictionaries(
    {},
    optional={
        "hydraulic.weight": st.sampled_from(["30", "50", "70", "x"]),
        "hydraulic.replicas": st.sampled_from(["1", "3", HELD]),
    },
)
MODELS = st.builds(
    lambda stages, aliases, tags: RegisteredModel(
        name="m",
        versions=tuple(
            Version(model="m", number=n, stage=stage, tags=tag)
            for n, stage, tag in zip(VERSIONS, stages, tags, strict=True)
        ),
        aliases=aliases,
    ),
    st.lists(st.sampled_from(STAGES), min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(["champion", "challenger", "other"]), st.sampled_from(VERSIONS)),
    st.lists(TAGS, min_size=4, max_size=4),
)
REPLICAS = st.sampled_from([1, 2, 3])
COMPOSITIONS = st.one_of(
    st.builds(lambda n, r: composed(part(n, 100, r)), st.sampled_from(VERSIONS), REPLICAS),
    st.builds(
        lambda pair, weight, r: composed(part(pair[0], weight, r), part(pair[1], 100 - weight)),
        st.permutations(VERSIONS),
        st.sampled_from([30, 50, 70]),
        REPLICAS,
    ),
    st.builds(lambda pair: composed(part(pair[0]), shadow=pair[1]), st.permutations(VERSIONS)),
)
SELECTORS = st.permutations(["alias:champion", "stage:Production", "alias:other", "stage:Staging"]).flatmap(
    lambda found: st.integers(1, 3).map(lambda count: found[:count])
)
ENVIRONMENTS = st.builds(
    lambda champion, challenger: Environment(
        name="prod", namespace="prod", champion=tuple(map(Selector.parse, champion)), challenger=challenger
    ),
    SELECTORS,
    st.sampled_from([(Selector("alias", "challenger"),), (Selector("stage", "Archived"),), ()]),
)


@settings(max_examples=600, deadline=None)
@given(
    found=MODELS, ran=st.lists(st.none() | COMPOSITIONS, max_size=4), environment=ENVIRONMENTS, cut=st.integers(0, 9)
)
def test_whatever_happened_the_moves_come_to_what_ran_and_never_by_way_of_anything_else(
    found: RegisteredModel, ran: list[Composition | None], environment: Environment, cut: int
) -> None:
    try:
        made = decide(found, environment, ran)
    except (NotFound, BadInput):
        reject()
    target = made.target.wanted
    for done in range(len(made.moves) + 1):
        state = after_all(found, made.moves[:done])
        _act_on(state, environment, made, old=resolve(found, environment), last=done == len(made.moves))
    final = after_all(found, made.moves)
    assert after(found, made, environment).challenger == target.challenger
    assert sorted(after(found, made, environment).arms) == sorted(target.arms)
    assert _run_by(final, environment, made) == dict(target.replicas)
    assert [move for move in _undone(found, made, len(made.moves)) if move] == []
    half = after_all(found, made.moves[:cut])
    if 0 < cut < len(made.moves):  # killed half-way and called again: it finishes what it began
        try:
            again = decide(half, environment, ran, made.reason("x"))
        except Conflict:  # what is left of the moves changes nothing of what is asked for, and that runs
            seen = resolve(half, environment)
            assert isinstance(seen, Desired)
            assert sorted(wanted_of(seen).arms) == sorted(target.arms)
            return
        assert again.target.wanted == target
        assert sorted(after(half, again, environment).arms) == sorted(target.arms)
        assert _run_by(after_all(half, again.moves), environment, again) == dict(target.replicas)


def _act_on(
    state: RegisteredModel, environment: Environment, made: Rollback, old: Desired | Problem | None, *, last: bool
) -> None:
    """What a controller that looks now would do: the old intent, the new, or nothing at all."""
    seen = resolve(state, environment)
    if isinstance(seen, Problem):
        assert not last
        return
    new = isinstance(seen, Desired) and sorted(wanted_of(seen).arms) == sorted(made.target.wanted.arms)
    same = isinstance(seen, Desired) and isinstance(old, Desired) and wanted_of(seen) == wanted_of(old)
    assert new or same or (seen is None and old is None)
    if made.running and seen is None:
        assert old is None


def _run_by(final: RegisteredModel, environment: Environment, made: Rollback) -> dict[int, int]:
    """The replicas that a pass would run, from what runs now and what the tags say (as `make_deployment` does)."""
    wish = resolve(final, environment)
    assert isinstance(wish, Desired)
    there = {p.version: p.replicas for p in made.running.predictors} if made.running else {}
    most = max(there.values(), default=1)
    return {n: dict(wanted_of(wish).replicas).get(n, there.get(n, most)) for n, _ in wanted_of(wish).arms}


def _undone(found: RegisteredModel, made: Rollback, count: int) -> list[str]:
    """What is not as it was after the first `count` moves and their way back."""
    state = after_all(found, made.moves[:count])
    for move in reversed(made.moves[:count]):
        state = after_all(state, move.inverse())
    stages = {v.number: (v.stage, dict(v.tags)) for v in found.versions}
    wrong = [str(v.number) for v in state.versions if stages[v.number] != (v.stage, dict(v.tags))]
    return wrong + (["aliases"] if dict(state.aliases) != dict(found.aliases) else [])


def test_half_way_the_plan_holds() -> None:
    found = model({1: "Archived", 2: "Archived", 3: "Production"}, v3={"hydraulic.weight": "70"})
    made = decide(found, STAGE_PROD, [SPLIT, V3])
    assert len(made.moves) > 3
    for done in range(1, len(made.moves)):
        state = replace(found, versions=after_all(found, made.moves[:done]).versions)
        plan = make_plan(Registry((state,)), (STAGE_PROD,), [running("prod", (3, 100))])
        assert plan.changes == ()
