"""Proved gaps on the families that the certificates are judged by. Writes benchmarks/certificates.json.

    python benchmarks/certificates.py [FAMILY ...] [--limit SECONDS]

Families: hypercube, input, whitened, digits, width. For each case: seconds to solve, to certify and to check the saved
file, the proved relative gap and how it was proved. Compilation and imports are kept out by a warm-up case.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from arguments import one_of

import meanfield_opt as mfo
from meanfield_opt.certificate.improve import best_ratio
from meanfield_opt.geometry import DiagonalPlusLowRank
from meanfield_opt.plugins import activation, loss
from meanfield_opt.problem import TwoLayerProblem

Case = tuple[str, Callable[[], TwoLayerProblem], float]


def scaled(problem: TwoLayerProblem, fraction: float) -> TwoLayerProblem:
    """The same data with l1 = l2 = fraction times the value from which on zero is optimal (found by ascent)."""
    zero = np.zeros_like(problem.targets)
    level = fraction * 0.5 * best_ratio(problem, -problem.loss.gradient(zero, problem.targets)) ** 0.5
    return problem.with_penalties(level, level)


def hypercubes() -> Iterator[Case]:
    kinds: list[tuple[str, Callable[[int], Any]]] = [
        ("whitened", lambda d: 0.0),
        ("aligned", lambda d: 0.5),
        ("aligned", lambda d: 2.0),
        ("anisotropic", lambda d: [0.5 * i for i in range(d)]),
    ]
    for geometry, alignment in kinds:
        for d in range(2, 11):
            name = f"hypercube {geometry} a={alignment(2) if geometry == 'aligned' else '0, .5, ..' if geometry == 'anisotropic' else 0} d={d}"
            yield (
                name,
                lambda d=d, g=geometry, a=alignment: mfo.problems.hypercube(
                    latents=d,
                    geometry=g,
                    alignment=a(d),
                    lambda1=0.01 if d < 7 else 1e-3,
                    lambda2=0.01 if d < 7 else 1e-3,
                ),
                1e-9,
            )


def inputs() -> Iterator[Case]:
    def data(n: int, p: int, seed: int) -> TwoLayerProblem:
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((p, n)), np.sign(rng.standard_normal((p, 3 if n == 1 else 2)))
        return scaled(mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0), 0.3)

    for n, p in ((1, 2000), (2, 1000), (3, 200), (4, 60)):
        yield f"inputs of {n} dimensions, P={p}", lambda n=n, p=p: data(n, p, 1), 1e-6


def whitened() -> Iterator[Case]:
    def data(d: int, p: int) -> TwoLayerProblem:
        y = np.sign(np.random.default_rng(1).standard_normal((d, p)))
        space = DiagonalPlusLowRank(np.ones(p), np.ones((p, 1)), np.ones(1))
        return scaled(TwoLayerProblem(activation("relu"), loss("squared"), space, y, 1.0, 1.0), 0.3)

    for d, p in ((2, 16384), (3, 1024), (4, 128)):
        yield f"whitened, random labels, d_Y={d}, P={p}", lambda d=d, p=p: data(d, p), 1e-6


def digits() -> Iterator[Case]:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    def data(components: int | None, fraction: float) -> TwoLayerProblem:
        raw = load_digits()
        x = raw.data[:300] / 16.0
        x = x if components is None else PCA(components, random_state=0).fit_transform(x)
        labels = raw.target[:300]
        y = np.stack([np.where(labels % 2 == 0, 1.0, -1.0), np.where(labels >= 5, 1.0, -1.0)], axis=1)
        return scaled(mfo.problems.dataset(x, y, lambda1=1.0, lambda2=1.0), fraction)

    for fraction in (0.5, 0.1, 0.02):
        yield f"digits, 2 components, P=300, penalty {fraction}", lambda f=fraction: data(2, f), 1e-6
    for fraction in (0.5, 0.1):
        yield f"digits, 64 dimensions, P=300, penalty {fraction}", lambda f=fraction: data(None, f), 1.0


def widths() -> Iterator[Case]:
    for phi in ("tanh", "hard_sigmoid", "sigmoid"):
        for d in (2, 3):
            for m in (4, 16, 64):
                yield (
                    f"{phi}, hypercube d={d}, width {m}",
                    lambda phi=phi, d=d, m=m: mfo.problems.hypercube(
                        latents=d, activation=phi, width=m, lambda1=0.05, lambda2=0.05
                    ),
                    1e-4,
                )


FAMILIES = {"hypercube": hypercubes, "input": inputs, "whitened": whitened, "digits": digits, "width": widths}


def measure(name: str, make: Callable[[], TwoLayerProblem], wanted: float, limit: float) -> dict[str, Any]:
    """Solve, certify, save and check one case."""
    problem = make()
    begun = time.perf_counter()
    fine = min(1e-7 if problem.width is None else 1e-6, 0.1 * wanted) if wanted > 1e-8 else 1e-9
    solution = mfo.solve(problem, tolerance=fine, time_limit=limit)
    solved = time.perf_counter()
    certificate = mfo.certify(problem, solution, time_limit=limit, target=max(fine, 1e-10), refute=np.inf)
    alone = certificate.relative_gap
    if alone > wanted and problem.width is None:  # the solver's search had missed a neuron: feed proofs back to it
        solution, certificate = mfo.close_gap(problem, gap=wanted, time_limit=limit)
    certified = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        certificate.save(path)
        size, begun_check = path.stat().st_size, time.perf_counter()
        bound = mfo.verify(path, problem)
        checked = time.perf_counter()
    assert bound.lower_bound == certificate.lower_bound
    answer = None if problem.known is None else problem.known.energy
    return {
        "case": name,
        "gap": certificate.relative_gap,
        "gap_in_one_round": alone,
        "wanted": wanted,
        "reached": bool(certificate.verdict == "proved" and certificate.relative_gap <= wanted),
        "verdict": certificate.verdict,
        "lower": certificate.lower_bound,
        "upper": certificate.upper_bound,
        "known": answer,
        "solve_seconds": round(solved - begun, 3),
        "certify_seconds": round(certified - solved, 3),
        "check_seconds": round(checked - begun_check, 3),
        "check_over_finding": round((checked - begun_check) / (certified - begun), 3),
        "kilobytes": size // 1024,
        "proof": certificate.supremum.kind if certificate.supremum else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", type=one_of(FAMILIES), metavar="NAME", help=", ".join(FAMILIES))
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    warm = mfo.problems.dataset(
        np.linspace(-1, 1, 6)[:, None], np.array([1, -1, 1, 1, -1, 1.0]), lambda1=0.1, lambda2=0.1
    )
    measure("warm-up", lambda: warm, 1e-4, 20.0)
    table = json.loads(options.output.read_text())["cases"] if options.output.exists() else []
    for family in options.families or FAMILIES:
        for name, make, wanted in FAMILIES[family]():
            try:
                row = measure(name, make, wanted, options.limit)
            except Exception as error:
                row = {"case": name, "wanted": wanted, "reached": False, "error": f"{type(error).__name__}: {error}"}
            row["family"] = family
            table = [old for old in table if old["case"] != name] + [row]
            print(json.dumps(row), flush=True)
            head = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
            options.output.write_text(json.dumps({**head, "cases": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
