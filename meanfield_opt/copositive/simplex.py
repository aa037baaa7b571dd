"""Standard quadratic programs: min x^T Q x over the unit simplex, with two-sided exact bounds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

import numpy as np

from ..checker.copositive import replay
from ..checker.psd import quadratic_value
from ..errors import CertificateError, InputError
from ..threads import blas_threads
from ..validate import flag, integer, real, seconds
from .answer import Copositive, ProofTree
from .check import check
from .matrix import ExactMatrix, exact_matrix
from .search import descend, local_minima
from .spn import LARGEST, prove_split

SPLIT_BITS = 4000  # longest common denominator of a minimiser for which the split on its face is tried
RELAXED_STEPS = 12
MOST_MINIMA = 40  # candidates for minimisers of the same value


@final
@dataclass(frozen=True, eq=False)
class SimplexBounds:
    """lower <= min x^T Q x <= upper, both exact rationals; ``minimiser`` has the value ``upper`` exactly.

    proof: shows that Q - lower J is copositive (None: lower is only the least entry of Q). exact: lower == upper.
    """

    matrix: ExactMatrix = field(repr=False)
    lower: Fraction
    upper: Fraction
    minimiser: tuple[Fraction, ...] = field(repr=False)
    proof: ProofTree | None
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether the minimum is known exactly."""
        return self.lower == self.upper

    @property
    def gap(self) -> float:
        """upper - lower, rounded."""
        return float(self.upper - self.lower)

    def replay(self) -> None:
        """Check both bounds again with the independent checker; CertificateError if one does not follow."""
        check_simplex_bounds(self)


def check_simplex_bounds(bounds: SimplexBounds) -> None:
    """Both bounds from the matrix, the minimiser and the proof; CertificateError otherwise."""
    a, x = bounds.matrix, bounds.minimiser
    if len(x) != a.order or min(x) < 0 or sum(x) != 1:
        raise CertificateError("the minimiser is not a point of the simplex.")
    if quadratic_value(a.entries, x) / a.denominator != bounds.upper:
        raise CertificateError("the minimiser does not have the claimed value.")
    if bounds.proof is not None:
        replay(shifted(a, bounds.lower).entries, bounds.proof.artefact)
    elif bounds.lower > Fraction(min(v for row in a.entries for v in row), a.denominator):
        raise CertificateError("the lower bound has no proof.")


def shifted(a: ExactMatrix, value: Fraction) -> ExactMatrix:
    """Q - value J, as integers over one denominator."""
    p, q = value.numerator, value.denominator
    return exact_matrix([[Fraction(v * q - p * a.denominator, a.denominator * q) for v in row] for row in a.entries])


@blas_threads(0)
def minimize_on_simplex(
    Q: Any, *, tolerance: float = 1e-6, time_limit: float = 60.0, seed: int = 0, exact: bool = True
) -> SimplexBounds:
    """min x^T Q x subject to x >= 0, sum x = 1, for any symmetric Q (taken exactly).

    tolerance: gap aimed at, relative to the largest entry of Q in magnitude. exact: try to close the gap to zero (with
    at most as much time again as the tolerance took). time_limit: seconds; the bounds are valid whenever it stops.
    """
    if not 0 < real(tolerance, "tolerance") < 1:
        raise InputError(f"tolerance must lie in (0, 1), not {tolerance!r}.")
    seconds(time_limit, "time_limit")
    integer(seed, "seed", least=0)
    flag(exact, "exact")
    started = time.monotonic()
    deadline = started + time_limit
    a = exact_matrix(Q)
    floor = Fraction(min(v for row in a.entries for v in row), a.denominator)
    size = Fraction(max(abs(v) for row in a.entries for v in row), a.denominator)
    lower, proof = floor, None
    points, upper = incumbents(a, seed)
    x = points[0]
    if exact and lower < upper:
        split = _split_at(shifted(a, upper), points)
        if split is not None:
            return SimplexBounds(a, upper, upper, tuple(x), split, time.monotonic() - started)
    # small orders go straight for the exact value, large ones first for the tolerance
    plan = (
        [Fraction(0)]
        if exact and a.order <= 14
        else [Fraction(tolerance) * size / 2, *([Fraction(0)] if exact else [])]
    )
    plan += [] if plan[0] else [Fraction(tolerance) * size / 2]
    plan += [Fraction(tolerance) * size * 10**k for k in (2, 4)]
    tries = 0
    while plan and lower < upper:
        delta = plan.pop(0)
        left = deadline - time.monotonic()
        if left <= 0 or upper - delta <= lower:
            continue
        if delta == 0:
            left = min(left, max(1.0, time.monotonic() - started) if proof is not None else 0.3 * left)
        level = upper if delta == 0 else _short(upper - delta, delta / 8)
        answer = check(shifted(a, level), time_limit=left if len(plan) < 2 else max(0.8 * left, 0.1), seed=seed)
        if isinstance(answer, Copositive):
            lower, proof = level, answer.proof
            plan = [d for d in plan if d < delta]
        elif answer.copositive is False:
            x, upper = _improve(a, [Fraction(v) for v in answer.witness])
            tries += 1
            if delta or tries < 4:  # rounded data can have a long chain of ever smaller improvements
                plan.insert(0, delta)
        elif delta:  # what stayed open at this level will not close at a finer one
            plan = [d for d in plan if d > delta]
    if proof is None and lower < upper:
        lower, proof = _relaxed(a, lower, upper)
    return SimplexBounds(a, lower, upper, tuple(x), proof, time.monotonic() - started)


