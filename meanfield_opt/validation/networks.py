"""Two-layer torch networks to and from measures. torch is imported inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..activation import Activation
from ..checker.bounds import network_energy_upper
from ..errors import InputError, MissingDependencyError
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..validate import real_array
from .inputs import network_inputs

Array = NDArray[np.float64]

#: points at which a torch activation is compared with the problem's
PROBES = np.concatenate([np.linspace(-4.0, 4.0, 41), [-0.3137, 0.2718, -1.618, 1.4142, -25.0, 25.0]])

#: the most neurons that integer masses are expanded into
MOST_NEURONS = 1_000_000


def import_torch() -> Any:
    """The torch module; MissingDependencyError with the install line if it is absent."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("this needs torch: pip install 'meanfield-opt[torch]'.") from error
    return torch


def network_from_measure(problem: TwoLayerProblem, measure: Measure) -> Any:
    """A float64 torch.nn.Module that maps the problem's inputs (P, d_X) to the measure's outputs (P, d_Y).

    One neuron an atom. Its energy is the measure's: for activations of degree 1, mass is split evenly (in square
    roots) between input and output weights; for others, masses are multiplicities (whole ones are written out as
    copies). The inputs are ``network_inputs(problem.geometry).rows``: X itself for data.
    """
    torch = import_torch()
    from .modules import TwoLayerNetwork

    if measure.n_atoms and measure.atoms.shape[1] != problem.n_samples:
        raise InputError(
            f"the measure has patterns over {measure.atoms.shape[1]} samples, the problem {problem.n_samples}."
        )
    inputs = network_inputs(problem.geometry)
    measure = measure.support()
    if measure.n_atoms == 0:
        theta, masses = np.zeros((1, inputs.n_parameters)), np.ones(1)
        readout = np.zeros((problem.n_outputs, 1))
    else:
        known = measure.neurons is not None and measure.neurons.shape[1] == inputs.n_parameters
        theta = measure.neurons if known and measure.neurons is not None else problem.geometry.weights(measure.atoms)
        masses = measure.masses
        readout = problem.readout(measure) if measure.readout is None else measure.readout
    if problem.activation.degree == 1.0:
        root = np.sqrt(masses)
        theta, readout, masses = theta * root[:, None], readout * root, np.ones_like(masses)
    else:
        whole = np.round(masses)
        if (np.abs(masses - whole) <= 1e-9).all() and whole.min() > 0 and whole.sum() <= MOST_NEURONS:
            copies = np.repeat(np.arange(masses.size), whole.astype(int))
            theta, readout, masses = theta[copies], readout[:, copies], np.ones(copies.size)
    weight, offset = inputs.split(theta)
    return TwoLayerNetwork(
        torch.from_numpy(np.ascontiguousarray(weight)),
        None if offset is None else torch.from_numpy(np.ascontiguousarray(offset)),
        torch.from_numpy(np.ascontiguousarray(readout)),
        problem.activation,
        torch.from_numpy(np.ascontiguousarray(masses)),
    )


def measure_from_network(problem: TwoLayerProblem, module: Any) -> Measure:
    """The measure of a two-layer torch network on the problem's inputs: one atom of mass 1 a neuron.

    Takes ``Sequential(Linear, activation, Linear(bias=False))`` and networks of ``to_torch``. Raises InputError for
    anything else, a wrong activation, wrong shapes, a nonzero output bias or weights that are not finite.
    """
    weight, offset, readout, count = read_two_layer(module, problem.activation)
    inputs = network_inputs(problem.geometry)
    if readout.shape[0] != problem.n_outputs:
        raise InputError(f"the network has {readout.shape[0]} outputs, the problem {problem.n_outputs}.")
    if weight.shape[1] == inputs.columns.size:
        theta = inputs.join(weight, offset)
    elif weight.shape[1] == inputs.n_parameters and offset is None:
        theta = weight  # the network was given the column of ones as an ordinary input
    else:
        raise InputError(
            f"the network takes {weight.shape[1]} inputs, the problem has {inputs.columns.size}"
            f"{' and a bias' if inputs.bias is not None else ''}."
        )
    if problem.activation.degree == 1.0:  # multiplicities cost nothing: n copies of (theta, w) are one neuron
        root = np.sqrt(count)
        theta, readout, count = theta * root[:, None], readout * root, np.ones_like(count)
    return network_measure(problem, theta, readout, count)


