"""From what is to run to moves: after them the registry asks for exactly that, or nothing moves and words say why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.bindings import Desired, Environment, intent_lost, preset, resolve
from mlflow_hydraulic.errors import BadInput, Failed, HydraulicError, NotFound
from mlflow_hydraulic.intent import Share, Wish, asked_words, towards, withdraw
from mlflow_hydraulic.moves import Move, after_all
from mlflow_hydraulic.plan import Wanted, make_plan, wanted_of
from mlflow_hydraulic.registry import STAGES, RegisteredModel, Registry, Version
from mlflow_hydraulic.rollback import HELD
from tests.unit.worlds import running

PRESETS = ("stages", "aliases", "both", "model-per-environment")
STAGED = preset("stages")
ALIASED = preset("aliases")


def model(stages: dict[int, str], aliases: dict[str, int] | None = None, **tags: dict[str, str]) -> RegisteredModel:
    """Versions by stage; tags by "v2"."""
    return RegisteredModel(
        name="m",
        versions=tuple(
            Version(model="m", number=n, stage=stage, tags=tags.get(f"v{n}", {})) for n, stage in stages.items()
        ),
        aliases=aliases or {},
    )


def one(version: int, replicas: int | None = None, challenger: int | None = None) -> Wish:
    return Wish(shares=(Share(version=version, replicas=replicas),), challenger=challenger)


def split(*shares: tuple[int, int]) -> Wish:
    return Wish(shares=tuple(Share(version=version, percent=percent) for version, percent in shares))


def told(moves: list[Move]) -> list[str]:
    return [str(move) for move in moves]


def test_a_version_goes_to_dev_and_on_to_prod_by_one_move_each() -> None:
    dev, prod = STAGED
    found = model({1: "Production", 2: "None"})
    to_dev = towards(found, dev, STAGED, one(2))
    assert told(to_dev) == ["version 2: stage None -> Staging"]
    there = after_all(found, to_dev)
    to_prod = towards(there, prod, STAGED, one(2))
    assert told(to_prod) == ["version 2: stage Staging -> Production (archives version 1)"]
    assert towards(after_all(there, to_prod), prod, STAGED, one(2)) == []


def test_with_aliases_one_version_is_in_both() -> None:
    dev, prod = ALIASED
    found = model({3: "None", 4: "None"}, {"champion": 3, "dev": 4})
    assert told(towards(found, prod, ALIASED, one(4))) == ["alias champion: version 3 -> version 4"]
    assert told(towards(found, dev, ALIASED, one(3))) == ["alias dev: version 4 -> version 3"]


def test_a_version_of_prod_does_not_go_back_to_dev_by_the_only_stage_it_has() -> None:
    with pytest.raises(BadInput, match="change of prod, which asks for v3 and would ask for nothing"):
        towards(model({3: "Production"}), STAGED[0], STAGED, one(3))


def test_challenger_split_and_replicas() -> None:
    prod, found = STAGED[1], model({3: "Production", 4: "None", 5: "None"})
    beside = towards(found, prod, STAGED, one(3, challenger=4), together=True)
    assert told(beside) == ["alias challenger: nothing -> version 4"]
    assert asked_words(after_all(found, beside), prod) == "v3 + challenger v4"
    shared = after_all(found, towards(found, prod, STAGED, split((3, 80), (4, 20))))
    assert asked_words(shared, prod) == "v3 80%/v4 20%"
    assert asked_words(after_all(shared, towards(shared, prod, STAGED, one(4))), prod) == "v4"
    more = towards(found, prod, STAGED, one(3, replicas=2), together=True)
    assert told(more) == ["version 3: tag hydraulic.replicas not set -> 2"]
    assert towards(after_all(found, more), prod, STAGED, one(3)) == []  # nothing said: as many as now


def test_in_one_transaction_nothing_is_held() -> None:
    prod, found = STAGED[1], model({3: "Production", 4: "None"}, v3={"hydraulic.weight": "50"})
    wish = split((3, 80), (4, 20))
    assert not any(HELD in line for line in told(towards(found, prod, STAGED, wish, together=True)))


@pytest.mark.parametrize(
    ("shares", "challenger", "words"),
    [
        (((3, 80), (4, 30)), None, "add up to 110"),
        (((3, 100), (4, 0)), None, "each is a whole number from 1 to 100"),
        (((3, 50), (3, 50)), None, "each may be named once"),
        ((), None, "name 1 to 20"),
        (((3, 100),), 3, "cannot challenge itself"),
    ],
)
def test_what_is_no_composition_is_refused(
    shares: tuple[tuple[int, int], ...], challenger: int | None, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        Wish(shares=tuple(Share(version=v, percent=p) for v, p in shares), challenger=challenger)


def test_what_the_bindings_cannot_express_is_said() -> None:
    found = model({3: "None", 4: "None"}, {"champion": 3})
    with pytest.raises(BadInput, match="only stages can ask for that"):
        towards(found, ALIASED[1], ALIASED, split((3, 50), (4, 50)))
    with pytest.raises(BadInput, match="no binding for a challenger"):
        towards(found, ALIASED[0], ALIASED, one(3, challenger=4))
    with pytest.raises(NotFound, match="'m' has no version 9"):
        towards(found, ALIASED[0], ALIASED, one(9))
    apart = preset("model-per-environment")
    with pytest.raises(BadInput, match=r"prod looks at models named 'prod\.\*'.*copy_model_version"):
        towards(found, apart[1], apart, one(3))


def test_the_end_is_a_word_that_the_plan_takes() -> None:
    for environments, found in (
        (STAGED, model({3: "Production"}, {"challenger": 3})),
        (ALIASED, model({3: "None"}, {"champion": 3})),
    ):
        moves = withdraw(found, environments[1], environments, (3,))
        plan = make_plan(Registry((after_all(found, moves),)), environments, [running("prod", (3, 100))])
        assert [action.kind for action in plan.actions] == ["delete"], told(moves)
    with pytest.raises(NotFound, match="nothing of 'm' runs in prod"):
        withdraw(model({3: "None"}), STAGED[1], STAGED, ())
    with pytest.raises(Failed, match="was deleted"):
        withdraw(model({4: "Production"}), STAGED[1], STAGED, (3,))
    both = preset("both")
    with pytest.raises(BadInput, match="change of prod"):
        withdraw(model({3: "Production"}, {"dev": 3}), both[0], both, (3,))


def test_what_a_canary_came_back_to_is_archived_anew() -> None:
    found = model({3: "Archived", 4: "Archived"})
    moves = withdraw(found, STAGED[1], STAGED, (3,), stood_in=(3,))
    assert told(moves) == ["version 3: stage Archived -> None", "version 3: stage None -> Archived"]


VERSIONS = (1, 2, 3, 4)
TAGS = st.fixed_dictionaries(
    {},
    optional={
        "hydraulic.weight": st.sampled_from(["30", "50", "70", "x"]),
        "hydraulic.replicas": st.sampled_from(["0", "1", "3", HELD, "\u0663"]),
    },
)
NAMES = ("m", "dev.m", "prod.m")
MODELS = st.builds(
    lambda name, stages, aliases, tags: RegisteredModel(
        name=name,
        versions=tuple(
            Version(model=name, number=n, stage=stage, tags=tag)
            for n, stage, tag in zip(VERSIONS, stages, tags, strict=True)
        ),
        aliases=aliases,
    ),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(STAGES), min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(["champion", "challenger", "dev", "other"]), st.sampled_from((*VERSIONS, 9))),
    st.lists(TAGS, min_size=4, max_size=4),
)
REPLICAS = st.none() | st.integers(1, 3)
WISHES = st.one_of(
    st.builds(one, st.sampled_from((*VERSIONS, 9)), REPLICAS),
    st.builds(lambda pair, r: one(pair[0], r, pair[1]), st.permutations(VERSIONS), REPLICAS),
    st.builds(
        lambda order, percent: split((order[0], percent), (order[1], 100 - percent)),
        st.permutations(VERSIONS),
        st.integers(1, 99),
    ),
)
RUNNING = st.none() | st.builds(
    lambda n, r: Wanted(arms=((n, 100),), replicas=((n, r),)), st.sampled_from(VERSIONS), st.integers(1, 3)
)


@settings(max_examples=800, deadline=None)
@given(
    found=MODELS,
    wish=WISHES,
    runs=RUNNING,
    name=st.sampled_from(PRESETS),
    number=st.integers(0, 1),
    together=st.booleans(),
)
def test_the_registry_asks_for_it_afterwards_or_it_is_refused_in_words(
    found: RegisteredModel, wish: Wish, runs: Wanted | None, name: str, number: int, *, together: bool
) -> None:
    environments = preset(name)
    environment, other = environments[number], environments[1 - number]
    try:
        moves = towards(found, environment, environments, wish, runs, together=together)
    except HydraulicError as error:
        assert len(str(error)) > 20
        return
    after = after_all(found, moves)
    asked = resolve(after, environment)
    assert isinstance(asked, Desired), asked
    wanted = wanted_of(asked)
    assert sorted(wanted.arms) == sorted((share.version, share.percent) for share in wish.shares)
    assert wanted.challenger == wish.challenger
    there = dict(runs.replicas) if runs else {}
    for share in wish.shares:
        if share.replicas is not None:
            assert (
                dict(wanted.replicas).get(share.version, there.get(share.version, max(there.values(), default=1)))
                == share.replicas
            )
    if other not in _below(environment, environments):
        assert asked_words(after, other) == asked_words(found, other)


@settings(max_examples=500, deadline=None)
@given(
    found=MODELS,
    name=st.sampled_from(PRESETS),
    number=st.integers(0, 1),
    served=st.lists(st.sampled_from(VERSIONS), max_size=2, unique=True),
)
def test_the_end_is_said_in_so_many_words_or_refused(
    found: RegisteredModel, name: str, number: int, served: list[int]
) -> None:
    environments = preset(name)
    environment, other = environments[number], environments[1 - number]
    try:
        moves = withdraw(found, environment, environments, served)
    except HydraulicError:
        return
    after = after_all(found, moves)
    assert resolve(after, environment) is None
    assert intent_lost(after, served, environment, "") == ""
    if other not in _below(environment, environments):
        assert asked_words(after, other) == asked_words(found, other)


def _below(environment: Environment, environments: tuple[Environment, ...]) -> list[Environment]:
    return [one for one in environments if environment.promotes_from == one.name]
