"""Linear algebra on one thread: the same bits on every machine, and small products that wait for no busy processor."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Limits the BLAS that numpy brought; with two busy cores a look takes 5 ms so, and 70 to 200 ms without."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
