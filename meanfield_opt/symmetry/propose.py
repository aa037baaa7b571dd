"""Run a small conic program whose answer is only a proposal."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from ..errors import SolveError

log = logging.getLogger(__name__)


def propose(program: Any, what: str) -> None:
    """Solve a cvxpy problem by Clarabel; SolveError unless it ends with a point. An inaccurate point is logged: whoever
    uses it checks it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cvxpy's remark on accuracy; the status says it too
        program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    if program.status == "optimal_inaccurate":
        log.info("the %s program was solved to reduced accuracy", what)
    elif program.status != "optimal":
        raise SolveError(f"the {what} program ended with status {program.status!r}; try another formulation.")
