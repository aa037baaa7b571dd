"""Canonical representations: six alignments for every fully connected layer of any torch model, and power laws.

For a layer h_b = W h_a, with g the gradient of the loss of one sample in h: H = E[h h^T], G = E[g g^T], Z_a = W^T W,
Z_b = W W^T. The hypothesis (Ziyin et al., ICLR 2025): H, G and Z are proportional, at both sides. When a relation
breaks, polynomial alignment: the eigenvalues are tied by power laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, UndefinedMetricError
from ..validate import integer, real_array
from .networks import import_torch

Array = NDArray[np.float64]

#: relation -> (first matrix, second matrix)
RELATIONS = {"RGA": ("H", "G"), "GWA": ("G", "Z"), "RWA": ("H", "Z")}
DEFINITIONS = ("raw", "covariance")


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """H, G, Z at side a (inputs, (n_in, n_in)) and side b (outputs, (n_out, n_out)) of one layer."""

    name: str
    definition: str
    a: dict[str, Array]
    b: dict[str, Array]


@dataclass(frozen=True)
class Alignment:
    """One relation at one side of one layer: Pearson correlation of the matrix entries, and the same after a random
    rotation of the second matrix (mean and standard deviation over draws)."""

    layer: str
    relation: str
    side: str
    value: float
    random_mean: float
    random_std: float


@dataclass(frozen=True)
class PowerLaw:
    """log <u, A u> ~ slope log lambda over eigenpairs (lambda, u) of B; error: standard error of the slope;
    correlation: of the logarithms; count: eigenvalues used; random_mean, random_std: slopes after random rotations."""

    slope: float
    error: float
    correlation: float
    count: int
    random_mean: float
    random_std: float


def layer_moments(
    model: Any, X: ArrayLike, loss: Callable[[Any], Any], *, definition: str = "raw"
) -> list[LayerMoments]:
    """The moments of every torch.nn.Linear in ``model`` on samples X (P, d), by hooks; the model is left unchanged.

    loss: outputs -> the loss summed over samples (so that gradients are per sample). definition: "raw" second moments,
    or "covariance" of h and g normalised to unit length a sample. A layer used more than once (recurrence) contributes
    all its uses.
    """
    torch = import_torch()
    if definition not in DEFINITIONS:
        raise InputError(f"definition must be raw or covariance, not {definition!r}.")
    named = [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    if not named:
        raise InputError("the model has no torch.nn.Linear layers; for networks of to_torch use as_sequential first.")
    seen: dict[str, list[tuple[Any, Any]]] = {name: [] for name, _ in named}

    def hook(name: str) -> Callable[..., None]:
        def keep(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            seen[name].append((inputs[0].detach(), output))

        return keep

    handles = [m.register_forward_hook(hook(name)) for name, m in named]
    try:
        first = named[0][1].weight
        x = torch.as_tensor(np.asarray(X), dtype=first.dtype, device=first.device)
        with torch.enable_grad():
            value = loss(model(x))
            outputs = [out for uses in seen.values() for _, out in uses]
            if not outputs or value.ndim != 0:
                raise InputError("the loss must be one number that depends on the model's outputs.")
            slopes = torch.autograd.grad(value, outputs, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    result, at = [], 0
    for name, module in named:
        h_a, h_b, g_b = [], [], []
        for inputs, out in seen[name]:
            slope = slopes[at]
            at += 1
            if slope is None:
                continue
            h_a.append(inputs.reshape(-1, inputs.shape[-1]))
            h_b.append(out.detach().reshape(-1, out.shape[-1]))
            g_b.append(slope.reshape(-1, slope.shape[-1]))
        if not h_a:
            continue
        weight = np.asarray(module.weight.detach().cpu().double().numpy())
        ha, hb, gb = (np.asarray(torch.cat(t).cpu().double().numpy()) for t in (h_a, h_b, g_b))
        a = {"H": _moment(ha, definition), "G": _moment(gb @ weight, definition), "Z": weight.T @ weight}
        b = {"H": _moment(hb, definition), "G": _moment(gb, definition), "Z": weight @ weight.T}
        result.append(LayerMoments(name, definition, a, b))
    return result


def _moment(rows: Array, definition: str) -> Array:
    if definition == "covariance":
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
        rows = rows - rows.mean(axis=0)
    return np.asarray(rows.T @ rows / rows.shape[0])


def matrix_alignment(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson correlation of the entries of two square matrices."""
    a, b = (
        real_array(first, "the first matrix", ndim=2).ravel(),
        real_array(second, "the second matrix", ndim=2).ravel(),
    )
    if a.size != b.size:
        raise InputError("the matrices must have the same shape.")
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    if scale <= 1e-300:
        raise UndefinedMetricError("the correlation with a constant (or 1 x 1) matrix is undefined.")
    return float(np.clip(a @ b / scale, -1.0, 1.0))


