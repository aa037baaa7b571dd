"""The loss in linear and second-order cones, on variables for the outputs F."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..loss import ConicTerms, Loss, ResidualForm
from ..losses.output_bias import OutputBias
from ..problem import TwoLayerProblem
from .program import Affine, Builder

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def parted(loss: Loss) -> tuple[Loss, float | None]:
    """(loss, penalty of its output bias): None where it has no output bias."""
    return (loss.base, loss.penalty) if isinstance(loss, OutputBias) else (loss, None)


def residual_form(problem: TwoLayerProblem) -> ResidualForm | None:
    """The residual form of the loss (without its output bias), or None."""
    base, _ = parted(problem.loss)
    return base.residual_form(problem.targets) if isinstance(base, ConicTerms) else None


def loss_refusal(problem: TwoLayerProblem) -> str | None:
    """Why the loss is not written in the cones used here, or None."""
    if residual_form(problem) is not None:
        return None
    base, _ = parted(problem.loss)
    return (
        f"the {base.name} loss is not written in the zero, nonnegative, second-order and PSD cones (it has no residual "
        "form); the cvxpy backend takes losses through their own expression."
    )


def add_loss(builder: Builder, problem: TwoLayerProblem, outputs: Index) -> None:
    """L(F; Y) as a cost, F the variables ``outputs`` (d_Y, P). New variables, in the order of ``loss_point``.

    Terms as in ``ResidualForm``; all squares share one cone (e + 1, e - 1, 2 q / root) with root^2 e >= |q|^2.
    """
    form = residual_form(problem)
    assert form is not None, "loss_refusal comes first"
    _, penalty = parted(problem.loss)
    d, p = outputs.shape
    entries = np.arange(d * p)
    parts = [(entries, outputs.ravel(), form.slope.ravel())]
    squares: list[tuple[Affine, int]] = []
    if penalty is not None:
        bias = builder.variables(d)
        parts.append((entries, np.repeat(bias, p), form.slope.ravel()))
        if penalty > 0:
            squares.append((Affine.make(np.zeros(d), np.arange(d), bias, math.sqrt(penalty)), d))
    for price, sign in ((form.above, -1.0), (form.below, 1.0)):
        if math.isfinite(price):
            part = builder.variables(d * p)
            builder.nonnegative(Affine.make(np.zeros(d * p), entries, part, 1.0))
            if price > 0:
                builder.cost(part, price * form.weight.ravel())
            parts.append((entries, part, np.full(d * p, sign)))
    rows, columns, values = (np.concatenate([part[k] for part in parts]) for k in range(3))
    constant = form.intercept.ravel()
    if form.quadratic:
        root = np.sqrt(form.weight.ravel())
        squares.append((Affine.make(root * constant, rows, columns, root[rows] * values), d * p))
    else:
        builder.zero(Affine.make(constant, rows, columns, values))
    if squares:
        _add_squares(builder, squares, _unit(problem))


def _add_squares(builder: Builder, squares: list[tuple[Affine, int]], unit: float) -> None:
    """cost unit * e with unit * e >= sum of squares."""
    e = builder.variables(1)
    builder.cost(e, unit)
    root = 2.0 / math.sqrt(unit)
    constant, rows, columns, values = [np.array([1.0, -1.0])], [np.array([0, 1])], [e[[0, 0]]], [np.ones(2)]
    start = 2
    for part, height in squares:
        constant.append(root * part.constant)
        rows.append(part.rows + start)
        columns.append(part.columns)
        values.append(root * part.values)
        start += height
    builder.second_order(
        Affine.make(np.concatenate(constant), np.concatenate(rows), np.concatenate(columns), np.concatenate(values)),
        start,
    )


def _unit(problem: TwoLayerProblem) -> float:
    """The size of the squares: the loss of the zero network, so that e is of order one."""
    return max(problem.loss.value(np.zeros_like(problem.targets), problem.targets), 1e-300)


def loss_point(problem: TwoLayerProblem, outputs: Array) -> Array:
    """The best values of the variables of ``add_loss`` at outputs F (d_Y, P)."""
    form = residual_form(problem)
    assert form is not None, "loss_refusal comes first"
    _, penalty = parted(problem.loss)
    moved, values, squares = outputs, [], 0.0
    if penalty is not None:
        assert isinstance(problem.loss, OutputBias)
        bias = problem.loss.bias(outputs, problem.targets)
        moved = outputs + bias[:, None]
        values.append(bias)
        squares += penalty * float(bias @ bias)
    q, over, under = form.parts(moved)
    values += [part.ravel() for price, part in ((form.above, over), (form.below, under)) if math.isfinite(price)]
    squares += float(np.sum(form.weight * q**2)) if form.quadratic else 0.0
    if form.quadratic or (penalty or 0.0) > 0:
        values.append(np.array([squares / _unit(problem)]))
    return np.concatenate(values) if values else np.zeros(0)
