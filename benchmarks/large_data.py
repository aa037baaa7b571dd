"""Large data: cost against P, a solve at P = 20,000, masters on many columns (parts of ``speed.py``)."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import numpy as np
from measuring import Row, ours, teacher_problem, timed

import meanfield_opt as mfo
from meanfield_opt.threads import blas_threads


def scaling() -> Iterator[Row]:
    """A sweep of 256 starts (20 steps) and 20 slide steps of 200 atoms, d_X = 50: processor time and peak memory against P."""
    from meanfield_backends.colgen.carrier import ThetaCarrier
    from meanfield_backends.colgen.glide import glide
    from meanfield_backends.colgen.slide import Particles
    from meanfield_backends.colgen.sweep import sweep

    seen: list[tuple[int, float]] = []
    for samples in (625, 1250, 2500, 5000, 10_000, 20_000):
        problem = teacher_problem(samples / 300, samples, 50, 3)
        carrier, rng = ThetaCarrier(problem.geometry), np.random.default_rng(0)
        rows = np.ascontiguousarray(carrier.patterns(np.eye(51)).T)
        particles = Particles(0.1 * rng.standard_normal((200, 51)), 0.1 * rng.standard_normal((3, 200)), np.ones(200))
        dual, starts = problem.dual_point(mfo.Measure.zero(samples)), rng.standard_normal((256, 51))

        def work(problem=problem, carrier=carrier, rows=rows, particles=particles, dual=dual, starts=starts) -> None:  # type: ignore[no-untyped-def]
            sweep(problem, rows, dual, starts, 20, lambda: False)
            glide(problem, carrier, rows, particles, eps=0.01, iterations=20)

        if not seen:
            work()  # compiles
        _, wall, cpu = timed(work)
        seen.append((samples, cpu))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        yield {"samples": samples, "seconds": wall, "cpu_seconds": cpu, "peak_gb": peak}
    p, t = np.log(np.array(seen)).T
    yield {"exponent": float(np.polyfit(p, t, 1)[0])}


def large(limit: float = 300.0) -> Iterator[Row]:
    """P = 20,000, d_X = 50: a teacher's labels at a three-hundredth of P as penalty; seconds, gap and peak memory."""
    problem = teacher_problem(20_000 / 300, 20_000, 50, 3)
    _, row = ours(problem, "column generation", tolerance=1e-3, time_limit=limit)
    yield {"samples": 20_000, **row, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def masters() -> Iterator[Row]:
    """A master on a working set of 4000 columns (P = 20,000) and of 5000 (digits, 64 inputs), with one to three threads."""
    from meanfield_backends.colgen.carrier import ThetaCarrier
    from meanfield_backends.colgen.columns import features_of
    from meanfield_backends.colgen.working import working_master

    digits = mfo.problems.digits(labels=("parity", "magnitude"), samples=None, lambda1=2.5767, lambda2=2.5767)
    for name, problem, count in (
        ("P = 20,000", teacher_problem(20_000 / 300, 20_000, 50, 3), 4000),
        ("digits", digits, 5000),
    ):
        carrier, rng = ThetaCarrier(problem.geometry), np.random.default_rng(0)
        x = rng.standard_normal((count, carrier.dimension))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        start, dual = np.zeros(count), problem.dual_point(mfo.Measure.zero(problem.n_samples))
        for threads in (1, 2, 3):

            def work(problem=problem, carrier=carrier, x=x, start=start, dual=dual, threads=threads):  # type: ignore[no-untyped-def]
                features = features_of(problem, carrier, x, threads)
                return working_master(
                    features,
                    problem.targets,
                    problem.lambda1,
                    problem.lambda2,
                    start,
                    dual,
                    1e-4,
                    1e-2,
                    1.0,
                    threads=threads,
                )

            with blas_threads(0):
                centre, wall, cpu = timed(work)
            yield {
                "task": name,
                "columns": count,
                "threads": threads,
                "seconds": wall,
                "cpu_seconds": cpu,
                "energy": centre.energy,
            }
