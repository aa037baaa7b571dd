"""MOSEK without a licence: its model is written to a file, read back by other code and solved by another solver; the
multipliers of those data are put into MOSEK's documented convention and must translate to ours.

MOSEK's dual (its manual, "Semidefinite Optimization", duality): with c.x + sum <barC_j, X_j> minimised over
l <= A x + <barA, X> <= u and F x + g in D, a dual point has y, doty in D*, A^T y + F^T doty = c,
barS_j = barC_j - sum_i y_i barA_ij PSD, and y <= 0 where only u is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_cases import BACKENDS, SOLVERS, planar, run_or_skip, solve_or_skip

import meanfield_opt as mfo
from meanfield_opt.errors import LicenseError
from meanfield_opt.formulation import (
    ArrangementSDP,
    ConicLimits,
    ConicProgram,
    DNNLift,
    Formulation,
    GroupLasso,
    MomentProgram,
    ParriloLift,
)
from meanfield_opt.formulation.cbf import read_cbf
from meanfield_opt.formulation.symmetric import svec_size, svec_weights

VALUE = 0.058317072800551


def aligned(**extra: Any) -> mfo.TwoLayerProblem:
    return mfo.problems.hypercube(2, geometry="aligned", alignment=0.5, **extra)


def dictionary(form: Callable[[Any], Formulation]) -> Callable[[mfo.TwoLayerProblem], Formulation]:
    def make(problem: mfo.TwoLayerProblem) -> Formulation:
        known = aligned().known
        assert known is not None
        assert known.measure is not None
        return form(known.measure().atoms)

    return make


MODELS: dict[
    str, tuple[Callable[[], mfo.TwoLayerProblem], Callable[[mfo.TwoLayerProblem], Formulation], float | None]
] = {
    "group lasso": (aligned, dictionary(GroupLasso), VALUE),
    "group lasso, hinge": (lambda: aligned(loss="hinge"), dictionary(GroupLasso), None),
    "group lasso, huber": (lambda: aligned(loss="huber"), dictionary(GroupLasso), None),
    "group lasso, logistic": (lambda: aligned(loss="logistic"), dictionary(GroupLasso), None),
    "moment, logistic": (lambda: aligned(loss="logistic"), dictionary(MomentProgram), None),
    "group lasso, width": (lambda: aligned(width=0.3), dictionary(GroupLasso), None),
    "moment": (aligned, dictionary(MomentProgram), VALUE),
    "dnn lift": (aligned, lambda problem: DNNLift(), VALUE),
    "parrilo": (aligned, lambda problem: ParriloLift(), VALUE),
    "arrangement": (lambda: planar(6, seed=3), lambda problem: ArrangementSDP.enumerated(problem), None),
}


def model_of(label: str) -> ConicProgram:
    make, form, _ = MODELS[label]
    problem = make()
    return form(problem).lower(problem)


class DocumentedTask:
    """The part of a MOSEK task that holds a dual solution, filled from multipliers of the file's own data."""

    def __init__(self, file: ConicProgram, y: Any, program: ConicProgram) -> None:
        cones = program.cones
        psd = sum(svec_size(n) for n in cones.psd)
        assert file.cones.zero == cones.zero + psd
        assert file.cones.nonnegative == cones.nonnegative
        assert file.cones.second_order == cones.second_order
        assert file.cones.psd == cones.psd
        assert file.cones.exponential == cones.exponential
        start = file.cones.zero
        less = y[start : start + cones.nonnegative]  # of u - A x >= 0
        self._y = np.concatenate([y[: cones.zero], -less, y[cones.zero : start]])
        self._doty, self._bars = [], []
        accs: list[Any] = []
        for kind, rows, size in file.cones.blocks():
            if kind == "second_order":
                self._doty.append(y[rows])
            elif kind == "exponential":  # MOSEK's cone is (z, y, x)
                accs.append(y[rows][::-1])
            elif kind == "psd":
                self._bars.append(y[rows] / svec_weights(size))
        self._doty += accs

    def gety(self, whence: Any) -> Any:
        return self._y

    def getbarsj(self, whence: Any, j: int) -> Any:
        return self._bars[j]

    def getaccdoty(self, whence: Any, k: int) -> Any:
        return self._doty[k]


@pytest.mark.parametrize("other", ["clarabel", "scs"])
@pytest.mark.parametrize("label", MODELS)
def test_the_model_file_solved_elsewhere_has_the_value_and_our_multipliers(
    label: str, other: str, tmp_path: Path
) -> None:
    pytest.importorskip("mosek")
    from meanfield_backends.mosek_ import SOLVER, blocks_of, multipliers

    program = model_of(label)
    path = tmp_path / "model.cbf"
    SOLVER.write(program, path)
    file = read_cbf(path)
    limits = ConicLimits(1e-9 if other == "clarabel" else 1e-7)
    answer = run_or_skip(SOLVERS[other], file, limits)
    if other == "scs" and answer.status is mfo.Status.ITERATION_LIMIT:
        pytest.skip("SCS met its iteration limit on this model")
    direct = run_or_skip(SOLVERS["clarabel"], program)
    accuracy = 2e-6 if other == "clarabel" else 2e-4
    value = program.objective(direct.x)
    assert file.objective(answer.x) == pytest.approx(value, rel=accuracy)
    if MODELS[label][2] is not None:
        assert value == pytest.approx(MODELS[label][2], rel=2e-6)
    # x comes first in the file, so that the point is one of the program, too
    x = answer.x[: program.c.size]
    assert program.violation(x) < 1e-4 * max(1.0, np.abs(x).max())
    task = DocumentedTask(file, answer.y, program)
    y = multipliers(task, None, program, blocks_of(program))
    assert program.dual_violation(y) < 1e-4 * max(1.0, np.abs(y).max())
    assert program.dual_objective(y) == pytest.approx(value, rel=20 * accuracy, abs=1e-5)


