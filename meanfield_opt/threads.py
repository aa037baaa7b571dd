"""How many threads the linear algebra library may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from .problem import MeanFieldProblem, TwoLayerProblem

#: entries of the input factor above which one matrix product is worth sharing among threads
MANY = 4_000_000


def entries_of(problem: MeanFieldProblem) -> int:
    """Entries of the factor of the input geometry (0 for problems without one)."""
    if not isinstance(problem, TwoLayerProblem):
        return 0
    return problem.n_samples * min(problem.geometry.n_parameters, problem.n_samples)


@contextmanager
def blas_threads(entries: int) -> Iterator[None]:
    """One thread for BLAS inside the block, unless the factor of the geometry has very many entries.

    Our products are many and small: threads that wait for each other between them cost more than they give (measured
    on digits, two components: 23 s with two threads, 2.5 s with one; 64 pixels, 1797 samples: 407 s and 69 s), and much
    more where other processes share the cores. Branch and bound has workers of its own.
    """
    if entries > MANY:
        yield
    else:
        with _libraries(len(sys.modules)).limit(limits=1, user_api="blas"):
            yield


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The libraries loaded where so many modules are: to look for them takes 2 ms, a tenth of a small solve on a path."""
    return ThreadpoolController()


def available() -> int:
    """Threads our own loops use by default: OMP_NUM_THREADS where it is set, otherwise the processors of this process, at most four."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isdigit() and int(given) > 0:
        return int(given)
    few = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return min(4, len(few))


def share(
    work: Callable[[slice], None], count: int, block: int, threads: int, watch: Callable[[], bool] | None = None
) -> None:
    """``work`` on consecutive slices of ``block`` out of ``count`` items, shared among threads.

    For work that releases the interpreter lock and treats each item by itself: then the number of threads changes nothing.
    watch: once it says so no further slice is begun; the first one always is.
    """
    parts = [slice(begin, min(begin + block, count)) for begin in range(0, count, block)]

    def one(part: slice) -> None:
        if part.start == 0 or watch is None or not watch():
            work(part)

    left = iter(parts)

    def some() -> None:
        for part in left:  # an iterator over a list hands out each item once, whichever thread asks
            one(part)

    if threads <= 1 or len(parts) <= 1:
        some()
        return
    with ThreadPoolExecutor(min(threads, len(parts)) - 1) as pool:
        others = [pool.submit(some) for _ in range(min(threads, len(parts)) - 1)]
        some()
        for other in others:
            other.result()
