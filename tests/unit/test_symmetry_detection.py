"""Symmetry found in data: exactly, in any order, and not where it is only nearly there."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.symmetry import SignedPermutation, Symmetry
from meanfield_opt.symmetry.detect import detect
from meanfield_opt.symmetry.generators import GeneratedSymmetry
from meanfield_opt.symmetry.signed import average

pynauty = pytest.importorskip("pynauty")
RELU, SQUARED = mfo.activation("relu"), mfo.loss("squared")


def shuffled(latents: int, seed: int, *, dense: bool, copies: int = 1) -> mfo.TwoLayerProblem:
    """Hypercube data with samples and labels in random order and random label signs."""
    rng = np.random.default_rng(seed)
    base = mfo.problems.hypercube(latents, geometry="aligned", alignment=0.5, samples_per_class=copies)
    order = rng.permutation(base.n_samples)
    signs = rng.choice([-1.0, 1.0], size=(latents, 1))
    y = (signs * base.targets)[rng.permutation(latents)][:, order]
    space = base.geometry
    assert isinstance(space, mfo.DiagonalPlusLowRank)
    geometry: mfo.Geometry = mfo.DiagonalPlusLowRank(space.diagonal, space.columns[order], space.weight)
    if dense:
        geometry = mfo.DenseGeometry(geometry.apply(np.eye(base.n_samples)))
    return mfo.TwoLayerProblem(RELU, SQUARED, geometry, y, 0.01, 0.01)


@pytest.mark.parametrize(("latents", "order"), [(2, 8), (3, 48), (4, 384), (5, 3840)])
@pytest.mark.parametrize("dense", [False, True])
def test_hyperoctahedral_group_is_found_on_shuffled_data(latents: int, order: int, dense: bool) -> None:
    problem = shuffled(latents, latents, dense=dense)
    found = detect(problem)
    assert found is not None
    assert found.order == order
    assert all(g.preserves(problem) for g in found.generators)
    if not dense:
        assert "hyperoctahedral" in found.words


def generated_order(found: GeneratedSymmetry | None) -> int:
    """The order of the group on samples, by closing up (small groups)."""
    if found is None:
        return 1
    seen = {tuple(range(found.generators[0].samples.size))}
    edge = list(seen)
    while edge:
        grown = {tuple(np.array(a)[g.samples].tolist()) for a in edge for g in found.generators} - seen
        seen |= grown
        edge = list(grown)
    return len(seen)


def hyperoctahedral(problem: mfo.TwoLayerProblem) -> list[SignedPermutation]:
    """All 2^d d! symmetries of a hypercube task of one sample a class, as they act on its samples."""
    y = problem.targets
    d, place = y.shape[0], {tuple(column): p for p, column in enumerate(y.T.tolist())}
    out = []
    for outputs in itertools.permutations(range(d)):
        for signs in itertools.product((1.0, -1.0), repeat=d):
            # signs * Y[outputs][:, s] = Y: sample p is replaced by the one whose labels are these
            wanted = np.empty_like(y)
            wanted[list(outputs)] = np.array(signs)[:, None] * y
            out.append(SignedPermutation(np.array([place[tuple(c)] for c in wanted.T]), outputs, signs))
    return out


@pytest.mark.parametrize(("latents", "left"), [(2, 1), (3, 2), (4, 6)])
@pytest.mark.parametrize("dense", [False, True])
def test_one_entry_moved_by_a_billionth_leaves_its_exact_symmetries(latents: int, left: int, dense: bool) -> None:
    """What is found is the exact group of the moved data, no more and no less: of the hyperoctahedral group's 2^d d!
    elements those that fix the moved entry, (d - 1)! exchanges of the untouched labels; each is verified exactly."""
    problem = shuffled(latents, 1, dense=dense)
    group = hyperoctahedral(problem)
    assert all(g.preserves(problem) for g in group)
    for row, sample in itertools.product(range(latents), (0, 2**latents - 3)):
        y = problem.targets.copy()
        y[row, sample] += 1e-9
        moved = dataclasses.replace(problem, targets=y)
        exact = {tuple(g.samples.tolist()) for g in group if g.preserves(moved)}
        assert len(exact) == left
        found = detect(moved)
        assert (found is None) == (left == 1)
        assert generated_order(found) == left
        if found is not None:
            assert found.preserves(moved)
            assert all(tuple(g.samples.tolist()) in exact and g.samples[sample] == sample for g in found.generators)


@pytest.mark.parametrize("latents", [3, 4])
def test_nothing_is_found_where_generic_entries_are_moved(latents: int) -> None:
    """One entry a label, at generic samples: nothing is left of the group."""
    problem = shuffled(latents, 1, dense=True)
    y = problem.targets.copy()
    for row, sample in enumerate(np.random.default_rng(0).choice(2**latents, latents, replace=False)):
        y[row, sample] += 1e-9 * (row + 1)
    assert detect(dataclasses.replace(problem, targets=y)) is None


def test_nothing_is_found_where_the_moved_entry_leaves_nothing() -> None:
    """Two labels, or labels of different weights: no exchange of untouched labels survives, and the answer is None."""
    two = shuffled(2, 1, dense=False)
    three = mfo.problems.hypercube(3, geometry="anisotropic", alignment=(0.2, 0.5, 0.9))
    for problem in (two, three):
        assert detect(problem) is not None
        for row, sample in itertools.product(range(problem.n_outputs), range(problem.n_samples)):
            y = problem.targets.copy()
            y[row, sample] += 1e-9
            assert detect(dataclasses.replace(problem, targets=y, symmetry=None)) is None


def test_kernel_entry_moved_by_a_billionth_is_other_data() -> None:
    problem = shuffled(3, 2, dense=True)
    assert isinstance(problem.geometry, mfo.DenseGeometry)
    kernel = problem.geometry.kernel.copy()
    kernel[0, 1] = kernel[1, 0] = kernel[0, 1] + 1e-9
    moved = dataclasses.replace(problem, geometry=mfo.DenseGeometry(kernel))
    found = detect(moved)
    assert generated_order(found) == sum(g.preserves(moved) for g in hyperoctahedral(problem)) < 48
    generators = detect(problem)
    assert generators is not None
    assert not all(g.preserves(moved) for g in generators.generators)


def test_generic_data_have_no_symmetry() -> None:
    rng = np.random.default_rng(0)
    data = mfo.problems.dataset(rng.standard_normal((30, 3)), rng.standard_normal((30, 2)), lambda1=0.1, lambda2=0.1)
    assert detect(data) is None


def test_equal_samples_are_exchangeable() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 1))
    data = mfo.problems.dataset(np.vstack([x, x[:2]]), np.vstack([y, y[:2]]), lambda1=0.1, lambda2=0.1)
    found = detect(data)
    assert found is not None
    assert found.order == 4


def test_average_over_the_group_is_the_mean_over_its_elements() -> None:
    problem = shuffled(2, 3, dense=True)
    found = detect(problem)
    assert found is not None
    rng = np.random.default_rng(1)
    dual = rng.standard_normal(problem.targets.shape)
    orbit = {dual.tobytes(): dual}
    edge = [dual]
    while edge:
        fresh = [g.act(z) for z in edge for g in found.generators]
        edge = [z for z in fresh if z.tobytes() not in orbit]
        orbit.update({z.tobytes(): z for z in edge})
    assert len(orbit) == 8
    np.testing.assert_allclose(found.average_dual(dual), np.mean(list(orbit.values()), axis=0), atol=1e-12)
    np.testing.assert_array_equal(found.average_dual(problem.targets), problem.targets)
    assert problem.dual_value(found.average_dual(dual)) >= problem.dual_value(dual) - 1e-12


def test_copies_and_bad_generators() -> None:
    found = detect(shuffled(2, 4, dense=False, copies=3))
    assert found is not None
    assert found.describe()["copies"] == 3
    with pytest.raises(mfo.InputError, match="permutation"):
        SignedPermutation(np.array([0, 0]), np.array([0]), np.array([1.0]))
    with pytest.raises(mfo.InputError, match="signs"):
        SignedPermutation(np.array([0, 1]), np.array([0]), np.array([2.0]))


@pytest.mark.parametrize("arguments", [{"latents": 3}, {"latents": 2, "samples_per_class": 3}])
@pytest.mark.parametrize(("geometry", "alignment"), [("whitened", 0.0), ("aligned", 0.5), ("anisotropic", None)])
def test_declared_generators_are_symmetries_of_the_data(arguments, geometry, alignment) -> None:  # type: ignore[no-untyped-def]
    """What hypercube problems declare is exact, generates the detected group and gives the same averages."""
    a = tuple(0.3 * k for k in range(arguments["latents"])) if alignment is None else alignment
    problem = mfo.problems.hypercube(geometry=geometry, alignment=a, **arguments)
    declared = problem.symmetry
    assert declared is not None
    assert declared.generators
    assert declared.preserves(problem)
    moved = dataclasses.replace(problem, targets=problem.targets + 1e-9 * (np.arange(problem.n_samples) == 2))
    assert not declared.preserves(moved)
    found = detect(problem)
    assert found is not None
    assert found.preserves(problem)
    dual = np.random.default_rng(0).standard_normal(problem.targets.shape)
    averaged = declared.average_dual(dual)
    np.testing.assert_allclose(averaged, average(declared.generators, dual), atol=1e-13)
    np.testing.assert_allclose(averaged, found.average_dual(dual), atol=1e-13)


def test_a_symmetry_without_generators_is_no_symmetry() -> None:
    class Silent(Symmetry):
        def average_dual(self, dual: np.ndarray) -> np.ndarray:
            return dual

        def describe(self) -> dict[str, object]:
            return {}

    with pytest.raises(TypeError, match="generators"):
        Silent()  # type: ignore[abstract]
