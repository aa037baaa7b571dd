"""An output-layer bias, penalised or not, as part of the loss: min_b L(F + b 1^T; Y) + penalty |b|^2.

The partial minimum of a convex function is convex, so the bias is one more loss to everything else: its conjugate is
L*(S) + |S 1|^2 / (4 penalty), and without a penalty L*(S) where S 1 = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from ..errors import InputError
from ..loss import Array, Loss, Proximal, SecondOrder, SummedLoss, golden_scale
from ..rounding import down, up
from ..validate import nonnegative
from .squared import Squared
from .weighted import find_base

#: steps of the equation for the bias, at most
MOST_STEPS = 180
ENVELOPE = 1e-8  # step of the smoothing of nonsmooth losses, for slopes only: values and bounds stay exact


@dataclass(frozen=True)
class OutputBias(Loss):
    """The base loss with an output bias b of penalty ``penalty`` |b|^2 (0: free)."""

    base: Any = "squared"
    penalty: float = 0.0
    name = "output_bias"

    def __post_init__(self) -> None:
        base = find_base(self.base)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "penalty", nonnegative(self.penalty, "penalty"))
        if isinstance(base, OutputBias):
            raise InputError("the loss has an output bias already.")
        if self.penalty == 0.0 and isinstance(base, SummedLoss) and base.columnwise:
            raise InputError(
                f"an unpenalised output bias is not offered for the {base.name} loss; give it a penalty > 0."
            )

    def _slopes(self, outputs: Array, targets: Array) -> Array:
        """Slopes of the base loss; of a nonsmooth one those of its Moreau envelope (step ENVELOPE), which are elements
        of the subdifferential next to F, so that their row sums vary continuously with the bias."""
        base: Loss = self.base
        if math.isfinite(base.curvature()) or not isinstance(base, Proximal):
            return np.asarray(base.gradient(outputs, targets))
        rough = (base.proximal(outputs, targets, ENVELOPE) - outputs) / ENVELOPE
        return np.asarray(-self.base.project_dual(rough, targets))  # the division has amplified rounding

    def bias(self, outputs: Array, targets: Array) -> Array:
        """The best b (d_Y,)."""
        rows = outputs.shape[0]
        if isinstance(self.base, Squared):
            return np.asarray((targets - outputs).sum(axis=1) / (outputs.shape[1] + self.penalty))

        def slope(b: Array) -> Array:
            return np.asarray(self._slopes(outputs + b[:, None], targets).sum(axis=1) + 2.0 * self.penalty * b)

        if isinstance(self.base, SummedLoss) and self.base.columnwise:
            result = optimize.minimize(
                lambda b: (self.base.value(outputs + b[:, None], targets) + self.penalty * float(b @ b), slope(b)),
                np.zeros(rows),
                jac=True,
                method="L-BFGS-B",
                options={"ftol": 1e-16, "gtol": 1e-12},
            )
            return np.asarray(result.x)
        # one monotone equation a row: double a bracket, then Newton's method where it stays inside, every third time bisection
        reach = 1.0 + float(np.max(np.abs(outputs))) + float(np.max(np.abs(targets)))
        lo, hi = np.full(rows, -reach), np.full(rows, reach)
        for _ in range(60):
            low, high = slope(lo) > 0, slope(hi) < 0
            if not (low.any() or high.any()) or reach > 1e12:
                break
            reach *= 2.0
            lo, hi = np.where(low, -reach, lo), np.where(high, reach, hi)
        b = 0.5 * (lo + hi)
        for step in range(MOST_STEPS):
            now, rate = slope(b), self._rate(outputs + b[:, None], targets)
            lo, hi = np.where(now > 0, lo, b), np.where(now > 0, b, hi)
            ahead = b - np.divide(now, rate, out=np.full(rows, math.inf), where=rate > 0)
            trusted = (step % 3 < 2) & (ahead >= lo) & (ahead <= hi)
            ahead = np.where(now == 0, b, np.where(trusted, ahead, 0.5 * (lo + hi)))
            last, b = b, ahead
            if (np.abs(b - last) <= 2.0**-52 * np.abs(b)).all():
                break
        return np.asarray(b)

    def _rate(self, outputs: Array, targets: Array) -> Array:
        """How fast the slope in b rises (d_Y,); 0 where second derivatives are not known."""
        smooth = isinstance(self.base, SecondOrder) and math.isfinite(self.curvature())
        roots = self.base.curvature_roots(outputs, targets) if smooth else None
        if roots is None:
            return np.zeros(outputs.shape[0])
        return np.asarray(np.square(roots).sum(axis=1) + 2.0 * self.penalty)

    def value(self, outputs: Array, targets: Array) -> float:
        b = self.bias(outputs, targets)
        return float(self.base.value(outputs + b[:, None], targets) + self.penalty * float(b @ b))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return self._slopes(outputs + self.bias(outputs, targets)[:, None], targets)

    def conjugate(self, slopes: Array, targets: Array) -> float:
        total = slopes.sum(axis=1)
        if self.penalty > 0:
            return float(self.base.conjugate(slopes, targets) + float(total @ total) / (4.0 * self.penalty))
        # a floating-point row sum of P slopes is off by a few units; the rigorous bound below asks for exactly zero
        allowed = 2.0**-40 * (1.0 + np.abs(slopes).sum(axis=1))
        return float(self.base.conjugate(slopes, targets)) if (np.abs(total) <= allowed).all() else math.inf

    def project_dual(self, dual: Array, targets: Array) -> Array:
        inside = self.base.project_dual(dual, targets)
        if self.penalty > 0:
            return np.asarray(inside)
        for _ in range(200):
            drift = inside.mean(axis=1, keepdims=True)
            if (np.abs(drift) <= 1e-15 * np.abs(inside).max(initial=0.0)).all():
                break
            inside = self.base.project_dual(inside - drift, targets)
        return zero_row_sums(inside)

    def curvature(self) -> float:
        return float(self.base.curvature())

    def value_upper(self, lo: Array, hi: Array, targets: Array) -> float:
        if not (np.isfinite(lo).all() and np.isfinite(hi).all()):
            return math.inf
        b = self.bias(0.5 * (lo + hi), targets)
        inner = self.base.value_upper(down(lo + b[:, None]), up(hi + b[:, None]), targets)
        cost = up(self.penalty * up(float(np.sum(up(b * b))) * (1.0 + 2.0**-40)))
        return float(up(inner + cost)) if self.penalty > 0 else float(inner)

    def dual_lower(self, dual: Array, targets: Array, scale: float) -> float:
        inner = self.base.dual_lower(dual, targets, scale)
        sums = [math.fsum(row) for row in dual]  # correctly rounded, so zero only if exactly zero
        if all(x == 0.0 for x in sums):
            return float(inner)
        if self.penalty == 0.0:
            return -math.inf if scale > 0 else float(inner)
        square = 0.0
        for x in sums:
            size = up(scale * math.nextafter(abs(x), math.inf))
            square = float(up(square + up(size * size)))
        return float(down(inner - up(square / down(4.0 * self.penalty))))

    def check_targets(self, targets: Array) -> None:
        self.base.check_targets(targets)

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        b = cvxpy.Variable((targets.shape[0], 1))
        moved = outputs + b @ np.ones((1, targets.shape[1]))
        return self.base.expression(moved, targets) + self.penalty * cvxpy.sum_squares(b)

    def torch_twin(self) -> Callable[[Any, Any], Any]:
        import torch

        inner = self.base.torch_twin()

        def twin(outputs: Any, targets: Any) -> Any:
            y = targets.detach().cpu().double().numpy()
            flat = outputs.detach().cpu().double().numpy().reshape(-1, *y.shape)
            b = np.array([self.bias(f, y) for f in flat]).reshape(*outputs.shape[:-1], 1)
            best = torch.as_tensor(b, dtype=outputs.dtype, device=outputs.device)
            # the gradient in F at the best b is the gradient of the minimum (envelope theorem)
            return inner(outputs + best, targets) + self.penalty * best.square().sum((-2, -1))

        return twin

    def best_scale(self, dual: Array, targets: Array, limit: float) -> float:
        inner = self.base.scale_limit(dual, targets) if isinstance(self.base, SummedLoss) else math.inf
        return golden_scale(self, dual, targets, min(limit, inner))


def zero_row_sums(dual: Array) -> Array:
    """Rows near ``dual`` that sum to exactly zero, every entry moved towards zero (domains are star-shaped there)."""
    out = np.array(dual)
    bits = 50 - math.ceil(math.log2(dual.shape[1] + 1))
    for row in out:
        top = float(np.abs(row).max(initial=0.0))
        if top < 2.0**-900:  # no grid is left below the denormal numbers; zero is nearer to zero than any entry
            row[:] = 0.0
            continue
        grid = 2.0 ** (math.ceil(math.log2(top)) - bits)
        steps = np.trunc(row / grid).astype(np.int64)
        rest = int(steps.sum())
        for p in np.argsort(-np.abs(steps), kind="stable"):
            if rest == 0:
                break
            if (steps[p] > 0) == (rest > 0):
                move = min(abs(rest), abs(int(steps[p])))
                steps[p] -= move if rest > 0 else -move
                rest -= move if rest > 0 else -move
        row[:] = steps * grid
    return out
