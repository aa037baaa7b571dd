"""Every registered backend on every named problem: its value, its certified bounds, or its refusal."""

from __future__ import annotations

from typing import Any

import pytest
from backend_cases import (
    CASES,
    NAMES,
    accepts,
    backend_here,
    cells,
    certificate_of,
    is_costly,
    is_quick,
    problem_named,
    reference,
    solution_of,
    tolerance_of,
)

import meanfield_opt as mfo
from meanfield_opt.backend import BACKENDS
from meanfield_opt.plugins import FAMILIES


@pytest.mark.parametrize(("name", "label"), cells())
def test_backend_reaches_the_optimum_or_refuses_with_a_reason(name: str, label: str) -> None:
    backend = backend_here(name)
    problem = problem_named(label)
    reason = backend.refusal(problem)
    if reason is not None:
        assert len(reason) > 20, "a refusal is a sentence"
        assert reason.endswith((".", ")"))
        with pytest.raises(mfo.RefusalError) as caught:
            mfo.solve(problem, name)
        assert reason in str(caught.value)
        return
    solution = solution_of(name, label)
    best = reference(label)
    scale = max(abs(best), 1e-6)
    assert solution.backend == name
    assert solution.problem is problem
    assert solution.energy >= best - 1e-6 * scale
    assert solution.energy <= best + tolerance_of(name, label) * scale
    assert solution.measure.atoms.shape[0] == solution.measure.n_atoms
    if isinstance(problem, mfo.TwoLayerProblem):
        assert solution.measure.atoms.shape[1] == problem.n_samples
        assert solution.dual.shape == problem.targets.shape
        if problem.width is not None:
            assert solution.measure.total_mass <= problem.width * (1 + 1e-9)
    certificate = certificate_of(name, label)
    assert certificate.lower_bound <= best + 1e-9 * scale
    assert certificate.upper_bound >= best - 1e-6 * scale
    assert certificate.lower_bound <= certificate.upper_bound


def consistent(label: str, names: list[str]) -> None:
    """No lower bound that one backend's answer proves lies above the upper bound of another's."""
    found = {name: certificate_of(name, label) for name in names if accepts(name, label)}
    assert found, "a problem that no backend takes"
    lower = max(found, key=lambda name: found[name].lower_bound)
    upper = min(found, key=lambda name: found[name].upper_bound)
    assert found[lower].lower_bound <= found[upper].upper_bound, (lower, upper)


@pytest.mark.parametrize("label", [label for label, case in CASES.items() if not case.slow])
def test_certified_bounds_are_consistent_across_backends(label: str) -> None:
    consistent(label, [name for name in NAMES if is_quick(name, label) and here(name)])


def all_labels() -> list[Any]:
    """Costly where a cell of the problem is."""
    return [
        pytest.param(
            label,
            marks=[
                pytest.mark.xdist_group(label),
                *([pytest.mark.costly] if any(is_costly(name, label) for name in NAMES) else []),
            ],
        )
        for label in CASES
    ]


@pytest.mark.slow
@pytest.mark.parametrize("label", all_labels())
def test_certified_bounds_are_consistent_across_all_backends(label: str) -> None:
    consistent(label, [name for name in NAMES if here(name)])


def here(name: str) -> bool:
    """Installed, and with a licence if it needs one."""
    backend = BACKENDS.get(name)
    licensed = backend.conic is None or "no licence" not in backend.conic.licence()
    return backend.availability().installed and licensed


def test_every_family_is_covered() -> None:
    """A new built-in family must bring a case; a plug-in's family has one where it can be called without arguments."""
    assert {name for name in FAMILIES.names() if FAMILIES.builtin(name)} <= {case.family for case in CASES.values()}


#: the vectors of theory section 4
VECTORS = [
    (2, "whitened", 0.0, 1, 0.08739560920082658),
    (3, "whitened", 0.0, 1, 0.17855210486664985),
    (4, "whitened", 0.0, 1, 0.3288537540618527),
    (6, "whitened", 0.0, 1, 0.9667471986498648),
    (2, "aligned", 0.5, 1, 0.058317072800551),
    (2, "aligned", 2.0, 1, 0.042704655848845),
    (3, "aligned", 0.5, 1, 0.09456394319626),
    (3, "aligned", 2.0, 1, 0.066517869700874),
    (4, "aligned", 0.5, 1, 0.131846040522637),
    (3, "anisotropic", (0.0, 0.3, 0.8), 1, 0.123533510122),
    (3, "anisotropic", (0.0, 0.5, 2.0), 1, 0.113211305921),
    (4, "anisotropic", (0.0, 0.3, 0.8, 1.0), 1, 0.177061779804),
    (2, "whitened", 0.0, 3, 0.143579340868),
]


def vectors() -> list[Any]:
    """(backend, vector); cvxpy takes long from 8 samples on."""
    return [
        pytest.param(name, *vector, marks=[pytest.mark.slow] if name == "cvxpy" and vector[0] > 2 else [])
        for name in ("closed_form", "column_generation", "cvxpy")
        for vector in VECTORS
    ]


@pytest.mark.parametrize(("name", "latents", "geometry", "alignment", "copies", "energy"), vectors())
def test_three_backends_agree_on_every_vector_of_the_theory(
    name: str, latents: int, geometry: str, alignment: Any, copies: int, energy: float
) -> None:
    problem = mfo.problems.hypercube(latents, samples_per_class=copies, geometry=geometry, alignment=alignment)
    assert mfo.solve(problem, name).energy == pytest.approx(energy, rel=1e-6)
