"""A semidefinite relaxation over the activation cells of the data (Sahiner et al. 2021; theory section 3, (b))."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry import FactorGeometry
from ..measure import Measure
from ..problem import TwoLayerProblem
from .arrangement import enumerate_cells, sample_cells
from .arrangement_orbits import CellOrbits, cell_orbits
from .base import Formulation, KernelEntries, Lifted, add_fit, fit_dual, fit_point, relu_relaxation_refusal
from .extract import atoms_from_patterns
from .program import Affine, Builder, ConicAnswer, ConicProgram
from .symmetric import lower_indices, smat, svec, svec_size

Array = NDArray[np.float64]
Cells = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: sign constraints (P (P + 1) / 2 a cell) beyond which the program is refused
MOST_ROWS = 400_000


@dataclass(frozen=True, eq=False)
class ArrangementSDP(Formulation):
    """min l1 sum_i tr U_i + R(sum_i D_i A U_i A^T D_i), U_i PSD, (2 D_i - I) A U_i A^T (2 D_i - I) >= 0 entrywise.

    A lower bound only if *all* cells are there: ``ArrangementSDP.enumerated`` proves that by exact enumeration,
    ``sampled`` promises nothing and says so (bound = "none"). For K_X = A A^T with few columns. With ``orbits`` the
    cells are one of each orbit of the data's symmetry, and U_i stands for all of its images: the same optimum.
    """

    cells: Cells
    fingerprint: str
    complete: bool
    orbits: CellOrbits | None = None
    name: str = field(default="arrangement_sdp", init=False)
    bound: str = field(default="none", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", "lower" if self.complete else "none")

    @staticmethod
    def enumerated(problem: TwoLayerProblem, *, symmetry: bool = True) -> ArrangementSDP:
        """All cells of the problem's data, enumerated in exact arithmetic; one an orbit where the data have a symmetry."""
        cells = enumerate_cells(_factor(problem))
        orbits = cell_orbits(problem, cells) if symmetry else None
        cells = cells if orbits is None else orbits.cells
        return ArrangementSDP(cells, problem.geometry.fingerprint, True, orbits)

    @staticmethod
    def sampled(problem: TwoLayerProblem, count: int = 100, seed: int = 0) -> ArrangementSDP:
        """The cells of some random directions: no bound."""
        return ArrangementSDP(sample_cells(_factor(problem), count, seed), problem.geometry.fingerprint, False)

    def refusal(self, problem: TwoLayerProblem) -> str | None:
        if not isinstance(problem.geometry, FactorGeometry):
            return "the arrangement program needs inputs given by a factor A (a dataset), with few columns."
        if problem.geometry.fingerprint != self.fingerprint:
            return "these cells belong to other data."
        p = problem.n_samples
        rows = self.cells.shape[0] * p * (p + 1) // 2
        if rows > MOST_ROWS:
            return f"{self.cells.shape[0]} cells give {rows} sign constraints; {MOST_ROWS} is the limit."
        return relu_relaxation_refusal(problem, "the arrangement program", p + problem.n_outputs)

    def lower(self, problem: TwoLayerProblem) -> ConicProgram:
        a = _factor(problem)
        p, r = a.shape
        size = svec_size(r)
        words = "all" if self.complete else "sampled"
        if self.orbits is not None:
            words = f"(one an orbit) of {self.orbits.total}"
        builder = Builder(f"arrangement program, {self.cells.shape[0]} {words} cells")
        u = [builder.symmetric(r) for _ in range(self.cells.shape[0])]
        rows, columns = np.tril_indices(p)
        # (A U A^T)_pq = <sym(a_p a_q^T), U> as a row over svec U
        i, j = lower_indices(r)
        outer = 0.5 * (a[rows][:, i] * a[columns][:, j] + a[rows][:, j] * a[columns][:, i])
        outer = outer * np.where(i == j, 1.0, np.sqrt(2.0))
        trace = problem.lambda1 * svec(np.eye(r))
        kernel_rows, kernel_columns, kernel_variables, kernel_values = [], [], [], []
        for k, (variable, cell) in enumerate(zip(u, self.cells)):
            images = self._images(k)
            builder.cost(variable.indices, len(images) * trace)
            on = cell[rows] & cell[columns]
            count = int(on.sum())
            for image in images:
                # entry (s[p], s[q]) of the cell's own share stands at (p, q)
                back = np.argsort(image)
                i, j = back[rows[on]], back[columns[on]]
                kernel_rows.append(np.repeat(np.maximum(i, j), size))
                kernel_columns.append(np.repeat(np.minimum(i, j), size))
                kernel_variables.append(np.tile(variable.indices, count))
                kernel_values.append(outer[on].ravel())
        add_fit(
            builder,
            problem,
            KernelEntries(
                np.concatenate(kernel_rows).astype(np.int64),
                np.concatenate(kernel_columns).astype(np.int64),
                np.concatenate(kernel_variables),
                np.concatenate(kernel_values),
            ),
        )
        off = rows != columns  # the diagonal is nonnegative because U is PSD
        for variable, cell in zip(u, self.cells):
            builder.psd_variable(variable)
            sign = np.where(cell[rows] == cell[columns], 1.0, -1.0)
            block = sign[off, None] * outer[off]
            height = block.shape[0]
            builder.nonnegative(
                Affine.make(np.zeros(height), np.arange(height)[:, None], variable.indices[None, :], block)
            )
        return builder.build()

    def embed(self, problem: TwoLayerProblem, measure: Measure) -> Array:
        a = _factor(problem)
        theta = problem.geometry.weights(measure.atoms) if measure.neurons is None else measure.neurons
        u = np.zeros((self.cells.shape[0], a.shape[1], a.shape[1]))
        cells, turns, owner = self._every_cell(a.shape[1])
        tolerance = 1e-9 * np.abs(measure.atoms).max(initial=1e-300)
        for h, m, neuron in zip(theta @ a.T, measure.masses, theta):
            fits = (np.where(cells, h, -h) >= -tolerance).all(axis=1)
            if not fits.any():
                raise InputError("a pattern of the measure lies in none of the cells.")
            k = int(np.argmax(fits))
            back, cell = turns[k].T @ neuron, int(owner[k])
            u[cell] += m / len(self._images(cell)) * np.outer(back, back)
        kernel = self._kernel(a, u)
        return np.concatenate([*(svec(block) for block in u), fit_point(problem, kernel)])

    def lift(self, problem: TwoLayerProblem, answer: ConicAnswer) -> Lifted:
        if answer.x is None or answer.y is None:
            return Lifted(None, None, f"the solver returned no point ({answer.words}).")
        a = _factor(problem)
        size = svec_size(a.shape[1])
        program = self.lower(problem)
        dual = fit_dual(problem, program, answer.y)
        if self.orbits is not None and dual is not None:
            dual = self.orbits.group.average(dual)
        blocks = [smat(answer.x[k * size : (k + 1) * size]) for k in range(self.cells.shape[0])]
        traces = np.array([float(np.trace(block)) for block in blocks])
        neurons = []
        for k in np.flatnonzero(traces > 1e-6 * traces.max(initial=1e-300)).tolist():
            _, vectors = np.linalg.eigh(blocks[k])
            lead = vectors[:, -1]
            agree = np.where(self.cells[k], 1.0, -1.0) @ (a @ lead)
            lead = lead if agree >= 0 else -lead
            neurons += [turn @ lead for turn in self._turns(k, a.shape[1])]
        patterns = np.array(neurons).reshape(-1, a.shape[1]) @ a.T
        measure, reason = atoms_from_patterns(problem, patterns, dual, program.objective(answer.x))
        return Lifted(measure, dual, reason)

    def _kernel(self, a: Array, u: Array) -> Array:
        kernel = np.zeros((a.shape[0], a.shape[0]))
        for k, (cell, block) in enumerate(zip(self.cells, u)):
            active = a * cell[:, None]
            share = active @ block @ active.T
            for image in self._images(k):
                kernel += share[np.ix_(image, image)]
        return kernel

    def _images(self, k: int) -> Ints:
        """Permutations of the samples that carry cell k to every cell it stands for, (m, P)."""
        if self.orbits is None:
            return np.arange(self.cells.shape[1], dtype=np.int64)[None]
        return self.orbits.group.elements[self.orbits.images[k]]

    def _turns(self, k: int, parameters: int) -> Array:
        """The same as orthogonal maps of theta, (m, r, r)."""
        return np.eye(parameters)[None] if self.orbits is None else self.orbits.group.turns[self.orbits.images[k]]

    def _every_cell(self, parameters: int) -> tuple[Cells, Array, Ints]:
        """All cells (N, P), the map (N, r, r) that leads to each from the one that stands for it, and which that is."""
        n = self.cells.shape[0]
        images = [self._images(k) for k in range(n)]
        return (
            np.concatenate([cell[image] for cell, image in zip(self.cells, images)]),
            np.concatenate([self._turns(k, parameters) for k in range(n)]),
            np.repeat(np.arange(n), [len(image) for image in images]),
        )


def _factor(problem: TwoLayerProblem) -> Array:
    if not isinstance(problem.geometry, FactorGeometry):
        raise InputError("the arrangement program needs inputs given by a factor A (a dataset).")
    return problem.geometry.factor
