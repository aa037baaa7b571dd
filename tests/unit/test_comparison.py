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
    assert out.control > 0.95 * out.before  # training on alone does not help
    assert out.gaps[-1] < 0.1 * out.control
    # it is the certificate of the stopped network that refutes it and names the first neuron
    assert out.verdict == "refuted"
    assert out.sources[0] == "certificate"
    assert out.ratios[0] > 1
    for s in narrow.seeds:
        assert 1e-4 < s.control <= s.gap * 1.01
    assert any(s.standing == "stuck" for s in narrow.seeds)


@pytest.mark.slow
def test_a_network_that_stays_where_it_is_until_its_certificate_names_a_neuron() -> None:
    problem = mfo.problems.hypercube(2)
    c = mfo.compare(problem, best(problem), seeds=[6], width=4, steps=8000, examine=1)
    (seed,), (out,) = c.seeds, c.escapes
    assert seed.standing == "stuck"
    assert out.control == pytest.approx(out.before, rel=1e-2)  # pushed, and fallen back to the same energy
    assert out.control > 0.03
    assert out.verdict == "refuted"
    assert set(out.sources) == {"certificate"}
    assert out.gaps[-1] <= 1e-4


def test_the_page_stands_alone(narrow: mfo.Comparison, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_report(narrow, file)
    text = file.read_text()
    assert text.count("data:image/png;base64,") == 4
    assert "http" not in text
    assert "0 of 3 networks" in text
    with pytest.raises(mfo.InputError, match="cannot be written"):
        write_report(narrow, tmp_path / "no" / "page.html")
    with pytest.raises(mfo.InputError, match="cannot be written"):
        narrow.save(tmp_path / "no" / "c.json")
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
    with pytest.raises(mfo.InputError, match="needs a Solution, not Sequential"):
        mfo.compare(problem, torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)))  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="certificate belongs to another"):
        mfo.compare(problem, best(problem), certificate=mfo.certify(other, best(other)))
    with pytest.raises(mfo.InputError, match="options must be"):
        mfo.compare(problem, best(problem), options={"steps": 3})  # type: ignore[arg-type]
    with pytest.raises(mfo.InputError, match="examine"):
        mfo.compare(problem, best(problem), examine=-1)


class Interrupted(Exception):
    pass


def test_an_interrupted_comparison_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(2)
    solution, file = best(problem), tmp_path / "run.pt"
    proof = mfo.certify(problem, solution)
    options: dict[str, Any] = {"seeds": 2, "width": 8, "steps": 300, "examine": 0, "certificate": proof}
    whole = mfo.compare(problem, solution, **options)

    def stop(progress: mfo.TrainingProgress) -> None:
        if progress.step == 200:
            raise Interrupted

    with pytest.raises(Interrupted):
        mfo.compare(problem, solution, **options, checkpoint=str(file), checkpoint_every=130, progress=stop)
    assert torch.load(file, weights_only=True)["step"] == 199  # the last whole step
    resumed = mfo.compare(problem, solution, **options, checkpoint=str(file), checkpoint_every=130)
    np.testing.assert_array_equal(resumed.trained.parameters, whole.trained.parameters)
    np.testing.assert_array_equal(resumed.dynamics.steps, whole.dynamics.steps)
    np.testing.assert_array_equal(resumed.dynamics.gap, whole.dynamics.gap)
    np.testing.assert_array_equal(resumed.dynamics.kernels, whole.dynamics.kernels)
    np.testing.assert_array_equal(resumed.values("gap"), whole.values("gap"))
    other = mfo.problems.hypercube(2, lambda1=0.02)
    with pytest.raises(mfo.InputError, match="another run"):
        mfo.compare(other, best(other), seeds=2, width=8, steps=300, checkpoint=str(file))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_seeds_stop_at_the_certified_gap_they_were_asked_for(precision: str) -> None:
    problem = mfo.problems.hypercube(2)
    c = mfo.compare(
        problem, best(problem), seeds=3, steps=3000, threshold=1e-2, stop_gap=1e-2, check_every=20, precision=precision
    )
    assert (c.values("steps") < 3000).all()
    assert c.reached.all()  # by the rigorous energy, not by the one seen in training
    assert (c.values("gap") > 1e-4).all()


def test_networks_that_do_not_fit_are_refused() -> None:
    problem = mfo.problems.hypercube(2)
    inputs = problem.geometry.n_parameters - 1

    def network(*, outputs: int = 2, width: int = 3, activation: Any = None, dtype: Any = None, taken: int = 0) -> Any:
        torch.manual_seed(0)
        phi = torch.nn.ReLU() if activation is None else activation
        kind = dtype or torch.float64
        first = torch.nn.Linear(taken or inputs, width, dtype=kind)
        return torch.nn.Sequential(first, phi, torch.nn.Linear(width, outputs, bias=False, dtype=kind))

    assert mfo.certify(problem, network(dtype=torch.float32)).lower_bound > 0  # read exactly into float64
    bad = network()
    with torch.no_grad():
        bad[0].weight[0, 0] = torch.nan
    for module, text in (
        (network(outputs=3), "3 outputs"),
        (network(taken=7), "7 inputs"),
        (network(activation=torch.nn.Tanh()), "activation Tanh"),
        (network(activation=torch.nn.Softmax(0)), "activation Softmax"),
        (bad, "NaN"),
        (network(dtype=torch.complex64), "complex"),
        (torch.nn.Linear(inputs, 2), "two-layer"),
    ):
        with pytest.raises(mfo.InputError, match=text):
            mfo.certify(problem, module)
