"""Searches of the input view that are interrupted, resumed, or given a checkpoint that is damaged or false."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from input_view_proofs import problem_of, prove, replay
from numpy.typing import NDArray

from meanfield_opt.certificate import Limits
from meanfield_opt.certificate.bnb import checkpoint
from meanfield_opt.certificate.bnb.driver import search
from meanfield_opt.certificate.bnb.input_view import InputView
from meanfield_opt.checker.input_view import input_form
from meanfield_opt.errors import InputError

Array = NDArray[np.float64]


def test_interrupted_and_resumed(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    a, dual = rng.standard_normal((40, 4)), rng.standard_normal((2, 40))
    problem = problem_of(a, dual)
    full = prove(problem, dual, target=1e-6)
    assert full.proof is not None
    file = str(tmp_path / "search")
    nothing = prove(problem, dual, target=1e-6, seconds=0.0, checkpoint=file)
    assert nothing.proof is None
    assert not nothing.complete
    seen: list[tuple[float, float, int]] = []
    coarse = prove(problem, dual, target=0.3, checkpoint=file, progress=lambda *x: seen.append(x))
    assert coarse.proof is not None
    assert seen
    assert all(upper >= lower for upper, lower, _ in seen)
    assert coarse.proof.bound >= full.proof.bound * (1 - 1e-6)
    replay(problem, dual, coarse)
    resumed = prove(problem, dual, target=1e-6, checkpoint=file)
    assert resumed.proof is not None
    assert replay(problem, dual, resumed) == pytest.approx(full.proof.bound, rel=3e-6)
    # another dual point never resumes from this file
    other = prove(problem, 2 * dual, target=1e-3, checkpoint=file)
    assert other.proof is not None
    assert other.proof.bound >= 2 * full.proof.bound * (1 - 1e-6)


def test_a_resumed_search_keeps_the_bound_and_gets_further(tmp_path: Path) -> None:
    """However short each run is: the bound proved so far is never lost, and the stage at hand is not begun again."""
    rng = np.random.default_rng(6)
    a, dual = rng.standard_normal((40, 4)), rng.standard_normal((2, 40))
    problem = problem_of(a, dual)
    full = prove(problem, dual, target=1e-6)
    assert full.proof is not None
    file = str(tmp_path / "search")
    coarse = prove(problem, dual, target=0.3, checkpoint=file)
    assert coarse.proof is not None
    bounds = [coarse.proof.bound]
    again = prove(problem, dual, target=1e-6, seconds=0.0, checkpoint=file)  # no time at all
    assert again.proof is not None
    assert again.proof.bound <= bounds[0] * (1 + 1e-9)
    assert not again.complete
    replay(problem, dual, again)
    for _ in range(400):
        step = prove(problem, dual, target=1e-6, seconds=0.005, checkpoint=file)
        assert step.proof is not None
        bounds.append(step.proof.bound)
        if step.complete:
            break
    assert step.complete
    assert all(y <= x * (1 + 1e-9) for x, y in itertools.pairwise(bounds))
    assert replay(problem, dual, step) == pytest.approx(full.proof.bound, rel=3e-6)
    coarser = prove(problem, dual, target=0.1, seconds=0.0, checkpoint=file)  # more than asked for is there
    assert coarser.complete
    assert coarser.proof is not None
    assert coarser.proof.bound == pytest.approx(full.proof.bound, rel=3e-6)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    a, dual = rng.standard_normal((12, 3)), rng.standard_normal((2, 12))
    problem, file = problem_of(a, dual), str(tmp_path / "search")
    full = prove(problem, dual, target=1e-6, checkpoint=file)
    assert full.proof is not None
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    for bad in (b"", good[: len(good) // 2], b"PK" + good[9:], b"text"):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="remove it"):
            prove(problem, dual, target=1e-6, checkpoint=file)
    refused = 0
    for at in range(0, len(good), len(good) // 60):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        try:
            same = prove(problem, dual, target=1e-6, seconds=0.0, checkpoint=file)
        except InputError:
            refused += 1
            continue
        assert same.proof is not None  # a byte of the archive that holds nothing
        assert same.proof.bound == full.proof.bound
    assert refused > 40
    path.write_bytes(good)
    with np.load(path) as stored:
        fields = {name: stored[name] for name in stored.files}
    np.savez(path, **{**fields, "proved": 0.5 * fields["proved"]})
    with pytest.raises(InputError, match="damaged"):
        prove(problem, dual, target=1e-6, checkpoint=file)


def test_a_false_checkpoint_proves_nothing_false(tmp_path: Path) -> None:
    """With its digest made right: a level that its partition does not pass, or cones that are not the partition's."""
    rng = np.random.default_rng(6)
    a, dual = rng.standard_normal((12, 3)), rng.standard_normal((2, 12))
    problem, file = problem_of(a, dual), str(tmp_path / "search")
    form = input_form(problem, dual)
    assert form is not None
    view = InputView(form, "0" * 64)
    honest = search(view, Limits(target=0.1, checkpoint=file))
    assert honest.partition is not None
    good = checkpoint.load(file, view.digest)
    assert good is not None
    for bad in (
        replace(good, proved=0.5 * good.best),
        replace(good, proved=0.0),
        replace(good, proved=math.nan),
        replace(good, best=0.1 * good.best, proved=0.2 * good.best),
    ):
        checkpoint.save(file, view.digest, bad)
        for seconds in (0.0, 20.0):
            found = search(view, Limits(seconds=seconds, target=0.1, checkpoint=file))
            assert found.partition is None or found.partition.level >= good.best * (1 - 1e-9)
            assert not (found.complete and found.partition is None)
            checkpoint.save(file, view.digest, bad)