def network_measure(problem: TwoLayerProblem, theta: Array, readout: Array, count: Array | None = None) -> Measure:
    """The network's measure: an atom of mass 1 a neuron; those without any weights, which add nothing, are left out.

    A neuron with output weights alone stays: they are penalised, and it adds a constant where phi(0) is not 0.
    """
    keep = (theta != 0).any(axis=1) | (readout != 0).any(axis=0)
    theta, readout = theta[keep], readout[:, keep]
    masses = np.ones(theta.shape[0]) if count is None else count[keep]
    return Measure(problem.geometry.preactivation(theta), masses, theta, readout)


def own_energy_upper(problem: TwoLayerProblem, measure: Measure) -> float:
    """Rigorous upper bound on a network's own energy: its own output weights, whatever its width."""
    if measure.n_atoms == 0:
        zero = np.zeros_like(problem.targets)
        return problem.loss.value_upper(zero, zero, problem.targets)
    free = replace(problem, width=None, known_=None)  # the energy of a given network does not depend on the width
    return network_energy_upper(free, measure)


def from_torch(module: Any, X: ArrayLike) -> Measure:
    """The measure of a two-layer torch network on samples X (P, d_X): atoms W1 x + b, masses 1, readout W2.

    neurons are rows (W1, b), or W1 alone where the network has no hidden bias.
    """
    weight, offset, readout, count = read_two_layer(module, None)
    rows = real_array(X, "X", ndim=2)
    if rows.shape[1] != weight.shape[1]:
        raise InputError(f"the network takes {weight.shape[1]} inputs but X has {rows.shape[1]} columns.")
    atoms = weight @ rows.T
    if offset is not None:
        atoms += offset[:, None]
        weight = np.hstack([weight, offset[:, None]])
    return Measure(atoms, count, weight, readout)


def read_two_layer(module: Any, phi: Activation | None) -> tuple[Array, Array | None, Array, Array]:
    """(W1, b, W2, multiplicity) of a two-layer torch network, checked; ``phi`` is the activation it must have."""
    torch = import_torch()
    from .modules import TwoLayerNetwork

    if isinstance(module, TwoLayerNetwork):
        if phi is not None and (module.phi.name, module.phi.parameters) != (phi.name, phi.parameters):
            raise InputError(f"the network's activation is {module.phi.name}, the problem's {phi.name}.")
        parts: tuple[Any, Any, Any, Any] = (module.W1, module.b, module.W2, module.multiplicity)
    elif isinstance(module, torch.nn.Module):
        layers = [m for m in module.modules() if not list(m.children())]
        shape = [isinstance(m, torch.nn.Linear) for m in layers]
        if not isinstance(module, torch.nn.Sequential) or shape != [True, False, True]:
            raise InputError(
                f"cannot read {type(module).__name__} as a two-layer network; give Sequential(Linear, activation, "
                "Linear(bias=False)) or a network of Solution.to_torch()."
            )
        first, middle, last = layers
        if not (first.weight.is_floating_point() and last.weight.is_floating_point()):
            raise InputError(f"the network's weights are {first.weight.dtype}; give real floating-point weights.")
        if phi is not None:
            _check_activation(middle, phi, first.weight.dtype, first.weight.device)
        if last.bias is not None and bool((last.bias != 0).any()):
            raise InputError("the network has an output bias, which the problem has not; use Linear(..., bias=False).")
        parts = (first.weight, first.bias, last.weight, None)
    else:
        raise InputError(f"expected a torch.nn.Module, a Measure or a Solution, not {type(module).__name__}.")
    weight, offset, readout, count = (
        None if t is None else np.asarray(t.detach().cpu().double().numpy()) for t in parts
    )
    assert weight is not None
    assert readout is not None
    if readout.shape[1] != weight.shape[0]:
        raise InputError(f"W1 has {weight.shape[0]} neurons but W2 reads {readout.shape[1]}; they must agree.")
    for name, array in (("W1", weight), ("b", offset), ("W2", readout)):
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"the network's {name} contains NaN or infinity: its training diverged.")
    return weight, offset, readout, np.ones(weight.shape[0]) if count is None else count


def _check_activation(layer: Any, phi: Activation, dtype: Any, device: Any) -> None:
    torch = import_torch()
    with torch.no_grad():
        try:
            out = layer(torch.as_tensor(PROBES, dtype=dtype, device=device))
            values = np.asarray(out.detach().cpu().double().numpy())
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{type(layer).__name__} is not an elementwise activation: {error}") from error
    if values.shape != PROBES.shape or not np.allclose(values, phi(PROBES), rtol=1e-5, atol=1e-6):
        raise InputError(f"the network's activation {type(layer).__name__} is not the problem's {phi.name}.")