def alignments(moments: list[LayerMoments], *, draws: int = 20, seed: int = 0) -> list[Alignment]:
    """All six relations of every layer; NaN where a matrix is constant (a layer of one unit)."""
    integer(draws, "draws", least=0)
    rng = np.random.default_rng(seed)
    out = []
    for layer in moments:
        for side, held in (("a", layer.a), ("b", layer.b)):
            for relation, (p, q) in RELATIONS.items():
                try:
                    value = matrix_alignment(held[p], held[q])
                    random = np.array([matrix_alignment(held[p], _rotated(held[q], rng)) for _ in range(draws)])
                except UndefinedMetricError:
                    value, random = float("nan"), np.full(max(draws, 1), np.nan)
                mean, std = (float(random.mean()), float(random.std())) if draws else (float("nan"), float("nan"))
                out.append(Alignment(layer.name, relation, side, value, mean, std))
    return out


def power_law(first: ArrayLike, second: ArrayLike, *, cutoff: float = 1e-6, draws: int = 20, seed: int = 0) -> PowerLaw:
    """How the first matrix grows along the eigenvectors of the second: slope 1 when they are proportional.

    Eigenvalues below cutoff times the largest, and directions that the first does not reach, are left out; at least
    three must remain (UndefinedMetricError otherwise). Ordinary least squares on logarithms.
    """
    a, b = real_array(first, "the first matrix", ndim=2), real_array(second, "the second matrix", ndim=2)
    if a.shape != b.shape or a.shape[0] != a.shape[1]:
        raise InputError("power laws need two square matrices of the same size.")
    slope, error, correlation, count = _slope(a, b, cutoff)
    rng = np.random.default_rng(seed)
    random = np.array([_slope(_rotated(a, rng), b, cutoff)[0] for _ in range(draws)])
    mean, std = (float(random.mean()), float(random.std())) if draws else (float("nan"), float("nan"))
    return PowerLaw(slope, error, correlation, count, mean, std)


def _slope(a: Array, b: Array, cutoff: float) -> tuple[float, float, float, int]:
    values, vectors = np.linalg.eigh(0.5 * (b + b.T))
    along = np.einsum("ij,ik,kj->j", vectors, a, vectors)
    keep = (values > cutoff * values.max(initial=0.0)) & (along > 1e-14 * max(float(np.trace(a)), 1e-300))
    count = int(keep.sum())
    if count < 3:
        raise UndefinedMetricError(f"a power law needs three eigenvalues above the cutoff; there are {count}.")
    x, y = np.log(values[keep]), np.log(along[keep])
    xc = x - x.mean()
    spread = float(xc @ xc)
    if spread < 1e-12 * count:
        raise UndefinedMetricError("all eigenvalues are equal; there is no slope.")
    slope = float(xc @ y / spread)
    rest = y - y.mean() - slope * xc
    error = float(np.sqrt(rest @ rest / max(count - 2, 1) / spread))
    total = float(np.square(y - y.mean()).sum())
    correlation = slope * np.sqrt(spread / total) if total > 0 else float("nan")
    return slope, error, float(correlation), count


def _rotated(matrix: Array, rng: np.random.Generator) -> Array:
    q, r = np.linalg.qr(rng.standard_normal(matrix.shape))
    q = q * np.sign(np.diag(r))
    return np.asarray(q @ matrix @ q.T)


def as_sequential(module: Any) -> Any:
    """A network of ``Solution.to_torch`` as Sequential(Linear, activation, Linear), for the hooks."""
    torch = import_torch()
    from .modules import TwoLayerNetwork

    if not isinstance(module, TwoLayerNetwork):
        raise InputError(f"expected a network of Solution.to_torch(), not {type(module).__name__}.")
    layers = [dense(module.W1.detach().numpy(), None if module.b is None else module.b.detach().numpy())]
    layers.append(elementwise(module.phi.torch_twin()))
    layers.append(dense((module.W2 * module.multiplicity).detach().numpy(), None))
    return torch.nn.Sequential(*layers)


def dense(weight: Array, bias: Array | None) -> Any:
    """A float64 torch.nn.Linear with these weights (n_out, n_in)."""
    torch = import_torch()
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def elementwise(function: Callable[[Any], Any]) -> Any:
    """A parameter-free torch module that applies ``function``."""
    from .modules import Elementwise

    return Elementwise(function)
