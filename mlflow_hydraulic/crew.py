"""Jobs by key, several at once and never two of one key: a model that starts slowly keeps no other model waiting.

Called by `reconcile`; `controller` decides how many and how patient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Crew(Generic[Result]):
    """Runs jobs in `at_once` threads; one alone runs them in the caller's thread, one after the other.

    patience_s: how long `do` waits for what it started; None waits for all.
    """

    def __init__(self, at_once: int = 1, patience_s: float | None = None) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="apply") if at_once > 1 else None
        self._at_once = at_once
        self._patience_s = patience_s
        self._under_way: dict[str, Future[Result]] = {}

    @property
    def busy(self) -> frozenset[str]:
        """The keys whose jobs have not been handed back yet."""
        return frozenset(tuple(self._under_way))

    @property
    def waits_for_us(self) -> bool:
        """Whether the result of a job that ended lies ready for the next `do`."""
        return any(job.done() for job in self._under_way.values())

    @property
    def full(self) -> bool:
        """Whether no job can be started now."""
        return self._pool is not None and sum(not job.done() for job in self._under_way.values()) >= self._at_once

    def do(self, jobs: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
        """Start jobs of keys that are not busy, as many as there are places; results, by key, of all that ended.

        No job waits for a place, because the world moves while it waits: what found none is to be asked for anew.
        What a job raises is raised here; the others' results stay for the next call.
        """
        if self._pool is None:
            self._do_here(jobs)
        else:
            lacking = self._start(self._pool, jobs)
            until = {"return_when": FIRST_COMPLETED} if lacking else {}
            wait(self._under_way.values(), timeout=self._patience_s, **until)
        ended = {key: job for key, job in self._under_way.items() if job.done()}
        errors = {key: error for key, job in ended.items() if (error := job.exception()) is not None}
        for key in errors or ended:
            del self._under_way[key]
        for error in errors.values():
            raise error
        return {key: job.result() for key, job in ended.items()}

    def _do_here(self, jobs: Mapping[str, Callable[[], Result]]) -> None:
        for key, job in jobs.items():
            if key in self._under_way:
                continue
            done: Future[Result] = Future()
            self._under_way[key] = done  # others may ask meanwhile who is busy
            try:
                done.set_result(job())
            except Exception as error:  # noqa: BLE001 - as a thread of the pool does: `do` raises it
                done.set_exception(error)
            except BaseException:
                del self._under_way[key]
                raise
            if done.exception() is not None:
                return

    def _start(self, pool: ThreadPoolExecutor, jobs: Mapping[str, Callable[[], Result]]) -> bool:
        """Whether places were lacking."""
        for key, job in jobs.items():
            if key in self._under_way:
                continue
            if self.full:
                return True
            self._under_way[key] = pool.submit(job)
        return False

    def join(self) -> None:
        """Wait until nothing is under way; results stay for the next `do`."""
        wait(self._under_way.values())
