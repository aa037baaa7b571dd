"""The input view's relaxations of a cone: both are valid, whatever the choice of the turn."""

from __future__ import annotations

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.checker.input_view import InputTest, input_form


@pytest.mark.parametrize("level", [3.0, 3e13])
@pytest.mark.parametrize("seed", range(4))
def test_both_relaxations_are_below_what_they_bound(seed: int, level: float) -> None:
    """lam^T M lam <= level |theta|^2 - |Z phi(A theta)|^2 for theta = V^T lam, lam >= 0; also where responses are negligible at that level."""
    rng = np.random.default_rng(seed)
    problem = mfo.problems.dataset(rng.standard_normal((12, 2)), rng.standard_normal((12, 2)))
    form = input_form(problem, rng.standard_normal((2, 12)))
    assert form is not None
    test, cones = InputTest(form, level), rng.standard_normal((5, 3, 3))
    h = np.einsum("pr,nvr->nvp", form.rows, cones)
    one_sided = (h >= 0).all(axis=1)
    summed = form.base + np.einsum("np,pd,pr->ndr", one_sided, form.weight, form.rows)
    node, row = np.nonzero((h > 0).any(axis=1) & ~one_sided)
    lam = rng.uniform(0.0, 1.0, (50, 5, 3))
    theta = np.einsum("snv,nvr->snr", lam, cones)
    q = np.maximum(theta @ form.rows.T, 0.0) @ form.weight + theta @ form.base.T
    exact = level * np.square(theta).sum(axis=2) - np.square(q).sum(axis=2)
    forms = list(test.matrices(cones, summed, node, row))
    assert len(forms) == 2
    assert (forms[0] != forms[1]).any()
    for m in forms:
        assert (np.einsum("sni,nij,snj->sn", lam, m, lam) <= exact + 1e-9 * np.abs(exact) + 1e-12).all()
