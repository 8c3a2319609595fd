"""As-of at any time equals the state that was there then, whatever happened before; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.asof import Then, as_of, fold
from mlflow_hydraulic.evidence.ledger import Event

NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(1, 3)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("stage"), NAMES, NUMBERS, st.sampled_from(["None", "Staging", "Production"])),
        st.tuples(st.just("alias"), NAMES, st.sampled_from(["x", "y"]), st.none() | NUMBERS),
        st.tuples(st.just("tag"), NAMES, NUMBERS, st.none() | st.sampled_from(["30", "70"])),
        st.tuples(st.just("delete version"), NAMES, NUMBERS, st.none()),
        st.tuples(st.just("delete model"), NAMES, st.none(), st.none()),
        st.tuples(st.just("rename model"), NAMES, st.sampled_from(["c", "d"]), st.none()),
        st.tuples(st.just("runs"), NAMES, st.none(), st.none() | NUMBERS),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happenings=HAPPENINGS)
def test_as_of_any_time_is_the_state_that_was_there_then(
    evidence: Engine, happenings: list[tuple[str, str, object, object]]
) -> None:
    """A registry that is told of step by step, and asked for at each step's time; whatever was there before goes."""
    truth = World()
    with evidence.begin() as connection:
        connection.execute(text("delete from hydraulic_ledger"))
        connection.execute(text(f"update hydraulic_ledger_head set seq = 0, hash = '{ledger.GENESIS}'"))
    start = utc_now() - timedelta(days=1)
    seen: list[tuple[datetime, tuple[object, ...]]] = [(start, truth.state())]
    rows: list[ledger.Row] = []
    with evidence.begin() as connection:
        for second, happening in enumerate(happenings, start=1):
            moment = start + timedelta(seconds=second)
            rows += ledger.append(connection, [truth.do(*happening)], moment)
            seen.append((moment, truth.state()))
            assert flat(fold(rows)) == truth.state()
        for moment, state in seen:
            assert flat(as_of(connection, moment)) == state
            assert flat(as_of(connection, moment + timedelta(milliseconds=500))) == state


def flat(then: Then) -> tuple[object, ...]:
    return (
        {key[1:]: stage for key, stage in then.stages.items()},
        {key[1:]: number for key, number in then.aliases.items()},
        {(*key[1:], tag): value for key, tags in then.tags.items() for tag, value in tags.items()},
        {key[2]: ran.composition.versions for key, ran in then.running.items()},
    )


class World:
    """A registry and a target as plain dictionaries, which say what they do as the store and the pass would."""

    def __init__(self) -> None:
        self.stages: dict[Any, Any] = {}
        self.aliases: dict[Any, Any] = {}
        self.tags: dict[Any, Any] = {}
        self.running: dict[Any, Any] = {}

    def state(self) -> tuple[object, ...]:
        return dict(self.stages), dict(self.aliases), dict(self.tags), dict(self.running)

    def do(self, verb: str, model: str, what: object, after: object) -> Event:
        subject, key = f"models:/{model}", (model, what)
        if verb == "stage":
            subject = f"models:/{model}/{what}"
            _put(self.stages, key, None if after == "None" else after)
        elif verb == "alias":
            subject = f"models:/{model}@{what}"
            _put(self.aliases, key, after)
        elif verb == "tag":
            subject = f"models:/{model}/{what}#hydraulic.weight"
            _put(self.tags, (model, what, "hydraulic.weight"), after)
        elif verb == "runs":
            subject = f"prod/{model}"
            _put(self.running, model, after and (after,))
            after = after and ran(model, int(str(after)))
        elif verb == "delete version":
            subject = f"models:/{model}/{what}"
            self._forget(lambda k: k[:2] == key)
            for alias in [k for k, number in self.aliases.items() if (k[0], number) == key]:
                del self.aliases[alias]
        elif verb == "delete model":
            self._forget(lambda k: k[0] == model)
            self.aliases = {k: n for k, n in self.aliases.items() if k[0] != model}
        else:
            after = what
            for said in (self.stages, self.aliases, self.tags):
                moved = {k: v for k, v in said.items() if k[0] == model}
                for k, v in moved.items():
                    del said[k]
                    renamed = (what, *k[1:])
                    said[renamed] = v
        environment = "prod" if verb == "runs" else ""
        return Event(verb=verb, subject=subject, actor="a", model=model, after=after, environment=environment)

    def _forget(self, which: Callable[[Any], bool]) -> None:
        for said in (self.stages, self.tags):
            for key in [key for key in said if which(key)]:
                del said[key]


def _put(said: dict[Any, Any], key: object, value: object) -> None:
    if value is None:
        said.pop(key, None)
    else:
        said[key] = value


def ran(model: str, version: int) -> dict[str, object]:
    pin = {"uri": f"models:/{model}/{version}", "name": model, "version": str(version), "digest": "f" * 64}
    return {"model": model, "shadow": None, "predictors": [{**pin, "traffic": 100, "replicas": 1}]}
