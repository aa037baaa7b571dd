"""The compiled ascents of few dimensions: first order and Newton's."""

from __future__ import annotations

import numpy as np
import pytest

from meanfield_backends.colgen.climb import climb, padded


@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (-1.0, 1.0), (0.25, 1.0)])
def test_the_compiled_ascent_never_falls_and_tells_the_level_it_reached(left: float, right: float) -> None:
    rng = np.random.default_rng(4)
    rows, dual = rng.standard_normal((3, 25)), rng.standard_normal((2, 25))

    def level(theta: np.ndarray) -> np.ndarray:
        h = theta @ rows
        q = np.where(h > 0, right * h, left * h) @ dual.T
        return np.asarray(np.square(q).sum(axis=1) / np.square(theta).sum(axis=1))

    theta = rng.standard_normal((30, 3))
    start = level(theta)
    for kind, accuracy in ((np.float64, 1e-12), (np.float32, 1e-4)):
        ends, reached = padded(theta, 1, 4, kind), np.zeros(30, kind)
        at, z = padded(rows, 4, 16, kind), padded(dual, 4, 16, kind)
        climb(at, z, kind(left), kind(right), ends, reached, 40, np.zeros(41, kind), kind(accuracy))
        np.testing.assert_allclose(level(ends[:, :3].astype(np.float64)), reached, rtol=accuracy)
        assert (reached >= start * (1 - accuracy)).all()
        assert np.median(reached) > 1.2 * np.median(start)


@pytest.mark.parametrize(("left", "right"), [(0.0, 1.0), (0.1, 1.0), (-1.0, 1.0)])
def test_the_compiled_newton_ascent_ends_at_local_maxima(left: float, right: float) -> None:
    from meanfield_backends.colgen.sharp import sharp

    rng = np.random.default_rng(2)
    at, dual = rng.standard_normal((3, 40)), rng.standard_normal((2, 40))
    theta = rng.standard_normal((64, 3))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    level = np.zeros(64)
    sharp(at, dual, left, right, theta, level, 10.0 ** -np.arange(1, 9, 0.25), 1e-6)

    def ratio(t: np.ndarray) -> np.ndarray:
        h = t @ at
        q = np.where(h > 0, right, left) * h @ dual.T
        return np.asarray((q * q).sum(axis=1) / (t * t).sum(axis=1) / 1e-6)

    assert (level > 0).all()
    assert level == pytest.approx(ratio(theta), rel=1e-9)
    near = theta[:, None] + 1e-3 * rng.standard_normal((64, 200, 3))
    best = np.stack([ratio(x) for x in near]).max(axis=1)
    # few of the starts may end on a saddle or on their way
    assert np.mean(best <= level * (1 + 1e-9)) > 0.9
