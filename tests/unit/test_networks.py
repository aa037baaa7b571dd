"""Measures to torch networks and back, exactly."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate.certify import certify
from meanfield_opt.checker.bounds import energy_upper
from meanfield_opt.solution import Solution, Status
from meanfield_opt.validation.inputs import network_inputs
from meanfield_opt.validation.networks import measure_from_network, network_from_measure, own_energy_upper

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


def best(problem: Any) -> Solution:
    measure = problem.known.measure()
    return Solution(problem, measure, problem.dual_point(measure), Status.SOLVED, "known")


def weight_energy(problem: Any, module: Any) -> float:
    """The training objective, written out from the weights."""
    x = torch.from_numpy(network_inputs(problem.geometry).rows)
    with torch.no_grad():
        f = module(x).T.numpy()
        hidden = float((module.W1**2).sum()) + (0.0 if module.b is None else float((module.b**2).sum()))
        return float(
            problem.loss.value(f, problem.targets)
            + problem.lambda1 * hidden
            + problem.lambda2 * float((module.W2**2).sum())
        )


@pytest.mark.parametrize("options", [{}, {"geometry": "aligned", "alignment": 2.0}, {"samples_per_class": 3}])
def test_round_trip_on_hypercubes(options: dict[str, Any]) -> None:
    problem = mfo.problems.hypercube(2, **options)
    solution = best(problem)
    module = solution.to_torch()
    assert weight_energy(problem, module) == pytest.approx(problem.known.energy, rel=1e-12)
    back = measure_from_network(problem, module)
    assert energy_upper(problem, back)[1] == pytest.approx(problem.known.energy, rel=1e-12)
    kernel = (problem.features(back.atoms).T * back.masses) @ problem.features(back.atoms)
    np.testing.assert_allclose(kernel, solution.kernel, atol=1e-12)
    again = pickle.loads(pickle.dumps(module))
    x = torch.from_numpy(network_inputs(problem.geometry).rows)
    np.testing.assert_array_equal(again(x).detach().numpy(), module(x).detach().numpy())


def test_certified_network_energy_is_the_networks_own() -> None:
    problem = mfo.problems.hypercube(2)
    certificate = certify(problem, best(problem).to_torch(), engine="norm")
    assert certificate.upper_bound == pytest.approx(problem.known.energy, rel=1e-12)
    assert certificate.lower_bound <= problem.known.energy


@pytest.mark.parametrize("bias", [True, False])
def test_sequential_on_data(bias: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    problem = mfo.problems.dataset(x, y, activation="tanh", bias=bias, width=5)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 5, bias=bias), torch.nn.Tanh(), torch.nn.Linear(5, 2, bias=False)
    ).double()
    measure = measure_from_network(problem, net)
    f = net(torch.from_numpy(x)).detach().numpy().T
    np.testing.assert_allclose((measure.readout * measure.masses) @ problem.features(measure.atoms), f, atol=1e-13)
    free = mfo.from_torch(net, x)
    np.testing.assert_allclose(free.atoms, measure.atoms, atol=1e-13)
    total = sum(float((p.detach() ** 2).sum()) for p in net.parameters())
    assert own_energy_upper(problem, measure) == pytest.approx(0.01 * total + float(((f - y.T) ** 2).sum()), rel=1e-12)


def test_multiplicities_under_a_width() -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", width=6, lambda1=0.05, lambda2=0.05)
    y = problem.targets
    atoms = 0.7 * np.vstack([y, -y])
    whole = network_from_measure(problem, mfo.Measure(atoms, np.array([2.0, 1.0, 2.0, 1.0])))
    assert tuple(whole.W1.shape) == (6, 4)
    assert set(whole.multiplicity.tolist()) == {1.0}
    for masses in ([2.0, 1.0, 2.0, 1.0], [1.5, 1.5, 1.5, 1.5]):
        measure = mfo.Measure(atoms, np.array(masses))
        module = network_from_measure(problem, measure)
        back = measure_from_network(problem, module)
        assert back.total_mass == pytest.approx(6.0)
        assert problem.energy(back) == pytest.approx(problem.energy(measure), rel=1e-12)


def test_refusals() -> None:
    nn = torch.nn
    rng = np.random.default_rng(0)
    problem = mfo.problems.dataset(rng.standard_normal((6, 3)), rng.standard_normal((6, 2)))
    out = nn.Linear(4, 2, bias=False)
    cases = [
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), out), "activation"),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU(), out), "takes 2 inputs"),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)), "3 outputs"),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), "output bias"),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), out), "two-layer"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1), out), "activation"),
        (nn.Linear(3, 2), "two-layer"),
        ("a string", "torch.nn.Module"),
    ]
    for module, text in cases:
        with pytest.raises(mfo.InputError, match=text):
            measure_from_network(problem, module)
    bad = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        bad[0].weight[0, 0] = float("nan")
    with pytest.raises(mfo.InputError, match="diverged"):
        measure_from_network(problem, bad)
    plain = mfo.problems.dataset(rng.standard_normal((6, 3)), rng.standard_normal((6, 2)), bias=False)
    with pytest.raises(mfo.InputError, match="bias=False"):
        measure_from_network(plain, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), out))
    with pytest.raises(mfo.InputError, match="at most"):
        network_inputs(mfo.problems.hypercube(14).geometry)


def test_zero_measure_is_a_silent_network() -> None:
    problem = mfo.problems.hypercube(2)
    module = network_from_measure(problem, mfo.Measure.zero(4))
    assert measure_from_network(problem, module).n_atoms == 0


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, meanfield_opt; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_a_neuron_with_output_weights_alone_counts(activation: str) -> None:
    """Its output weights are penalised, and where phi(0) is not 0 it adds a constant: the own energy must not lose either."""
    from meanfield_opt.validation.networks import network_measure, own_energy_upper

    width = 4.0 if activation == "sigmoid" else None
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((5, 2))
    problem = mfo.problems.dataset(x, y, activation=activation, lambda1=0.1, lambda2=0.2, width=width)
    theta = rng.standard_normal((3, problem.geometry.n_parameters))
    readout = rng.standard_normal((2, 3))
    theta[1] = 0.0
    theta[2], readout[:, 2] = 0.0, 0.0
    outputs = readout @ problem.features(problem.geometry.preactivation(theta))
    own = 0.1 * np.square(theta).sum() + 0.2 * np.square(readout).sum() + np.square(outputs - problem.targets).sum()
    measure = network_measure(problem, theta, readout)
    assert measure.n_atoms == 2
    assert own_energy_upper(problem, measure) == pytest.approx(own, rel=1e-9)
