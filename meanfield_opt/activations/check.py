"""Does an activation keep its promises? The test that ``certify`` and ``verify`` make before they believe one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..activation import Activation, Array
from ..errors import InputError
from ..validate import instance, numbers_of

MOST_POINTS = 10_000
_PASSED: set[tuple[type, str]] = set()


def probe_points(phi: Activation) -> Array:
    """Points where false declarations show: many scales, kinks and their neighbours, fixed random ones."""
    rng = np.random.default_rng(20251)
    size = np.concatenate([np.geomspace(1e-12, 1e-6, 7), np.geomspace(1e-6, 300, 40)])
    t = [np.linspace(-7, 7, 113), size, -size, rng.normal(0, 3, 80)]
    ends = [piece.right for piece in phi.pieces or ()] + [right for _, right, _ in phi.levels or ()]
    for end in ends:
        if end is not None and math.isfinite(end):
            k = float(end)
            t.append(np.array([k, k - 1e-7, k + 1e-7, 2 * k]))
    far = np.geomspace(1e3, 1e12, 10)
    far = np.concatenate([far, -far])
    with np.errstate(all="ignore"):  # growing formulas overflow there, which is no fault
        t.append(far[np.isfinite(np.asarray(phi.value(far), dtype=np.float64))])
    return np.unique(np.concatenate(t))


def check_activation(phi: Activation, at: ArrayLike | None = None) -> None:
    """Raise InputError naming the first promise that sampling refutes; silence proves nothing but finds slips.

    Tested: finite values, ranges and slope ranges (where declared rigorous), derivative, degree, oddness, pieces, levels,
    asymptote, ratio. at: more points, any shape, where values are held to what is declared (certify gives the patterns
    that were found: a search goes where an activation promises too little).
    """
    instance(phi, Activation, "the activation", "an Activation (mfo.activation finds one by its name)")
    key = (type(phi), repr((phi.name, sorted(phi.parameters.items(), key=lambda item: item[0]))))
    if key not in _PASSED:
        _check(phi, probe_points(phi), thorough=True)
        _PASSED.add(key)
    points = np.zeros(0) if at is None else np.unique(numbers_of(at, "the points (at)"))
    if not np.isfinite(points).all():
        raise InputError("the points (at) contain NaN or infinite entries.")
    if points.size:
        with np.errstate(over="ignore"):  # near the largest float
            _check(phi, points[:: -(-points.size // MOST_POINTS)], thorough=False)


def _check(phi: Activation, t: Array, *, thorough: bool) -> None:
    with np.errstate(all="ignore"):
        y = np.asarray(phi.value(t), dtype=np.float64)
    tiny = 1e-9 * (1e-3 + np.abs(y))

    def refuse(bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            raise InputError(f"activation {phi.name!r} breaks its promise: {what} at t = {float(t[bad][0]):.9g}.")

    refuse(~np.isfinite(y), "its value is not finite")
    if phi.rigorous:
        low, high = phi.bound_on(t, t)
        refuse(~((low <= y + tiny) & (y - tiny <= high)), "bound_on does not contain its value")
        for width in (1e-3, 0.7, 11.0) if thorough else ():
            a, b = t - width, t + width
            low, high = phi.bound_on(a, b)
            for other in (t, a, b, t + 0.37 * width):
                v = phi.value(other)
                refuse(
                    ~((low <= v + 1e-9 * (1 + np.abs(v))) & (v - 1e-9 * (1 + np.abs(v)) <= high)),
                    "bound_on is too small",
                )
            low, high = phi.slope_bound_on(a, b)
            rate = (phi.value(b) - phi.value(a)) / (b - a)
            slack = 1e-7 * (1 + np.abs(rate)) + 1e-12 * (np.abs(phi.value(a)) + np.abs(phi.value(b))) / width
            refuse(~((low <= rate + slack) & (rate - slack <= high)), "slope_bound_on is too small")
    if phi.degree is not None:
        for c in (2.0, 0.37):
            refuse(
                ~np.isclose(phi.value(c * t), c**phi.degree * y, rtol=1e-7, atol=1e-12), f"degree {phi.degree:g} fails"
            )
    if phi.odd:
        refuse(~np.isclose(phi.value(-t), -y, rtol=1e-7, atol=1e-12), "it is not odd")
    top = phi.ratio_bound()
    if math.isfinite(top):
        refuse(np.abs(y) > top * np.abs(t) * (1 + 1e-9) + 1e-14 * min(1.0, top), "|phi(t)/t| exceeds ratio_bound()")
    for piece in phi.pieces or ():
        inside = np.ones(t.shape, dtype=bool)
        inside &= True if piece.left is None else t >= float(piece.left)
        inside &= True if piece.right is None else t <= float(piece.right)
        meant = float(piece.slope) * t + float(piece.intercept)
        refuse(inside & ~np.isclose(y, meant, rtol=1e-9, atol=1e-9), "it differs from its affine pieces")
    for left, right, level in phi.levels or ():
        refuse(~((t >= left) & (t <= right)) & (y == level), "it takes a level outside of its interval")
    if phi.levels is not None:
        refuse(~np.isin(y, [level for _, _, level in phi.levels]), "its value is none of its levels")
    if phi.asymptote is not None:
        away = np.abs(y - np.where(t < 0, phi.asymptote.left, phi.asymptote.right) * t)
        room = phi.asymptote.distance * (1 + 1e-9) + 1e-12 * np.abs(t)
        refuse(~(away <= room), "it is farther from its asymptote than declared")
    if thorough:
        _check_derivative(phi, t, refuse)


def _check_derivative(phi: Activation, t: Array, refuse: object) -> None:
    """Against central differences of two steps, at points where these agree (not at kinks and jumps)."""
    t = np.clip(t, -30, 30)
    differences = [(phi.value(t + h) - phi.value(t - h)) / (2 * h) for h in (1e-4, 5e-5)]
    smooth = np.isclose(differences[0], differences[1], rtol=1e-4, atol=1e-5)
    bad = smooth & ~np.isclose(phi.derivative(t), differences[1], rtol=1e-2, atol=1e-3)
    kinks = [float(p.right) for p in phi.pieces or () if p.right is not None]
    for kink in [0.0, *kinks]:
        bad &= np.abs(t - kink) > 2e-4
    assert callable(refuse)
    refuse(bad, "derivative does not match differences")
