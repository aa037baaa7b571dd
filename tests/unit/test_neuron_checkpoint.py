"""The search over neurons, stopped and taken up again; files that are damaged, false, or of other boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question, neuron_checkpoint
from meanfield_opt.checker.frames import Cells, joined
from meanfield_opt.checker.neurons import neuron_form
from meanfield_opt.checker.replays import REPLAYS

RNG = np.random.default_rng(4)
X, Y = RNG.standard_normal((12, 2)), np.sign(RNG.standard_normal((12, 1)))
PROBLEM = mfo.problems.dataset(X, Y, activation="tanh", lambda1=0.2, lambda2=0.2, width=3.0)
DUAL = 0.7 * PROBLEM.targets


def prove(seconds: float, checkpoint: Path | None, target: float = 1e-6) -> Outcome:
    limits = Limits(seconds=seconds, target=target, checkpoint=None if checkpoint is None else str(checkpoint))
    return ENGINES.get("neurons").prove(Question(PROBLEM, DUAL, movable=False), limits)


def cells_after(cuts: int) -> tuple[Cells, Cells, np.ndarray]:
    """(boxes after some rounds of cutting a part of them, the first boxes, the rows)."""
    form = neuron_form(PROBLEM, DUAL, None)
    cells, rng = form.first, np.random.default_rng(1)
    for _ in range(cuts):
        chosen = rng.random(cells.size) < 0.6
        cut = cells[chosen].halves(form.rows) if chosen.any() else None
        cells = cells if cut is None else joined([cells[~chosen], cut])
    return cells, form.first, form.rows


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prove(60.0, None)
    assert whole.proof is not None
    assert whole.complete
    file = tmp_path / "search"
    monkeypatch.setattr("meanfield_opt.certificate.neuron_search.MOST_LEAVES", 300)
    part = prove(60.0, file)
    assert not part.complete
    (saved,) = tmp_path.iterdir()
    monkeypatch.undo()
    rest = prove(60.0, file)
    assert rest.complete
    assert rest.proof is not None
    assert rest.proof.bound == pytest.approx(
        whole.proof.bound, abs=1e-5 * PROBLEM.loss.dual_value(DUAL, PROBLEM.targets)
    )
    assert REPLAYS["neurons"](PROBLEM, DUAL, rest.proof.bound, rest.proof.artefact) <= rest.proof.bound
    assert saved.exists()


def test_only_leaves_of_the_tree_are_taken() -> None:
    for cuts in (0, 1, 5, 9):
        cells, first, rows = cells_after(cuts)
        assert neuron_checkpoint.covers(cells, first, rows)
        shuffled = cells[np.random.default_rng(2).permutation(cells.size)]
        assert neuron_checkpoint.covers(shuffled, first, rows)
    for k in range(0, cells.size, 7):
        assert not neuron_checkpoint.covers(cells[np.arange(cells.size) != k], first, rows)  # a hole
        lo = cells.lo.copy()
        lo[k, 0] = np.nextafter(lo[k, 0], 10.0)
        assert not neuron_checkpoint.covers(Cells(lo, cells.hi, cells.face), first, rows)
    assert not neuron_checkpoint.covers(joined([cells, cells[slice(0, 1)]]), first, rows)
    assert not neuron_checkpoint.covers(joined([cells, first]), first, rows)
    assert not neuron_checkpoint.covers(cells[slice(0, 0)], first, rows)
    nan = Cells(np.full_like(cells.lo, np.nan), cells.hi, cells.face)
    assert not neuron_checkpoint.covers(nan, first, rows)


def test_a_false_file_is_refused_even_with_its_digest_right(tmp_path: Path) -> None:
    cells, first, rows = cells_after(6)
    file = str(tmp_path / "search")
    neuron_checkpoint.save(file, "q" * 16, cells)
    again = neuron_checkpoint.load(file, "q" * 16, first, rows)
    assert again is not None
    assert again.size == cells.size
    assert neuron_checkpoint.load(file, "r" * 16, first, rows) is None
    neuron_checkpoint.save(file, "q" * 16, cells[slice(1, None)])
    with pytest.raises(mfo.InputError, match="damaged"):
        neuron_checkpoint.load(file, "q" * 16, first, rows)
    (path,) = tmp_path.iterdir()
    for content in (b"", b"nothing", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(mfo.InputError, match=r"no checkpoint|damaged"):
            neuron_checkpoint.load(file, "q" * 16, first, rows)