def _split_at(a: ExactMatrix, points: list[list[Fraction]]) -> ProofTree | None:
    """PSD + N on the face of the minimisers, which are zeros of A; None where that is not enough, or too long."""
    if not 2 < a.order <= LARGEST:
        return None
    zeros = []
    for x in points:
        common = math.lcm(*(v.denominator for v in x))
        if common.bit_length() > SPLIT_BITS:
            return None
        zeros.append({i: v.numerator * (common // v.denominator) for i, v in enumerate(x) if v})
    proof, _ = prove_split(a.entries, zeros)
    return None if proof is None else ProofTree(proof)


def _relaxed(a: ExactMatrix, lower: Fraction, upper: Fraction) -> tuple[Fraction, ProofTree | None]:
    """A little below the largest nu for which Q - nu J is PSD + N: the bound when nothing better was proved."""
    if not 2 < a.order <= LARGEST:
        return lower, None
    step = upper - lower
    found: tuple[Fraction, ProofTree | None] = (lower, None)
    for _ in range(RELAXED_STEPS):  # bisection: each step is one semidefinite program
        step /= 2
        level = _short(found[0] + step, step / 8)
        at = shifted(a, level)
        if min(at.entries[i][i] for i in range(a.order)) > 0:
            proof, _ = prove_split(at.entries, None)
            if proof is not None:
                found = level, ProofTree(proof)
    return found


def _short(value: Fraction, slack: Fraction) -> Fraction:
    """A rational with a short denominator within ``slack`` below ``value``."""
    bits = max(0, slack.denominator.bit_length() - slack.numerator.bit_length() + 1)
    return Fraction(math.floor(value * (1 << bits)), 1 << bits)


def _floats(a: ExactMatrix) -> np.ndarray:
    size = max(abs(v) for row in a.entries for v in row) or 1
    return np.array([[float(Fraction(v, size)) for v in row] for row in a.entries])


def incumbents(a: ExactMatrix, seed: int) -> tuple[list[list[Fraction]], Fraction]:
    """The best points of the simplex that a local search meets (several if they tie exactly), with their exact value."""
    q = _floats(a)
    minima = local_minima(q, max(20, 4 * a.order), np.random.default_rng(seed))
    seen: set[tuple[int, ...]] = set()
    best: list[list[Fraction]] = []
    least: Fraction | None = None
    for value, x in minima:
        support = tuple(int(i) for i in np.flatnonzero(x > 1e-6))
        if support in seen:
            continue
        if len(seen) >= MOST_MINIMA or (len(seen) >= 8 and value > minima[0][0] + 1e-9):
            break
        seen.add(support)
        point, exact_value = _exact_point(a, x)
        if least is None or exact_value < least:
            best, least = [], exact_value
        if exact_value == least and point not in best:
            best.append(point)
    assert least is not None
    return best, least


def _improve(a: ExactMatrix, witness: list[Fraction]) -> tuple[list[Fraction], Fraction]:
    total = sum(witness, Fraction(0))
    x = [v / total for v in witness]
    value = quadratic_value(a.entries, x) / a.denominator
    start = np.array([float(v) for v in x])
    better = _exact_point(a, descend(_floats(a), (start / start.sum())[None], 2000)[0])
    return better if better[1] < value else (x, value)


def _exact_point(a: ExactMatrix, x: np.ndarray) -> tuple[list[Fraction], Fraction]:
    """The exact stationary point on the support of x where there is one in the simplex, else x itself, rounded."""
    from flint import fmpz_mat

    best: tuple[list[Fraction], Fraction] | None = None
    for threshold in (1e-4, 1e-8):
        support = [int(i) for i in np.flatnonzero(x > threshold)]
        block = fmpz_mat([[a.entries[i][j] for j in support] for i in support])
        if not support or len(support) > 60 or block.det() == 0:
            continue
        solved = block.solve(fmpz_mat([[1]] * len(support)))
        y = [Fraction(int(solved[k, 0].p), int(solved[k, 0].q)) for k in range(len(support))]
        total = sum(y, Fraction(0))
        if total == 0 or any(v / total < 0 for v in y):
            continue
        point = [Fraction(0)] * a.order
        for i, v in zip(support, y):
            point[i] = v / total
        value = quadratic_value(a.entries, point) / a.denominator
        if best is None or value < best[1]:
            best = point, value
    rounded = [Fraction(float(v)).limit_denominator(10**9) if v > 0 else Fraction(0) for v in x]
    total = sum(rounded, Fraction(0))
    rounded = [v / total for v in rounded]
    value = quadratic_value(a.entries, rounded) / a.denominator
    return best if best is not None and best[1] <= value else (rounded, value)
