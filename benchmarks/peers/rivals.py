"""Other solvers on the problems of the toolkit: each returns the energy of an actual network or measure, never its own objective.

Every function takes a squared-loss, free-mass ReLU problem with equal penalties l and returns (energy, atoms).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import meanfield_opt as mfo
from meanfield_opt.geometry import FactorGeometry

Array = np.ndarray


def factor(problem: mfo.TwoLayerProblem) -> Array:
    """A (P, r) with K_X = A A^T: that of the problem, or [I, 1] for whitened inputs with a bias."""
    if isinstance(problem.geometry, FactorGeometry):
        return np.asarray(problem.geometry.factor)
    kernel = problem.geometry.apply(np.eye(problem.n_samples))
    whitened = np.eye(problem.n_samples) + 1.0
    if not np.allclose(kernel, whitened, atol=1e-12):
        raise mfo.InputError("only factor geometries and whitened inputs have a written-down factor here.")
    return np.hstack([np.eye(problem.n_samples), np.ones((problem.n_samples, 1))])


def energy(problem: mfo.TwoLayerProblem, a: Array, theta: Array, v: Array) -> float:
    """|Y - V^T relu(theta A^T)|^2 + 2 l sum_j |theta_j| |v_j|: the energy of the network with balanced layers."""
    out = v.T @ np.maximum(theta @ a.T, 0.0)
    l = math.sqrt(problem.lambda1 * problem.lambda2)
    cost = np.linalg.norm(theta, axis=1) * np.linalg.norm(v, axis=1)
    return float(np.sum(np.square(problem.targets - out)) + 2.0 * l * cost.sum())


def scnn(problem: mfo.TwoLayerProblem, mode: str, gates: int, seed: int = 0) -> tuple[float, int]:
    """pyscnn's convex reformulation: mode 'al' (augmented Lagrangian, float64) or a cvxpy solver's name.

    Its loss is 1/(2 P d_Y) of ours, and its outputs have neurons of their own, so that its optimum is ours only where labels decouple.
    """
    from scnn.activations import sample_gate_vectors
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL, CVXPYSolver

    a, y = factor(problem), problem.targets.T.copy()
    model = ConvexReLU(sample_gate_vectors(seed, a.shape[1], gates), c=y.shape[1])
    solver: Any = AL(model, tol=1e-6, constraint_tol=1e-6) if mode == "al" else CVXPYSolver(model, mode)
    penalty = NeuronGL1(math.sqrt(problem.lambda1 * problem.lambda2) / y.size)
    found, _ = optimize_model(
        model, solver, Metrics(), a, y, regularizer=penalty, return_convex=True, unitize_data=False, dtype="float64"
    )
    theta, v = [], []
    for sign, block in zip((1.0, -1.0), found.parameters, strict=False):
        block = np.asarray(block, dtype=float).reshape(y.shape[1], -1, a.shape[1])
        for c in range(y.shape[1]):
            theta.append(block[c])
            v.append(np.tile(sign * np.eye(y.shape[1])[c], (block.shape[1], 1)))
    x, w = np.vstack(theta), np.vstack(v)
    keep = np.linalg.norm(x, axis=1) > 1e-10
    return energy(problem, a, x[keep], w[keep]), int(keep.sum())


def conic_grid(problem: mfo.TwoLayerProblem, solver: str, atoms: int, seed: int = 0) -> tuple[float, int]:
    """The group lasso on known atoms, where there are any, and random ones, as a conic program in cvxpy."""
    import cvxpy

    a, rng = factor(problem), np.random.default_rng(seed)
    theta = rng.standard_normal((atoms, a.shape[1]))
    known = getattr(problem, "known", None)
    if known is not None and known.measure is not None:
        theta = np.vstack([known.measure().atoms @ np.linalg.pinv(a).T, theta])
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    phi = np.maximum(theta @ a.T, 0.0)
    l = math.sqrt(problem.lambda1 * problem.lambda2)
    v = cvxpy.Variable((problem.n_outputs, theta.shape[0]))
    goal = cvxpy.sum_squares(v @ phi - problem.targets) + 2.0 * l * cvxpy.sum(cvxpy.norm(v, axis=0))
    options = {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 100_000} if solver == "SCS" else {}
    cvxpy.Problem(cvxpy.Minimize(goal)).solve(solver=solver, **options)
    w = np.asarray(v.value).T
    return energy(problem, a, theta, w), int((np.linalg.norm(w, axis=1) > 1e-8).sum())


def torch_network(problem: mfo.TwoLayerProblem, method: str, units: int, steps: int, seed: int) -> tuple[float, int]:
    """A network trained in torch, float64, full batch: 'adam' with a rate that decays to zero, or 'lbfgs'."""
    import torch

    torch.manual_seed(seed)
    a, y = torch.tensor(factor(problem)), torch.tensor(np.array(problem.targets))
    r, d = a.shape[1], y.shape[0]
    theta = (torch.randn(units, r, dtype=torch.float64) / math.sqrt(r)).requires_grad_()
    v = (torch.randn(units, d, dtype=torch.float64) / math.sqrt(units)).requires_grad_()

    def loss() -> Any:
        out = v.T @ torch.relu(theta @ a.T)
        penalty = problem.lambda1 * theta.square().sum() + problem.lambda2 * v.square().sum()
        return (y - out).square().sum() + penalty

    if method == "adam":
        adam = torch.optim.Adam([theta, v], lr=1e-2)
        rate = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 1e-4, steps)
        for _ in range(steps):
            adam.zero_grad()
            loss().backward()
            adam.step()
            rate.step()
    else:
        lbfgs = torch.optim.LBFGS(
            [theta, v], max_iter=steps, max_eval=2 * steps, history_size=20, tolerance_grad=1e-12,
            tolerance_change=1e-15, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Any:
            lbfgs.zero_grad()
            value = loss()
            value.backward()
            return value

        lbfgs.step(closure)
    return energy(problem, factor(problem), theta.detach().numpy(), v.detach().numpy()), units
