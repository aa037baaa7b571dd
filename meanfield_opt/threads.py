"""How many threads the linear algebra library may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

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
        with threadpool_limits(limits=1, user_api="blas"):
            yield
