"""The search of the envelope engine on several threads, stopped and taken up again; damaged and false files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.certificate import ENGINES, Limits, Outcome, Question, envelope_checkpoint
from meanfield_opt.certificate.envelope_checkpoint import Saved
from meanfield_opt.checker.envelope import DEEPEST, children, corners_of
from meanfield_opt.checker.replays import REPLAYS

RNG = np.random.default_rng(6)
PROBLEM = mfo.problems.dataset(
    RNG.standard_normal((10, 2)), RNG.standard_normal((10, 2)), activation="tanh", lambda1=0.3, lambda2=0.3, width=3.0
)
DUAL = 0.5 * PROBLEM.targets


def prove(checkpoint: Path | None = None, workers: int = 2, target: float = 2e-2) -> Outcome:
    limits = Limits(60.0, target, workers, checkpoint=None if checkpoint is None else str(checkpoint))
    return ENGINES.get("envelope").prove(Question(PROBLEM, DUAL), limits)


def test_threads_change_nothing() -> None:
    one, three = prove(workers=1), prove(workers=3)
    assert one.proof is not None
    assert three.proof is not None
    assert one.proof.bound == three.proof.bound
    assert one.proof.artefact == three.proof.artefact


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prove()
    assert whole.proof is not None
    assert whole.complete
    monkeypatch.setattr("meanfield_opt.certificate.envelope_search.MOST_CORNERS", 40)
    part = prove(tmp_path / "search")
    assert part.proof is not None
    assert not part.complete
    assert part.proof.bound > whole.proof.bound
    assert list(tmp_path.iterdir())
    monkeypatch.undo()
    rest = prove(tmp_path / "search")
    assert rest.proof is not None
    assert rest.complete
    assert rest.proof.bound == pytest.approx(whole.proof.bound, rel=1e-6)
    assert REPLAYS["envelope"](PROBLEM, DUAL, rest.proof.bound, rest.proof.artefact) <= rest.proof.bound


def saved() -> Saved:
    root = (0, (0, 0))
    boxes = [*children(root)[1:], *children(children(root)[0])]
    keys = sorted({key for box in boxes for key in corners_of(box)})
    rows = np.array([[depth, *index] for depth, index in boxes])
    return Saved(rows, np.array(keys), np.zeros((len(keys), 3)))


def test_a_false_file_is_refused_even_with_its_digest_right(tmp_path: Path) -> None:
    file, good = str(tmp_path / "search"), saved()
    envelope_checkpoint.save(file, "q" * 16, good)
    again = envelope_checkpoint.load(file, "q" * 16, 2, 3, 0)
    assert again is not None
    np.testing.assert_array_equal(again.boxes, good.boxes)
    assert envelope_checkpoint.load(file, "r" * 16, 2, 3, 0) is None
    deep = good.boxes.copy()
    deep[0, 0] = DEEPEST + 1
    for bad in (
        replace(good, boxes=good.boxes[1:]),
        replace(good, boxes=deep),
        replace(good, boxes=good.boxes[:, :2]),
        replace(good, boxes=np.array(3)),
        replace(good, corners=good.corners[1:], tangents=good.tangents[1:]),
        replace(good, tangents=good.tangents[:, :2]),
        replace(good, tangents=np.full_like(good.tangents, np.nan)),
    ):
        envelope_checkpoint.save(file, "q" * 16, bad)
        with pytest.raises(mfo.InputError, match="damaged"):
            envelope_checkpoint.load(file, "q" * 16, 2, 3, 0)
    (path,) = tmp_path.iterdir()
    for content in (b"", b"nothing", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(mfo.InputError, match=r"no checkpoint|damaged"):
            envelope_checkpoint.load(file, "q" * 16, 2, 3, 0)
