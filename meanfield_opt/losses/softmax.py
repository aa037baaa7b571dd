"""Softmax cross-entropy over the outputs of a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from ..errors import InputError
from ..loss import Array, ExponentialForm, ExponentialTerms, SecondOrder, SummedLoss
from ..rounding import down, up


def one_hot(targets: Array) -> Array:
    """0/1 targets (d_Y, P) of targets coded 0/1 or -1/+1."""
    return (targets > 0).astype(np.float64)


@dataclass(frozen=True)
class Softmax(SummedLoss, ExponentialTerms, SecondOrder):
    """sum_p log sum_k exp f_kp - f_cp, c the class of sample p: the one output whose target is positive.

    With T the 0/1 targets, q = S + T must be a distribution in every column; the conjugate is sum q log q. Hence every
    column of a dual point Z sums to exactly zero, Z <= 0 off the class and Z <= 1 on it.
    """

    name = "softmax"
    columnwise = True

    def terms(self, outputs: Array, targets: Array) -> Array:
        top = special.logsumexp(outputs, axis=0, keepdims=True)
        return np.asarray(top - np.sum(np.where(targets > 0, outputs, 0.0), axis=0, keepdims=True))

    def gradient(self, outputs: Array, targets: Array) -> Array:
        return np.asarray(special.softmax(outputs, axis=0) - one_hot(targets))

    def curvature_roots(self, outputs: Array, targets: Array) -> Array:
        """diag(p) - p p^T = C C^T with C = diag(sqrt p) - p sqrt(p)^T, as the probabilities p of a sample sum to one."""
        p = np.asarray(special.softmax(outputs, axis=0))
        root = np.sqrt(p)
        return np.asarray(np.eye(p.shape[0])[:, :, None] * root - p[:, None] * root[None])

    def conjugate_terms(self, slopes: Array, targets: Array) -> Array:
        q = slopes + one_hot(targets)
        # a float sum of k probabilities is off by a few k units: this floating-point value allows that much
        inside = ((q >= 0) & (q <= 1)).all(axis=0) & (np.abs(slopes.sum(axis=0)) <= 2.0**-48 * q.shape[0])
        entropy = special.entr(np.clip(q, 0.0, 1.0)).sum(axis=0)
        return np.where(inside, -entropy, math.inf)[None, :]

    def project_dual(self, dual: Array, targets: Array) -> Array:
        hot = targets > 0
        off = np.where(hot, 0.0, np.maximum(-dual, 0.0))
        total = off.sum(axis=0)
        off = off * np.where(total > 1 - 2.0**-40, (1 - 2.0**-40) / np.maximum(total, 1.0), 1.0)
        return self.settle(-off, targets)

    def settle(self, dual: Array, targets: Array) -> Array:
        """Off-class entries on a binary grid on which their sums are exact; the class gets minus that sum."""
        hot = targets > 0
        off = np.where(hot, 0.0, np.maximum(-dual, 0.0))
        size = np.maximum(off.max(axis=0, initial=0.0), 2.0**-900)
        grid = np.exp2(np.ceil(np.log2(size)) - 44)  # 2^8 classes of up to 2^45 steps still sum exactly
        off = np.floor(off / grid) * grid
        return np.asarray(np.where(hot, off.sum(axis=0), -off))

    def scale_limit(self, dual: Array, targets: Array) -> float:
        largest = float(np.max(np.where(targets > 0, dual, 0.0), initial=0.0))
        return math.inf if largest == 0.0 else float(down(down(1.0 / largest)))

    def curvature(self) -> float:
        return 0.5

    def terms_upper(self, lo: Array, hi: Array, targets: Array) -> Array:
        hot = targets > 0
        with np.errstate(invalid="ignore", over="ignore"):
            own = np.sum(np.where(hot, lo, 0.0), axis=0)
            others = np.where(hot, -np.inf, up(hi - own))  # the term rises with f_k - f_c
            top = np.maximum(others.max(axis=0), 0.0)
            inner = np.exp(others - top).sum(axis=0) + np.exp(-top)
            value = top + np.log(np.maximum(inner, 1.0))
            # exp and log: a few units each; the shift by ``top`` and the sum: (d_Y + 2) more, on a value of at least log 1
            slack = 2.0**-48 * np.abs(value) + 2.0**-52 * (lo.shape[0] + 16.0)
        return np.where(np.isfinite(value), up(value + slack), math.inf)[None, :]

    def dual_terms_lower(self, dual: Array, lo: Array, hi: Array, targets: Array) -> Array:
        hot = targets > 0
        low_s, high_s = np.broadcast_to(lo, (1, dual.shape[1])), np.broadcast_to(hi, (1, dual.shape[1]))
        # the exact column sum must vanish: then s Z is feasible for every s with s z_c <= 1
        exact = np.array([math.fsum(column) == 0.0 for column in dual.T])
        signs = np.where(hot, dual >= 0, dual <= 0).all(axis=0)
        z_low = np.where(low_s == 1.0, np.abs(dual), np.maximum(down(low_s * np.abs(dual)), 0.0))
        z_high = np.where(high_s == 1.0, np.abs(dual), np.where(dual == 0.0, 0.0, up(high_s * np.abs(dual))))
        inside = exact & signs & (np.where(hot, z_high, 0.0) <= 1.0).all(axis=0)
        q_low = np.where(hot, np.maximum(down(1.0 - z_high), 0.0), z_low)
        q_high = np.where(hot, np.minimum(up(1.0 - z_low), 1.0), np.minimum(z_high, 1.0))
        # -q log q is concave: its least value on an interval inside [0, 1] is at an end
        least = np.minimum(special.entr(np.minimum(q_low, 1.0)), special.entr(q_high))
        total = np.maximum(down(least * (1 - 2.0**-48)), 0.0).sum(axis=0) * (1 - 2.0**-44)
        return np.where(inside, np.maximum(total, 0.0), -math.inf)[None, :]

    def check_targets(self, targets: Array) -> None:
        coded = np.isin(targets, (-1.0, 0.0, 1.0)).all() and not ((targets == 0).any() and (targets == -1).any())
        if targets.shape[0] < 2 or targets.shape[0] > 256 or not coded or ((targets > 0).sum(axis=0) != 1).any():
            raise InputError(
                "the softmax loss needs 2 to 256 outputs, one +1 a sample and 0 (or -1) elsewhere: one-hot class labels."
            )

    def exponential_form(self, targets: Array) -> ExponentialForm:
        samples = targets.shape[1]
        every = np.arange(targets.size)  # exponents f_k - f_c
        sample = every % samples
        own = np.argmax(targets > 0, axis=0)[sample] * samples + sample
        slopes = np.repeat([1.0, -1.0], targets.size)
        return ExponentialForm(sample, np.tile(every, 2), np.concatenate([every, own]), slopes, np.ones(samples))

    def expression(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        return cvxpy.sum(self.expression_terms(outputs, targets))

    def expression_terms(self, outputs: Any, targets: Array) -> Any:
        import cvxpy

        own = cvxpy.sum(cvxpy.multiply(one_hot(targets), outputs), axis=0)
        return cvxpy.log_sum_exp(outputs, axis=0) - own

    def torch_terms(self, outputs: Any, targets: Any) -> Any:
        own = (outputs * (targets > 0)).sum(-2, keepdim=True)
        return outputs.logsumexp(-2, keepdim=True) - own
