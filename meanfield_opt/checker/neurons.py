"""Replay of the bound over neurons: any activation with rigorous ranges, few inputs, under a width.

With h = A theta and c(h) <= |theta|^2 the excess is (1 / 4 l2) sup G, G(theta) = |Z phi(A theta)|^2 - tau |theta|^2, attained at
some theta of least norm. The proof is a number T >= 0: here boxes of theta are cut until G <= T is shown on each (``boxes``).

Outside of a ball nothing has an excess: its radius follows from the range of phi where that is bounded, and from a proof for the
homogeneous limit of phi (``tail``) where it is not. An odd phi makes G even: half of the ball is enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError
from ..geometry import FactorGeometry
from ..problem import TwoLayerProblem
from ..rounding import sum_upper, up
from .bounds import tau_bounds
from .boxes import NeuronForm, box_bounds
from .codec import decode_float
from .envelope import excess_upper
from .tail import replay_tail

Array = NDArray[np.float64]

MOST_PARAMETERS = 6
#: boxes times samples (and outputs times weights, if those are more) in all, and in one go
MOST_WORK, AT_ONCE = 4_000_000_000, 60_000
#: products of dual points and rows held
MOST_PRODUCTS = 20_000_000


def neuron_form(problem: TwoLayerProblem, dual: Array, cost: float | None) -> NeuronForm:
    """The form; ``cost``: neurons of larger |theta|^2 are known to have no excess. CertificateError where there is none."""
    space, phi = problem.geometry, problem.activation
    if not isinstance(space, FactorGeometry) or space.factor.shape[1] > MOST_PARAMETERS or problem.width is None:
        raise CertificateError(f"the bound over neurons needs a width and at most {MOST_PARAMETERS} weights a neuron.")
    if dual.shape != problem.targets.shape or not np.isfinite(dual).all():
        raise CertificateError("the dual point is not a finite array of the shape of the targets.")
    if dual.size * space.factor.shape[1] ** 2 > MOST_PRODUCTS:
        raise CertificateError("the bound over neurons takes fewer samples and outputs.")
    tau, _ = tau_bounds(problem)
    with np.errstate(all="ignore"):
        if cost is None:
            (low,), (high,) = phi.bound_on(np.array([-math.inf]), np.array([math.inf]))
            sizes = up(np.abs(dual) * max(abs(float(low)), abs(float(high))))
            cost = float(up(sum_upper(up(np.square(sum_upper(sizes, axis=1)))) / tau)) if tau > 0 else math.inf
        radius = float(up(up(np.sqrt(up(cost)))))
        form = NeuronForm(phi, space.factor, dual, tau, radius)
        finite = np.isfinite(form.first_order).all() and np.isfinite(form.second_order).all()
    if not (0.0 <= radius < 1e100 and tau > 0 and finite):
        raise CertificateError("the neurons that matter are not bounded.")
    return form


def work_of(form: NeuronForm, boxes: int) -> int:
    """Numbers that a bound on so many boxes handles."""
    return boxes * int(max(form.rows.shape[0], 2 * form.second_order.shape[1]))


def boxes_at_once(form: NeuronForm) -> int:
    """As many as fit into a processor's memory."""
    return max(1, AT_ONCE // work_of(form, 1))


def examined(form: NeuronForm, top: float) -> bool:
    """Whether G <= top is proved for every neuron, by cells cut until it is on each."""
    if not 0.0 <= top < math.inf:
        return False
    done, step = 0, boxes_at_once(form)
    stack = [form.first]
    with np.errstate(all="ignore"):
        while stack:
            cells = stack.pop()
            if cells.size > step:
                stack.append(cells[slice(step, None)])
                cells = cells[slice(step)]
            done += work_of(form, cells.size)
            if done > MOST_WORK:
                return False
            bound, value = box_bounds(form, cells, top)
            if (value > top).any():  # a neuron beyond the claim: no subdivision would help
                return False
            left = ~(bound <= top)  # NaN is not proved
            if left.any():
                cut = cells[left].halves(form.rows)
                if cut is None:
                    return False
                stack.append(cut)
    return True


def replay(problem: TwoLayerProblem, dual: Array, claimed: float, artefact: dict[str, Any]) -> float:
    """kappa from T: {"top": T} and, for a phi that grows, {"tail": a proof for its limit}."""
    if set(artefact) not in ({"top"}, {"top", "tail"}):
        raise CertificateError("the bound over neurons takes a number and at most a proof for the limit.")
    top = decode_float(artefact["top"], "the number claimed")
    kappa = excess_upper(problem, top)
    if not 0.0 <= kappa <= claimed:
        raise CertificateError(f"the bound over neurons gives {kappa!r} at best, not {claimed!r}.")
    dual = np.asarray(dual, dtype=np.float64)
    cost = replay_tail(problem, dual, artefact["tail"]) if "tail" in artefact else None
    if not examined(neuron_form(problem, dual, cost), top):
        raise CertificateError("some box of neurons claims less than can be shown.")
    return kappa
