"""What is listed about backends, and the benchmark that compares them; solvers named to cvxpy; widths and discretisation."""

from __future__ import annotations

import pytest
from backend_cases import NAMES

import meanfield_opt as mfo
from meanfield_opt.bench import backend_table, bench
from meanfield_opt.losses.logistic import Logistic


def test_backend_table_has_a_row_a_backend() -> None:
    rows = backend_table()
    assert [row["name"] for row in rows] == NAMES
    by_name = {row["name"]: row for row in rows}
    assert "psd" in by_name["clarabel"]["cones"]
    assert "psd" not in by_name["highs"]["cones"]
    assert "arbitrary data" in by_name["closed_form"]["refuses"]
    assert all(row["licence"] for row in rows if not row["note"])


def test_bench_certifies_what_it_reports() -> None:
    rows = bench(mfo.problems.hypercube(2), backends=["closed_form", "clarabel", "cvxpy"])
    assert {row["backend"] for row in rows} == {"closed_form", "clarabel", "cvxpy"}
    for row in rows:
        assert row["verdict"] == "proved"
        assert row["gap"] < 1e-6
        assert row["seconds"] >= 0
    refused = bench(mfo.problems.hypercube(2, loss="logistic"), backends=["closed_form"])[0]
    assert refused["verdict"] == ""
    assert "closed form" in refused["note"]


@pytest.mark.parametrize("solver", ["SCS", "CVXOPT"])
def test_cvxpy_solvers_by_name(solver: str) -> None:
    if solver == "CVXOPT":
        pytest.importorskip("cvxopt")
    problem = mfo.problems.hypercube(2)
    solution = mfo.solve(problem, "cvxpy", solver=solver)
    assert solution.energy == pytest.approx(0.08739560920082658, rel=1e-5)
    assert solver in solution.stats["solver_words"]
    with pytest.raises(mfo.InputError, match="solver must be one of"):
        mfo.solve(problem, "cvxpy", solver="BEST")


def test_cvxpy_takes_losses_without_a_conic_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their own expression, like the loss of a user that writes one."""
    monkeypatch.setattr(Logistic, "exponential_form", lambda self, targets: None)
    problem = mfo.problems.hypercube(2, loss="logistic", lambda1=0.05, lambda2=0.05)
    with pytest.raises(mfo.RefusalError, match="neither a residual nor an exponential form"):
        mfo.solve(problem, "clarabel")
    solution = mfo.solve(problem, "cvxpy")
    assert solution.stats["sampled_gap"] < 1e-5
    certificate = mfo.certify(problem, solution)
    assert certificate.lower_bound <= solution.energy


def test_tanh_at_a_width_by_discretisation() -> None:
    problem = mfo.problems.hypercube(2, activation="tanh", width=4.0, lambda1=0.05, lambda2=0.05)
    assert mfo.solve(problem, "clarabel").energy == pytest.approx(0.42728960, rel=1e-4)


def test_bench_shows_what_ran_and_says_why_the_rest_did_not(capsys: pytest.CaptureFixture[str]) -> None:
    from meanfield_opt.cli import main

    task = ["bench", "hypercube", "--latents", "2", "--backends"]
    assert main([*task, "closed_form,copositive"]) == 0
    shown = capsys.readouterr().out
    assert "proved" in shown
    assert "standard quadratic programs only" in " ".join(shown.split())
    assert "nan" not in shown
    assert main([*task, "copositive"]) == 2  # nothing was compared
    assert "not run" in capsys.readouterr().out
