"""up and down, which all bounds rest on: the very next float, whatever the size of the array."""

from __future__ import annotations

import numpy as np

from meanfield_opt.rounding import down, up


def test_up_and_down_are_nextafter() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(-(2**63), 2**63 - 1, size=200_000, dtype=np.int64).view(np.float64)
    finite = bits[np.isfinite(bits)]
    top = np.finfo(np.float64).max
    edges = np.array([0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0, top, -top, 2.0**-1022, -(2.0**-1022)] * 10)
    everything = np.concatenate([finite[:100], [np.inf, -np.inf, np.nan]])
    for x in (finite, finite[::3], finite[:1000].reshape(10, 100).T, edges, edges[:7], everything, 1.0, 3, finite[0]):
        with np.errstate(all="ignore"):
            for found, end in ((up(x), np.inf), (down(x), -np.inf)):
                wanted = np.nextafter(x, end)
                assert np.array_equal(found, wanted, equal_nan=True)
                assert np.array_equal(np.signbit(found), np.signbit(wanted))
                assert found.shape == np.shape(x)
    kept = finite[:100].copy()
    up(finite[:100])
    assert np.array_equal(kept, finite[:100])
