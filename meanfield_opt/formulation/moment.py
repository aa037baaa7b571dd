"""The problem on a dictionary as a semidefinite program in the masses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..measure import Measure
from ..problem import TwoLayerProblem
from ..validate import real_array
from .base import MOST_ORDER, Formulation, KernelEntries, Lifted, add_fit, fit_dual, fit_point
from .group_lasso import NEGLIGIBLE
from .loss_terms import loss_refusal
from .program import Affine, Builder, ConicAnswer, ConicProgram

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MomentProgram(Formulation):
    """min l1 sum c_j m_j + R(sum m_j phi_j phi_j^T) over m >= 0 (and sum m <= M under a width); a PSD block of order
    P + d_Y. The same optimum as ``GroupLasso``; kept because it shows the kernel and its multiplier G."""

    atoms: Array
    name: str = field(default="moment", init=False)
    bound: str = field(default="upper", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "atoms", real_array(self.atoms, "the dictionary", ndim=2))

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        if self.atoms.shape[1] != problem.n_samples:
            return f"the dictionary is over {self.atoms.shape[1]} samples, the problem over {problem.n_samples}."
        if problem.n_samples + problem.n_outputs > MOST_ORDER:
            return f"the PSD block would have order {problem.n_samples + problem.n_outputs}; {MOST_ORDER} is the limit."
        return loss_refusal(problem)

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        p, j = problem.n_samples, self.atoms.shape[0]
        features = problem.features(self.atoms)
        builder = Builder(f"moment program on {j} atoms")
        m = builder.variables(j)
        builder.cost(m, problem.lambda1 * problem.geometry.cost(self.atoms))
        builder.nonnegative(Affine.make(np.zeros(j), np.arange(j), m, 1.0))
        if problem.width is not None:
            builder.nonnegative(Affine.make([problem.width], 0, m, -1.0))
        rows, columns = np.tril_indices(p)
        values = features[:, rows] * features[:, columns]
        atom, entry = np.nonzero(values)
        add_fit(builder, problem, KernelEntries(rows[entry], columns[entry], m[atom], values[atom, entry]))
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        if not np.array_equal(measure.atoms, self.atoms):
            raise InputError("the moment program holds measures on its own dictionary only.")
        features = problem.features(self.atoms)
        kernel = (features.T * measure.masses) @ features
        return np.concatenate([measure.masses, fit_point(problem, kernel)])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        masses = np.maximum(answer.x[: self.atoms.shape[0]], 0.0)
        if problem.width is not None and masses.sum() > problem.width:
            masses *= problem.width / masses.sum()
        keep = masses > NEGLIGIBLE * max(float(masses.max(initial=0.0)), 1e-300)
        dual = None if answer.y is None else fit_dual(problem, self.lower(problem), answer.y)
        return Lifted(Measure(self.atoms[keep], masses[keep]), dual)
