"""Patterns are read off exactly where the theory gives them."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo


@pytest.mark.parametrize(("latents", "alignment"), [(1, 0.0), (2, 0.0), (3, 0.5), (3, 2.0)])
def test_known_measures_have_the_published_patterns(latents: int, alignment: float) -> None:
    problem = mfo.problems.hypercube(latents, geometry="aligned" if alignment else "whitened", alignment=alignment)
    assert problem.known is not None
    assert problem.known.measure is not None
    measure = problem.known.measure()
    found = mfo.patterns(problem, measure)
    assert {(p.latent, p.sign) for p in found} == {(i, s) for i in range(latents) for s in (-1, 1)} or latents == 1
    for p in found:
        assert p.residual < 1e-12
        # on-level 1 at unit peak response: beta + |gamma| = 1, and the published alpha (1 +- v) unless a > 1
        assert p.beta + abs(p.gamma) == pytest.approx(1.0)
        assert (p.beta == pytest.approx(0.5)) == (alignment <= 1)
        assert p.mass == pytest.approx(measure.masses[0])


def test_atoms_on_one_ray_are_merged_with_their_kernel_kept() -> None:
    problem = mfo.problems.hypercube(2)
    h = np.array([1.0, -0.3, 0.2, 0.7])
    spread = mfo.Measure(np.array([h, 3.0 * h, -h]), np.array([2.0, 0.5, 1.0]))
    found = mfo.patterns(problem, spread)
    assert len(found) == 2
    assert found[0].mass == pytest.approx(2.0 + 0.5 * 9.0)


def test_patterns_refuse_another_problems_measure() -> None:
    with pytest.raises(mfo.InputError, match="samples"):
        mfo.patterns(mfo.problems.hypercube(2), mfo.Measure(np.ones((1, 8)), np.ones(1)))
