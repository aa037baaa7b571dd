"""Deep and recurrent networks: energies of measures are energies of weights; the conjectured laws and their tests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.measure import Measure
from meanfield_opt.metrics import parallelism_score, span_fit
from meanfield_opt.validation.deep import BIASES, RecurrentProblem, minimal_costs, minimal_weights
from meanfield_opt.validation.layerwise import certify_layers, zero_sums
from meanfield_opt.validation.odd_law import linear_limit, odd_law
from meanfield_opt.validation.recurrent_law import recurrent_law
from meanfield_problems.deep_hypercube import deep_hypercube, deep_law, law_energy

VECTORS = [  # (d, layers, bias, energy, strengths): theory section 4
    (2, 2, "none", 0.114208993, (0.36096, 0.52118)),
    (2, 2, "regularised", 0.107673321, None),
    (3, 2, "none", 0.202220463, None),
    (3, 2, "regularised", 0.194497497, None),
    (2, 3, "none", 0.142981056, (0.32616, 0.42551, 0.55513)),
    (2, 3, "regularised", 0.130229672, None),
    (3, 3, "none", 0.235728432, None),
    (3, 3, "regularised", 0.221484362, None),
]


@pytest.mark.parametrize(("d", "layers", "bias", "energy", "strengths"), VECTORS)
def test_conjectured_optima(d: int, layers: int, bias: str, energy: float, strengths: tuple[float, ...] | None) -> None:
    problem = mfo.problems.deep_hypercube(d, layers, bias=bias)
    known = problem.known
    assert known is not None
    assert known.provenance == "conjectured"
    assert known.energy == pytest.approx(energy, abs=1e-9)
    if strengths is not None:
        np.testing.assert_allclose(known.strength, strengths, atol=1e-5)
    # the ansatz is an actual network of that energy, by measures and by weights
    assert problem.energy(known.measures) == pytest.approx(known.energy, rel=1e-10)
    weights = problem.weights(known.measures)
    assert problem.weight_energy(weights) == pytest.approx(known.energy, rel=1e-10)
    for k, rho in enumerate(problem.measures(weights)):
        fit = span_fit(problem.kernel(rho), problem.targets)
        assert fit.residual < 1e-10
        assert fit.constant == pytest.approx(known.constant[k], rel=1e-8)
        assert parallelism_score(problem.kernel(rho), problem.targets) == pytest.approx(1.0)
    published = deep_law(d, layers, 0.01, bias=bias, free_constant=False)
    if bias == "none":  # constant neurons pay
        assert published.energy > known.energy * 1.005
    else:
        assert published.energy == pytest.approx(known.energy, rel=1e-8)


def test_one_layer_is_the_two_layer_optimum() -> None:
    for d in (2, 3):
        flat = mfo.problems.hypercube(d).known
        assert flat is not None
        deep = deep_hypercube(d, 1).known
        assert deep is not None
        assert deep.energy == pytest.approx(flat.energy, rel=1e-10)
        for drive in ("first", "every"):
            assert recurrent_law(d, 1, 0.01, drive=drive, starts=2).energy == pytest.approx(flat.energy, rel=1e-7)
    heavy = deep_hypercube(2, 2, penalty=5.0)
    assert heavy.known is not None
    assert heavy.known.energy == pytest.approx(8.0)
    assert law_energy(2, 4, 5.0, "none", (1.0, 1.0), (0.4, 0.4)) > 8.0


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_measure_energy_is_weight_energy_at_least_norm(bias: str, activation: str) -> None:
    rng = np.random.default_rng(4)
    problem = deep_hypercube(2, 3, bias=bias, activation=activation)
    wide = 5 + (bias != "none")
    weights = [rng.standard_normal((5, 5)), rng.standard_normal((5, wide)), rng.standard_normal((5, wide))]
    weights.append(rng.standard_normal((2, 5)))
    measures = problem.measures(weights)
    least = problem.weights(measures)
    assert problem.energy(measures) == pytest.approx(problem.weight_energy(least), rel=1e-9)
    assert problem.energy(measures) <= problem.weight_energy(weights) * (1 + 1e-9)
    # the same measures come back: least-norm weights realise the patterns
    for a, b in zip(problem.measures(least), measures):
        np.testing.assert_allclose(a.atoms, b.atoms, atol=1e-7)
    # a pattern that the layer below cannot produce costs infinitely much
    if bias == "none":
        silent = Measure(np.ones((1, 4)), np.zeros(1))
        assert problem.costs(1, [silent, measures[1]])[0] == np.inf


def test_one_sided_networks_beat_four_biased_layers() -> None:
    """Found by training: with a bias in every layer one sign of each label nearly suffices in the early layers."""
    problem = deep_hypercube(2, 4, bias="regularised")
    assert problem.known is not None
    assert problem.known.provenance == "refuted"
    v = problem.targets
    atoms = np.vstack([0.5 * (1 + v), 0.5 * (1 - v)])
    masses = [(1.0584, 8.4e-05), (1.34445, 1.0e-07), (1.51122, 0.19642), (1.50446, 0.7909)]
    measures = [Measure(atoms, np.repeat(pair, 2)) for pair in masses]
    weights = problem.weights(measures)
    assert problem.weight_energy(weights) == pytest.approx(0.15305407, abs=1e-7)
    assert problem.weight_energy(weights) < problem.known.energy * (1 - 0.002)
    for rho in problem.measures(weights):
        assert parallelism_score(problem.kernel(rho), problem.targets) == pytest.approx(1.0, abs=1e-6)


def test_layers_are_optimal_given_the_others_and_perturbed_ones_are_not() -> None:
    for bias in ("none", "regularised"):
        problem = deep_hypercube(2, 2, bias=bias)
        assert problem.known is not None
        for c in certify_layers(problem, problem.known.measures, time_limit=10.0):
            assert c.verdict == "proved"
            assert -1e-12 < c.gap < 1e-5, c
        first, last = problem.known.measures
        heavier = Measure(last.atoms, last.masses * 1.5)
        worse = certify_layers(problem, [first, heavier], time_limit=3.0)[1]
        assert worse.gap > 1e-3


def test_layers_under_free_biases() -> None:
    problem = deep_hypercube(2, 3, bias="free")
    assert problem.known is not None
    found = certify_layers(problem, problem.known.measures, time_limit=10.0)
    for c in found:
        assert c.verdict == "proved"
        assert -1e-12 < c.gap < 1e-6, c
    # what was proved holds for biases of any size: |Z phi(A w + b 1)| <= sigma 2 l |w|
    lower = found[1]
    first, second, last = problem.known.measures
    heavier = certify_layers(problem, [first, second, Measure(last.atoms, 1.5 * last.masses)], time_limit=3.0)
    assert heavier[2].gap > 1e-3
    # any other measure of layer 2 that produces layer 3's patterns costs at least the bound
    rng = np.random.default_rng(0)
    for _ in range(20):
        atoms = np.vstack([second.atoms, second.atoms[:2] + 0.3 * rng.standard_normal((2, 4))])
        other = Measure(atoms, np.append(second.masses, rng.uniform(0, 0.5, 2)))
        cost = other.masses @ minimal_costs(atoms, problem.hidden(first).T, "free")
        wanted = np.sqrt(last.masses)[:, None] * last.atoms
        w = minimal_weights(wanted, problem.hidden(other).T, "free")[:, :-1]
        assert 0.01 * (cost + np.square(w).sum()) >= lower.lower
    with pytest.raises(mfo.InputError, match="degree 1"):
        certify_layers(deep_hypercube(2, 2, bias="free", activation="tanh"), ())


def test_a_free_bias_adds_no_more_to_the_supremum_than_the_proof_allows() -> None:
    """sup over (w, b) of |Z phi(A w + b 1)|^2 / |w|^2 against the regularised one, on random data, b huge included."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        a, z = rng.standard_normal((6, 2)), zero_sums(rng.standard_normal((2, 6)))
        w = rng.standard_normal((4000, 2))
        b = rng.standard_normal(4000) * 10.0 ** rng.uniform(-2, 4, 4000)
        reach = np.abs(w @ a.T).max(axis=1)
        value = np.linalg.norm(np.maximum(w @ a.T + b[:, None], 0.0) @ z.T, axis=1)
        inside = np.clip(b, -reach, reach)
        clipped = np.linalg.norm(np.maximum(w @ a.T + inside[:, None], 0.0) @ z.T, axis=1)
        np.testing.assert_allclose(value, clipped, atol=1e-10 * 1e4)


