"""Our own hot paths under pytest-benchmark, to compare one commit with another.

    pip install pytest-benchmark
    OMP_NUM_THREADS=1 python -m pytest benchmarks/regression --benchmark-autosave --benchmark-timer=time.process_time
    OMP_NUM_THREADS=1 python -m pytest benchmarks/regression --benchmark-compare --benchmark-timer=time.process_time

Outside the test suite on purpose: nothing here fails because a machine is slow. Each piece also checks that its answer is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_backends.colgen.ascent import ascend, sharpen
from meanfield_backends.colgen.carrier import ThetaCarrier
from meanfield_backends.colgen.dictionary import solve_dictionary
from meanfield_backends.colgen.glide import glide
from meanfield_backends.colgen.masses import interior_point
from meanfield_backends.colgen.search import search
from meanfield_backends.colgen.slide import Particles, slide
from meanfield_backends.colgen.sweep import sweep

pytest.importorskip("pytest_benchmark")


def teacher(samples: int = 200, inputs: int = 10, outputs: int = 3) -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(0)
    return mfo.problems.dataset(
        rng.standard_normal((samples, inputs)), rng.choice([-1.0, 1.0], (samples, outputs)), lambda1=5.0, lambda2=5.0
    )


def test_search(benchmark: Any) -> None:
    problem = teacher()
    carrier, none = ThetaCarrier(problem.geometry), np.zeros((0, 11))
    found = benchmark(
        lambda: search(problem, carrier, problem.targets, none, np.random.default_rng(0), starts=512, iterations=40)
    )
    assert found.top > 0


def test_climb(benchmark: Any) -> None:
    problem = teacher()
    rows = problem.geometry.preactivation(np.eye(11)).T
    starts = np.random.default_rng(0).standard_normal((512, 11))
    _, level = benchmark(lambda: ascend(problem, rows, problem.targets, starts, 40, ()))
    assert level.min() > 0


def test_sharpen(benchmark: Any) -> None:
    problem = teacher()
    rows = problem.geometry.preactivation(np.eye(11)).T
    starts = np.random.default_rng(0).standard_normal((256, 11))
    sharp = benchmark(lambda: sharpen(problem, rows, 20.0 * problem.targets, starts, (1e-2, 1e-3, 1e-4, 1e-6)))
    assert sharp.shape[0] > 0


@pytest.mark.parametrize("atoms", [150, 1200])
def test_interior_point_master(benchmark: Any, atoms: int) -> None:
    problem, rng = teacher(), np.random.default_rng(0)
    theta = rng.standard_normal((atoms, 11))
    phi = problem.features(problem.geometry.preactivation(theta / np.linalg.norm(theta, axis=1, keepdims=True)))
    centre = benchmark(lambda: interior_point(phi, problem.targets, 5.0, 5.0, np.zeros(atoms), 1e-8))
    assert centre is not None


def test_slide(benchmark: Any) -> None:
    problem, rng = teacher(), np.random.default_rng(0)
    carrier = ThetaCarrier(problem.geometry)
    particles = Particles(rng.standard_normal((200, 11)), rng.standard_normal((3, 200)), np.ones(200))
    moved = benchmark(lambda: slide(problem, carrier, particles, eps=0.01, iterations=50))
    assert moved.count > 0


def test_sweep(benchmark: Any) -> None:
    problem = teacher(1800, 64, 2)
    rows = problem.geometry.preactivation(np.eye(65)).T
    starts = np.random.default_rng(0).standard_normal((384, 65))
    _, level = benchmark(lambda: sweep(problem, rows, problem.targets, starts, 40, lambda: False))
    assert level.min() > 0


def test_glide(benchmark: Any) -> None:
    problem, rng = teacher(1800, 64, 2), np.random.default_rng(0)
    carrier, rows = ThetaCarrier(problem.geometry), problem.geometry.preactivation(np.eye(65)).T
    particles = Particles(rng.standard_normal((400, 65)), rng.standard_normal((2, 400)), np.ones(400))
    moved = benchmark.pedantic(lambda: glide(problem, carrier, rows, particles, eps=0.01, iterations=50), rounds=3)
    assert moved.count > 0


def test_master_on_fixed_atoms(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    h = rng.standard_normal((20_000, 32))
    cost = np.einsum("jp,jp->j", h, h)
    targets = rng.choice([-1.0, 1.0], (5, 32))
    fit = benchmark.pedantic(lambda: solve_dictionary(np.maximum(h, 0), targets, cost, 0.01, 0.01), rounds=3)
    assert fit.gap <= 1e-9


@pytest.mark.parametrize("symmetry", [True, False])
def test_solve_hypercube(benchmark: Any, symmetry: bool) -> None:
    problem = mfo.problems.hypercube(4)
    solution = benchmark.pedantic(
        lambda: mfo.solve(problem, tolerance=1e-7, symmetry=symmetry), rounds=3, warmup_rounds=1
    )
    assert problem.known is not None
    assert abs(solution.energy - problem.known.energy) <= 1e-7
