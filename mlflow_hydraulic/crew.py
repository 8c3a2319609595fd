"""Jobs by key, several at once and never two of one key: a model that starts slowly keeps no other model waiting.

Called by `reconcile`; `controller` decides how many and how patient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Crew(Generic[Result]):
    """Runs jobs in `at_once` threads; one alone runs them in the caller's thread, one after the other.

    patience_s: how long `do` waits for what it started; None waits for all.
    """

    def __init__(self, at_once: int = 1, patience_s: float | None = None) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="apply") if at_once > 1 else None
        self._patience_s = patience_s
        self._under_way: dict[str, Future[Result]] = {}

    @property
    def busy(self) -> frozenset[str]:
        """The keys whose jobs have not been handed back yet."""
        return frozenset(self._under_way)

    @property
    def waits_for_us(self) -> bool:
        """Whether the result of a job that ended lies ready for the next `do`."""
        return any(job.done() for job in self._under_way.values())

    def do(self, jobs: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
        """Start the jobs of keys that are not busy; results, by key, of all that ended, from earlier calls too.

        What a job raises is raised here, and the others' results are lost: what they did is seen in the world.
        """
        if self._pool is None:
            return {key: job() for key, job in jobs.items()}
        for key, job in jobs.items():
            if key not in self._under_way:
                self._under_way[key] = self._pool.submit(job)
        wait(self._under_way.values(), timeout=self._patience_s)
        results: dict[str, Result] = {}
        broken: BaseException | None = None
        for key, under_way in list(self._under_way.items()):
            if not under_way.done():
                continue
            del self._under_way[key]
            error = under_way.exception()
            broken = error or broken
            if error is None:
                results[key] = under_way.result()
        if broken is not None:
            raise broken
        return results

    def join(self) -> None:
        """Wait until nothing is under way; results stay for the next `do`."""
        wait(self._under_way.values())