def test_zero_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-200, 1e200, 3e-7):
        z = rng.standard_normal((3, 50)) * scale
        z[2] = 0.0
        moved = zero_sums(z)
        for row in moved:
            assert sum((Fraction(float(v)) for v in row), Fraction(0)) == 0
        np.testing.assert_allclose(moved, z - z.mean(axis=1, keepdims=True), atol=1e-9 * scale)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_odd_law(layers: int) -> None:
    problem = deep_hypercube(2, layers, activation="tanh")
    energies = []
    for width in (16, 64, 1024):
        law = odd_law(problem.activation, problem.targets, layers, width, 0.01)
        # an actual network of that energy and those kernels
        assert problem.weight_energy(problem.weights(law.measures)) == pytest.approx(law.energy, rel=1e-9)
        for rho, y in zip(law.measures, law.strength):
            np.testing.assert_allclose(problem.kernel(rho), y[0] * problem.targets.T @ problem.targets, atol=1e-9)
        energies.append(law.energy)
    limit = linear_limit(2, layers, 0.01)
    assert energies == sorted(energies, reverse=True)
    assert limit < energies[-1] < limit * 1.001
    uneven = np.full((layers, 2), 8)
    uneven[0] = 7, 9
    law = odd_law(problem.activation, problem.targets, layers, 16, 0.01, counts=uneven)
    assert problem.weight_energy(problem.weights(law.measures)) == pytest.approx(law.energy, rel=1e-9)
    assert law.energy > energies[0]
    with pytest.raises(mfo.InputError, match="counts"):
        odd_law(problem.activation, problem.targets, layers, 15, 0.01, counts=uneven)
    with pytest.raises(mfo.InputError, match="odd"):
        odd_law(deep_hypercube(2, 2).activation, problem.targets, layers, 16, 0.01)
    with pytest.raises(mfo.InputError, match="multiple"):
        odd_law(problem.activation, problem.targets, layers, 15, 0.01)


