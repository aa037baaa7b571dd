"""Fewer atoms may cost energy, but no claim: a run told 1.04e-5 as solved to 1e-5 after atoms had been reduced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import meanfield_opt as mfo
from meanfield_backends.colgen import bank_master, ending
from meanfield_backends.colgen.bound import affordable, relative_gap


@given(
    st.floats(-1e6, 1e6).filter(lambda e: abs(e) > 1e-6),
    st.floats(0.0, 2.0),
    st.sampled_from([1e-1, 1e-3, 1e-6]),
    st.floats(0.0, 1.0),
)
def test_what_is_affordable_keeps_a_gap_within_the_tolerance(
    energy: float, part: float, tolerance: float, share: float
) -> None:
    lower = energy - part * tolerance * abs(energy)
    most = affordable(energy, lower, tolerance, share)
    assert energy <= most <= energy + share * tolerance * abs(energy) * (1 + 1e-9) + 1e-12 * abs(energy)
    if relative_gap(energy, lower) <= tolerance:
        assert relative_gap(most, lower) <= tolerance
    else:
        assert most == energy + share * tolerance * abs(energy)


@pytest.mark.parametrize(("module", "activation", "width"), [(ending, "relu", None), (bank_master, "tanh", 5.0)])
def test_reducing_atoms_keeps_the_claim(
    monkeypatch: pytest.MonkeyPatch, module: Any, activation: str, width: float | None
) -> None:
    finish, seen, limits, tolerance = module.finish, [], [], 1e-2

    def asked(*given: float) -> float:
        limits.append(affordable(*given))
        return limits[-1]

    def hard_pressed(problem: Any, carrier: Any, state: Any, *rest: Any) -> None:
        state.lower = (1.0 - 0.999 * tolerance) * state.energy  # the claim just holds
        before = state.particles.count
        finish(problem, carrier, state, *rest)
        assert state.energy <= max(limits)
        seen.append((before, state.particles.count, relative_gap(state.energy, state.lower)))

    monkeypatch.setattr(module, "affordable", asked)
    monkeypatch.setattr(module, "finish", hard_pressed)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), np.sign(rng.standard_normal((40, 2)))
    solution = mfo.solve(
        mfo.problems.dataset(x, y, lambda1=0.3, lambda2=0.3, activation=activation, width=width), tolerance=tolerance
    )
    assert solution.stats["sampled_gap"] <= tolerance
    assert seen[0][2] <= tolerance
    assert seen[0][1] <= seen[0][0]
