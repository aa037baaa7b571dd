"""What a proof takes for granted about the activation and the loss, in words: a hypothesis is said, never hidden."""

from __future__ import annotations

from ..activation import Activation
from ..activations.smooth import PiecewiseMonotone, Sin
from ..activations.symbolic import Symbolic
from ..loss import Loss
from ..problem import TwoLayerProblem

#: smooth, but of sums, products and quotients only
ALGEBRAIC = ("squared_relu", "cubic", "softsign")
ALGEBRA = "sympy reads, differentiates and factors the formula of the activation correctly"
LIBRARY = "numpy's and scipy's elementary functions are within 16 units in the last place"


def assumptions(problem: TwoLayerProblem) -> tuple[str, ...]:
    """One sentence for each hypothesis beyond IEEE arithmetic and the checker's own code.

    Ranges, slopes, ratio, pieces, levels and asymptote of an activation class from outside this package, and the bounds of
    a loss class from outside it, are the author's claims. They are tested at points (``check_activation``), not proved.
    """
    phi, said = problem.activation, []
    if _foreign(phi):
        said.append(
            f"what the class {_name(phi)} declares of the activation {phi.name!r} is true (bound_on, slope_bound_on, ratio_bound, "
            "pieces, levels, asymptote, degree, odd): tested at points, not proved"
        )
    if isinstance(phi, Symbolic):
        said.append(ALGEBRA)
    loss: Loss | None = problem.loss
    smooth = isinstance(phi, PiecewiseMonotone | Sin) and phi.name not in ALGEBRAIC
    while loss is not None:
        if _foreign(loss):
            said.append(
                f"value_upper and dual_lower of the class {_name(loss)} bound the loss {loss.name!r}: not proved"
            )
        smooth = smooth or loss.name in ("logistic", "softmax")
        loss = getattr(loss, "base", None)
    if _foreign(problem.geometry):
        said.append(f"the class {_name(problem.geometry)} encloses patterns and costs: not proved")
    if smooth:
        said.append(LIBRARY)
    return tuple(said)


def _foreign(thing: Activation | Loss | object) -> bool:
    """Whether its class, or one it inherits methods from, comes from outside this package."""
    return any(
        cls.__module__.split(".")[0] not in ("meanfield_opt", "abc", "builtins", "typing")
        for cls in type(thing).__mro__
    )


def _name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