def test_odd_law_of_one_layer_is_theory() -> None:
    problem = deep_hypercube(2, 1, activation="tanh", penalty=0.05)
    for width, energy, b in ((4, 0.42728960, 0.41580410), (16, 0.40296129, 0.46783132), (64, 0.39698296, 0.48246290)):
        law = odd_law(problem.activation, problem.targets, 1, width, 0.05)
        assert law.energy == pytest.approx(energy, abs=1e-8)
        assert law.strength[0, 0] == pytest.approx(b, abs=1e-7)


def test_recurrent_energy_of_states() -> None:
    rng = np.random.default_rng(1)
    flat = mfo.problems.hypercube(2)
    rows = flat.geometry.preactivation(np.eye(5)).T
    problem = RecurrentProblem(flat.activation, flat.loss, (rows, rows, rows), flat.targets, 0.01)
    w, u, v = rng.standard_normal((4, 4)), rng.standard_normal((4, 5)), rng.standard_normal((2, 4))
    states = problem.states(w, u)
    again = problem.minimal_weights(states)
    least = problem.energy(states)
    assert least <= problem.weight_energy(w, u, v) + 1e-12
    for a, b in zip(problem.states(*again), states):
        np.testing.assert_allclose(a, b, atol=1e-8)
    with pytest.raises(mfo.InputError, match="no recurrent weights"):
        problem.energy([rng.standard_normal((2, 4)) for _ in range(3)])


def test_recurrent_law_is_a_networks_energy() -> None:
    """The five numbers, written out as weights, have the energy and the kernels that the law says."""
    for drive in ("first", "every"):
        law = recurrent_law(2, 3, 0.01, drive=drive, starts=2)
        w1, wv, b, e, g = law.parameters
        flat = mfo.problems.hypercube(2)
        rows = flat.geometry.preactivation(np.eye(5)).T
        quiet = np.zeros_like(rows)
        quiet[:, -1] = 1.0
        inputs = (rows, *((rows if drive == "every" else quiet,) * 2))
        problem = RecurrentProblem(flat.activation, flat.loss, inputs, flat.targets, 0.01)
        signs = np.array([1.0, 1.0, -1.0, -1.0])
        label = np.array([0, 1, 0, 1])
        same = (label[:, None] == label).astype(float)
        recurrent = w1 / 4 + 0.5 * wv * same * np.outer(signs, signs)
        feed = np.hstack([e + g * signs[:, None] * flat.targets[label], np.full((4, 1), b)])
        states = problem.states(recurrent, feed)
        assert problem.energy(states) <= law.energy * (1 + 1e-9)
        assert problem.energy(states) == pytest.approx(law.energy, rel=1e-5)
        for t, h in enumerate(states):
            phi = problem.activation(h)
            fit = span_fit(phi.T @ phi, flat.targets)
            assert fit.residual < 1e-9
            assert fit.strength == pytest.approx(law.strength[t], rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(mfo.InputError, match="bias"):
        deep_hypercube(2, 2, bias="maybe")
    with pytest.raises(mfo.InputError, match="layers"):
        deep_hypercube(2, 0)
    with pytest.raises(mfo.InputError, match="2 hidden layers"):
        deep_hypercube(2, 2).energy([])
    with pytest.raises(mfo.InputError, match="drive"):
        recurrent_law(2, 2, 0.01, drive="never")
    tanh = deep_hypercube(2, 2, activation="tanh")
    assert tanh.known is None
    with pytest.raises(mfo.InputError, match="masses of 1"):
        tanh.weights([Measure(np.ones((1, 4)), np.full(1, 2.0))] * 2)


@pytest.mark.torch
def test_objectives_are_the_numpy_energies() -> None:
    torch = pytest.importorskip("torch")
    from meanfield_opt.validation.deep_objective import DeepObjective, RecurrentObjective

    for bias in BIASES:
        for activation in ("relu", "tanh"):
            problem = deep_hypercube(2, 3, bias=bias, activation=activation)
            objective = DeepObjective(problem, 6)
            x = objective.initial([5], 1.0)
            value = float(objective.energies(torch.from_numpy(x), None, None)[0])
            assert value == pytest.approx(problem.weight_energy(objective.weights(x[0])), rel=1e-10)
    flat = mfo.problems.hypercube(2)
    rows = flat.geometry.preactivation(np.eye(5)).T
    recurrent = RecurrentProblem(flat.activation, flat.loss, (rows, rows), flat.targets, 0.01)
    other = RecurrentObjective(recurrent, 6)
    x = other.initial([5], 1.0)
    part = {k: v[0] for k, v in other.unpack(x).items()}
    value = float(other.energies(torch.from_numpy(x), None, None)[0])
    assert value == pytest.approx(recurrent.weight_energy(part["recurrent"], part["feed"], part["readout"]), rel=1e-10)
