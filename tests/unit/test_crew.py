"""The crew: several jobs at once, never two of one key, and nobody waits for the slow one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.errors import Unavailable
from tests.support.local import until


def test_one_alone_works_in_the_callers_thread_and_in_order() -> None:
    seen: list[tuple[str, threading.Thread]] = []

    def job(name: str) -> Callable[[], str]:
        return lambda: seen.append((name, threading.current_thread())) or name  # type: ignore[func-returns-value]

    assert Crew[str]().do({"a": job("a"), "b": job("b")}) == {"a": "a", "b": "b"}
    assert seen == [("a", threading.current_thread()), ("b", threading.current_thread())]


def test_the_slow_one_is_handed_back_later_and_never_started_twice() -> None:
    crew: Crew[str] = Crew(4, patience_s=0.05)
    begun, end = [0], threading.Event()

    def slow() -> str:
        begun[0] += 1
        end.wait(30)
        return "slow"

    assert crew.do({"slow": slow, "quick": lambda: "quick"}) == {"quick": "quick"}
    assert crew.busy == {"slow"}
    assert crew.do({"slow": slow, "other": lambda: "other"}) == {"other": "other"}
    assert not crew.waits_for_us
    end.set()
    until(lambda: crew.waits_for_us, "the slow one ends")
    assert crew.do({}) == {"slow": "slow"}
    assert (begun, crew.busy) == ([1], frozenset())


def test_what_a_job_raises_is_raised_to_who_asked() -> None:
    def broken() -> str:
        raise Unavailable("the lease is lost")

    for crew in (Crew[str](), Crew[str](2)):
        with pytest.raises(Unavailable, match="lease"):
            crew.do({"broken": broken})
        assert crew.busy == frozenset()


def test_joining_waits_for_all() -> None:
    crew: Crew[str] = Crew(2, patience_s=0.0)
    end = threading.Event()
    crew.do({"a": lambda: str(end.wait(30))})
    end.set()
    crew.join()
    assert crew.do({}) == {"a": "True"}
