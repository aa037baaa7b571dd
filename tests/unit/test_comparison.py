"""Comparing trained networks with a certified optimum, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.report import write_report
from meanfield_opt.validation.escape import ascend, improving_neuron
from meanfield_opt.validation.matching import match

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


def best(problem: Any) -> mfo.Solution:
    measure = problem.known.measure()
    return mfo.Solution(problem, measure, problem.dual_point(measure), mfo.Status.SOLVED, "known")


@pytest.fixture(scope="module")
def wide() -> mfo.Comparison:
    problem = mfo.problems.hypercube(2)
    return mfo.compare(problem, best(problem), seeds=3, steps=3000)


@pytest.fixture(scope="module")
def narrow() -> mfo.Comparison:
    problem = mfo.problems.hypercube(2)
    return mfo.compare(problem, best(problem), seeds=3, width=3, steps=800, examine=1)


def test_wide_networks_find_the_certified_optimum(wide: mfo.Comparison) -> None:
    assert wide.certificate.verdict == "proved"
    assert (wide.values("gap") > -1e-12).all()  # no network beats a proved bound
    assert wide.reached.any()
    for name, bound in (("distance", 1e-2), ("procrustes", 2e-2)):
        assert (wide.values(name)[wide.reached] < bound).all()
    assert (wide.values("parallelism")[wide.reached] > 0.999).all()
    assert (wide.values("ccgp")[wide.reached] == 1.0).all()
    assert wide.dynamics.gap.shape == (wide.dynamics.steps.size, 3)
    assert (wide.dynamics.gap[-1] < wide.dynamics.gap[0]).all()


def test_narrow_networks_stop_above_it_and_the_added_neuron_frees_them(narrow: mfo.Comparison) -> None:
    assert not narrow.reached.any()
    assert all(s.improving is not None and s.improving.ratio > 1 for s in narrow.seeds)
    (out,) = narrow.escapes
    assert out.control > 0.2 * out.before  # training on alone does not help
    assert out.gaps[-1] < 0.1 * out.control


def test_the_page_stands_alone(narrow: mfo.Comparison, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_report(narrow, file)
    text = file.read_text()
    assert text.count("data:image/png;base64,") == 4
    assert "http" not in text
    assert "0 of 3 networks" in text
    with pytest.raises(mfo.InputError, match="cannot be written"):
        write_report(narrow, tmp_path / "no" / "page.html")
    narrow.save(tmp_path / "c.json")
    body = json.loads((tmp_path / "c.json").read_text())
    assert body["share_reached"] == 0.0
    assert len(body["per_seed"]) == 3
    assert dict(narrow.rows())["seeds within 0.0001 of the bound"] == "0 of 3"


def test_matching_knows_its_own(wide: mfo.Comparison) -> None:
    problem = wide.problem
    own = match(problem, wide.solution.measure, wide.solution.measure)
    assert own.explained == pytest.approx(1.0)
    np.testing.assert_allclose(own.coverage, 1.0)
    rng = np.random.default_rng(0)
    random = mfo.Measure(rng.standard_normal((40, 4)), np.ones(40))
    assert match(problem, random, wide.solution.measure).explained < 0.3


def test_no_neuron_improves_the_optimum() -> None:
    problem = mfo.problems.hypercube(3)
    measure = best(problem).measure
    assert improving_neuron(problem, measure, measure) is None
    theta = ascend(problem, problem.dual_point(measure), 10, 0)
    assert (problem.ratio(problem.dual_point(measure), problem.geometry.preactivation(theta)) <= 1 + 1e-9).all()
    half = mfo.Measure(measure.atoms[:3], measure.masses[:3])
    found = improving_neuron(problem, half, None)
    assert found is not None
    assert found.source == "local search"


def test_refusals() -> None:
    problem, other = mfo.problems.hypercube(2), mfo.problems.hypercube(3)
    with pytest.raises(mfo.InputError, match="another problem"):
        mfo.compare(problem, best(other))
    with pytest.raises(mfo.InputError, match="unknown training option"):
        mfo.compare(problem, best(problem), stepps=3)
    with pytest.raises(mfo.InputError, match="width"):
        mfo.compare(problem, best(problem), width=0)
