"""The loss in linear, second-order and exponential cones, on variables for the outputs F."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ..loss import ConicTerms, ExponentialForm, ExponentialTerms, Loss, ResidualForm
from ..losses.output_bias import OutputBias
from ..problem import TwoLayerProblem
from .program import CONES, Affine, Builder

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def parted(loss: Loss) -> tuple[Loss, float | None]:
    """(loss, penalty of its output bias): None where it has no output bias."""
    return (loss.base, loss.penalty) if isinstance(loss, OutputBias) else (loss, None)


def residual_form(problem: TwoLayerProblem) -> ResidualForm | None:
    """The residual form of the loss (without its output bias), or None."""
    base, _ = parted(problem.loss)
    return base.residual_form(problem.targets) if isinstance(base, ConicTerms) else None


def exponential_form(problem: TwoLayerProblem) -> ExponentialForm | None:
    """The exponential form of the loss (without its output bias), or None."""
    base, _ = parted(problem.loss)
    return base.exponential_form(problem.targets) if isinstance(base, ExponentialTerms) else None


def loss_refusal(problem: TwoLayerProblem, cones: Collection[str] = CONES) -> str | None:
    """Why the loss is not written in these cones, or None."""
    if residual_form(problem) is not None:
        return None
    base, _ = parted(problem.loss)
    if exponential_form(problem) is None:
        return (
            f"the {base.name} loss is not written in the zero, nonnegative, second-order, PSD and exponential cones (it has "
            "neither a residual nor an exponential form); cvxpy takes losses with a cvxpy expression, column_generation smooth "
            "ones."
        )
    if "exponential" not in cones:
        return f"the {base.name} loss needs the exponential cone: clarabel, scs, mosek and cvxpy take it."
    return None


def add_loss(builder: Builder, problem: TwoLayerProblem, outputs: Index) -> None:
    """L(F; Y) as a cost, F the variables ``outputs`` (d_Y, P). New variables, in the order of ``loss_point``."""
    _, penalty = parted(problem.loss)
    d, p = outputs.shape
    bias = None if penalty is None else builder.variables(d)
    squares: list[tuple[Affine, int]] = []
    if bias is not None and penalty:
        squares.append((Affine.make(np.zeros(d), np.arange(d), bias, math.sqrt(penalty)), d))
    form = residual_form(problem)
    if form is not None:
        squares += _add_residuals(builder, form, outputs.ravel(), None if bias is None else np.repeat(bias, p))
    else:
        logarithms = exponential_form(problem)
        assert logarithms is not None, "loss_refusal comes first"
        _add_logarithms(builder, logarithms, outputs.ravel(), None if bias is None else np.repeat(bias, p))
    if squares:
        _add_squares(builder, squares, _unit(problem))


def _add_residuals(
    builder: Builder, form: ResidualForm, outputs: Index, bias: Index | None
) -> list[tuple[Affine, int]]:
    """Terms as in ``ResidualForm``; returns what is to be squared: all squares share one cone (e + 1, e - 1, 2 q / root)
    with root^2 e >= |q|^2."""
    entries = np.arange(outputs.size)
    parts = [(entries, outputs, form.slope.ravel())]
    if bias is not None:
        parts.append((entries, bias, form.slope.ravel()))
    for price, sign in ((form.above, -1.0), (form.below, 1.0)):
        if math.isfinite(price):
            part = builder.variables(outputs.size)
            builder.nonnegative(Affine.make(np.zeros(outputs.size), entries, part, 1.0))
            if price > 0:
                builder.cost(part, price * form.weight.ravel())
            parts.append((entries, part, np.full(outputs.size, sign)))
    rows, columns, values = (np.concatenate([part[k] for part in parts]) for k in range(3))
    constant = form.intercept.ravel()
    if form.quadratic:
        root = np.sqrt(form.weight.ravel())
        return [(Affine.make(root * constant, rows, columns, root[rows] * values), outputs.size)]
    builder.zero(Affine.make(constant, rows, columns, values))
    return []


def _add_logarithms(builder: Builder, form: ExponentialForm, outputs: Index, bias: Index | None) -> None:
    """Terms as in ``ExponentialForm``: cost weight . t with z_i >= exp(e_i - t) and the z_i of a term at most one together."""
    terms, exponents = form.weight.size, form.term.size
    t, z = builder.variables(terms), builder.variables(exponents)
    builder.cost(t, form.weight)
    builder.nonnegative(Affine.make(np.ones(terms), form.term, z, -1.0))
    every = np.arange(exponents)
    rows = [3 * form.rows, 3 * every, 3 * every + 2]
    columns = [outputs[form.entries], t[form.term], z]
    values = [form.slopes, np.full(exponents, -1.0), np.ones(exponents)]
    if bias is not None:
        rows.append(3 * form.rows)
        columns.append(bias[form.entries])
        values.append(form.slopes)
    constant = np.tile([0.0, 1.0, 0.0], exponents)
    builder.exponential(Affine.make(constant, np.concatenate(rows), np.concatenate(columns), np.concatenate(values)))


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
    _, penalty = parted(problem.loss)
    moved, values, squares = outputs, [], 0.0
    if penalty is not None:
        assert isinstance(problem.loss, OutputBias)
        bias = problem.loss.bias(outputs, problem.targets)
        moved = outputs + bias[:, None]
        values.append(bias)
        squares += penalty * float(bias @ bias)
    squared = (penalty or 0.0) > 0
    form, logarithms = residual_form(problem), exponential_form(problem)
    if form is not None:
        q, over, under = form.parts(moved)
        values += [part.ravel() for price, part in ((form.above, over), (form.below, under)) if math.isfinite(price)]
        squares += float(np.sum(form.weight * q**2)) if form.quadratic else 0.0
        squared = squared or form.quadratic
    else:
        assert logarithms is not None, "loss_refusal comes first"
        exponents = logarithms.exponents(moved)
        t = logarithms.logarithms(exponents)
        values += [t, np.exp(exponents - t[logarithms.term])]
    if squared:
        values.append(np.array([squares / _unit(problem)]))
    return np.concatenate(values) if values else np.zeros(0)