@pytest.mark.parametrize("label", ["group lasso", "dnn lift", "group lasso, logistic"])
def test_wrong_signs_would_be_seen(label: str, tmp_path: Path) -> None:
    """The law above has teeth: with any one kind of multiplier negated it fails."""
    pytest.importorskip("mosek")
    from meanfield_backends.mosek_ import SOLVER, blocks_of, multipliers

    program = model_of(label)
    SOLVER.write(program, tmp_path / "model.cbf")
    file = read_cbf(tmp_path / "model.cbf")
    task = DocumentedTask(file, run_or_skip(SOLVERS["clarabel"], file).y, program)
    y = multipliers(task, None, program, blocks_of(program))
    for kind, rows, _ in program.cones.blocks():
        if np.abs(y[rows]).max() > 1e-6:
            wrong = y.copy()
            wrong[rows] *= -1.0
            assert program.dual_violation(wrong) > 1e-3 * np.abs(y[rows]).max(), kind


def test_other_formats_are_written_or_refused(tmp_path: Path) -> None:
    pytest.importorskip("mosek")
    from meanfield_backends.mosek_ import SOLVER

    program = model_of("group lasso")
    SOLVER.write(program, tmp_path / "model.ptf")
    text = (tmp_path / "model.ptf").read_text()
    assert "affine conic constraints: 5" in text or "affine conic constraints" in text
    assert text.count("QUAD") >= len(program.cones.second_order)
    with pytest.raises(mfo.InputError, match="writes"):
        SOLVER.write(program, tmp_path / "model.xyz")


def test_every_word_of_mosek_is_mapped() -> None:
    mosek = pytest.importorskip("mosek")
    from meanfield_backends.mosek_ import STATUSES, TERMINATIONS

    assert {str(word).rsplit(".", 1)[-1] for word in mosek.solsta.members()} <= set(STATUSES)
    ends = {str(code).rsplit(".", 1)[-1] for code in mosek.rescode.members()}
    trm = {word for word in ends if word.startswith("trm_")}
    mip = {
        word for word in trm if "mio" in word or "num_max" in word
    }  # of mixed-integer programs, which are never given
    assert trm - mip <= set(TERMINATIONS)
    assert set(TERMINATIONS) <= ends | {"ok"}


def test_missing_licence_is_one_line_with_exit_code_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mosek")
    monkeypatch.setenv("MOSEKLM_LICENSE_FILE", str(tmp_path / "none.lic"))
    with pytest.raises(LicenseError) as caught:
        mfo.solve(mfo.problems.hypercube(2), "mosek")
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert "mosek.lic" in str(caught.value)


def test_the_licence_state_is_told_without_importing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    solver = SOLVERS["mosek"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MOSEKLM_LICENSE_FILE", raising=False)
    assert "no licence file found" in solver.licence()
    monkeypatch.setenv("MOSEKLM_LICENSE_FILE", str(tmp_path / "none.lic"))
    assert "not there" in solver.licence()
    (tmp_path / "mosek").mkdir()
    (tmp_path / "mosek" / "mosek.lic").write_text("")
    monkeypatch.delenv("MOSEKLM_LICENSE_FILE")
    assert "licence file found" in solver.licence()


@pytest.mark.mosek_license
def test_mosek_with_a_licence() -> None:
    """The first thing to run with a licence; the rest of this suite then runs with it, too."""
    if not BACKENDS.get("mosek").availability().installed:
        pytest.skip("mosek is not installed")
    solution = solve_or_skip(mfo.problems.hypercube(3), "mosek")
    assert solution.energy == pytest.approx(0.17855210486664985, rel=1e-6)
    for label in MODELS:
        program = model_of(label)
        ours, theirs = (run_or_skip(SOLVERS[name], program) for name in ("mosek", "clarabel"))
        assert program.objective(ours.x) == pytest.approx(program.objective(theirs.x), rel=1e-5)
        assert program.dual_violation(ours.y) < 1e-5
        assert program.dual_objective(ours.y) == pytest.approx(program.objective(ours.x), rel=1e-5)


def test_cbf_files_that_cannot_be_read(tmp_path: Path) -> None:
    for text, words in {
        "VER\n3\nOBJSENSE\nMAX\nVAR\n1 1\nF 1\n": "maximisation",
        "VER\n9\n": "version",
        "VER\n3\nCON\n1": "well-formed",
        "INT\n1\n0\n": "section",
    }.items():
        path = tmp_path / "bad.cbf"
        path.write_text(text)
        with pytest.raises(mfo.InputError, match=words):
            read_cbf(path)
    with pytest.raises(mfo.InputError, match="cannot read"):
        read_cbf(tmp_path / "nothing.cbf")
