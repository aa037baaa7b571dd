"""Stage by stage refinement of a partition into cones, on several threads, with a valid bound at every stop.

A stage has a level (a bound on the squared ratio) that every cone must pass; the levels descend towards the best value
seen. The tree of the last finished stage is the proof so far: being interrupted never costs more than the stage at hand.
"""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..engine import Limits
from . import checkpoint
from .forest import splice
from .view import ITEM_NODES, Ints, Refined, View

Array = NDArray[np.float64]

log = logging.getLogger(__name__)

MOST_LEAVES = 6_000_000
MOST_POINTS = 40
#: squared levels of the stages relative to the best ratio seen: (1 + gap)^2
GAPS = (8.0, 2.0, 0.5, 0.1, 0.02, 4e-3, 8e-4, 1.6e-4, 3e-5, 6e-6, 1e-6, 2e-7, 4e-8, 8e-9, 1e-9)


@dataclass(frozen=True, eq=False)
class Partition:
    """A finished stage: every leaf of the preorder forest ``ops`` passed the test at ``level``."""

    level: float
    ops: Ints


@dataclass(frozen=True, eq=False)
class Found:
    """The result of a search: the best finished partition, the best point seen with its squared ratio, and ``points``:
    further good and distinct points, one a row, best first. proved: the partition's cones that needed a proof.
    interrupted: by the user, before the stage at hand was finished."""

    partition: Partition | None
    best: float
    point: Array
    points: Array
    complete: bool
    nodes: int
    stages: int
    proved: int
    interrupted: bool = False


@dataclass
class _State:
    ops: Ints
    leaves: Array
    status: NDArray[np.int8]
    best: float
    point: Array
    stage: int
    #: the last finished stage, how many of its cones needed a proof, and the nodes made in this search
    partition: Partition | None = None
    needed: int = 0
    nodes: int = 0
    #: whether status 0 already means the level of ``stage``
    fresh: bool = False
    #: (squared ratio, point) of good points met, for column generation
    seen: list[tuple[float, Array]] = field(default_factory=list)

    def note(self, best: Array) -> None:
        """Remember the best point of one call."""
        if best[0] > self.best:
            self.best, self.point = float(best[0]), best[1:].copy()
        if best[0] > 0.99 * self.best:
            self.seen.append((float(best[0]), best[1:].copy()))
            if len(self.seen) > 2000:
                self.seen = sorted(self.seen, key=lambda pair: -pair[0])[:500]

    def points(self) -> Array:
        """Distinct directions among those remembered, best first."""
        chosen = [self.point / max(float(np.linalg.norm(self.point)), 1e-300)]
        for _, point in sorted(self.seen, key=lambda pair: -pair[0]):
            unit = point / max(float(np.linalg.norm(point)), 1e-300)
            if all(float(unit @ other) < 1.0 - 1e-7 for other in chosen):
                chosen.append(unit)
            if len(chosen) == MOST_POINTS:
                break
        return np.array(chosen)


def search(view: View, limits: Limits) -> Found:
    """Refine until the bound is within ``limits.target`` of the best ratio seen, or the time is up."""
    # compile (or load) the kernel first: a first use must not spend the time that was given for the search
    view.refine(np.zeros((0, view.dimension, view.dimension)), 1.0, 1.0, 1)
    # every stage looks at all rows again at the cones it takes up, so many rows mean fewer stages
    ladder = GAPS if view.rows * view.dimension < 8000 else GAPS[1::2]
    gaps = [gap for gap in ladder if gap > 2.0 * limits.target] + [limits.target]
    with ThreadPoolExecutor(max(1, limits.workers)) as pool:
        state = _resumed(view, limits, gaps, pool) or _begin(view)
        complete = interrupted = False
        try:
            complete = _stages(view, state, limits, gaps, pool)
        except KeyboardInterrupt:
            interrupted = True
    _save(view, state, limits.checkpoint)
    if interrupted and state.partition is None:
        raise KeyboardInterrupt
    found = (state.partition, state.best, state.point, state.points())
    return Found(*found, complete, state.nodes, state.stage, state.needed, interrupted)


def _stages(view: View, state: _State, limits: Limits, gaps: list[float], pool: ThreadPoolExecutor) -> bool:
    """Finish stage after stage; False where a limit stopped it. At every moment the state is whole."""
    saved = time.perf_counter()
    deadline = saved + limits.seconds
    while state.stage < len(gaps):
        gap = gaps[state.stage]
        if not state.fresh:
            state.status[state.status == 0] = -1
        state.fresh = False
        while True:
            todo = np.flatnonzero(state.status < 0)
            level, final = state.best * (1 + gap) ** 2, state.best * (1 + limits.target) ** 2
            if todo.size == 0:
                break
            if time.perf_counter() > deadline or state.leaves.shape[0] > MOST_LEAVES:
                return False
            _round(view, state, todo, level, final, pool, limits.workers, deadline)
            if limits.progress is not None:
                proved = math.inf if state.partition is None else math.sqrt(state.partition.level)
                limits.progress(proved, math.sqrt(state.best), int((state.status < 0).sum()))
            if time.perf_counter() - saved > 20.0:
                _save(view, state, limits.checkpoint)
                saved = time.perf_counter()
        needed = int((~view.outside(state.leaves)).sum())
        state.partition, state.needed, state.stage = Partition(level, state.ops), needed, state.stage + 1
        log.debug("gap %.1e proved with %d leaves", gap, state.leaves.shape[0])
    return True


def _save(view: View, state: _State, file: str | None) -> None:
    if file is not None:
        proved = math.inf if state.partition is None else state.partition.level
        checkpoint.save(file, view.digest, checkpoint.Saved(state.ops, state.leaves, state.best, state.point, proved))


def _resumed(view: View, limits: Limits, gaps: list[float], pool: ThreadPoolExecutor) -> _State | None:
    """The saved state, and the saved bound, once every leaf has been tested again (which is not counted as search time)."""
    found = None if limits.checkpoint is None else checkpoint.load(limits.checkpoint, view.digest)
    if found is None:
        return None
    state = _State(found.ops, found.leaves, _untested(view, found.leaves), max(found.best, 1e-250), found.point, 0)
    state.stage = sum(state.best * (1 + gap) ** 2 >= found.proved * (1 - 1e-12) for gap in gaps)
    final = state.best * (1 + limits.target) ** 2
    if state.stage < len(gaps):
        _retest(view, state, state.best * (1 + gaps[state.stage]) ** 2, final, pool)
        state.fresh = True
    if not math.isfinite(found.proved):
        return state
    status = state.status.copy()
    _retest(view, state, found.proved, min(final, found.proved), pool)
    whole = not (state.status < 0).any()
    state.status = status
    if not whole:
        state.stage = min(state.stage, len(gaps) - 1)
    if whole:
        state.partition, state.needed = Partition(found.proved, state.ops), int((~view.outside(state.leaves)).sum())
    return state


def _retest(view: View, state: _State, level: float, final: float, pool: ThreadPoolExecutor) -> None:
    """Test each open leaf as it is, without cutting it."""
    open_ = np.flatnonzero(state.status < 0)
    chunks = [open_[i : i + 512] for i in range(0, open_.size, 512)]

    def work(chunk: NDArray[np.intp]) -> tuple[NDArray[np.int8], list[Array]]:
        status, best, done = np.full(chunk.size, -1, np.int8), [], 0
        while done < chunk.size:
            result = view.refine(state.leaves[chunk[done:]], level, final, 1)
            if result.done == 0:
                break
            ends = result.spans[: result.done, 1]
            uncut = np.diff(ends, prepend=0) == 1
            status[done : done + result.done] = np.where(uncut, result.status[ends - 1], -1)
            best.append(result.best)
            done += result.done
        return status, best

    for chunk, (status, best) in zip(chunks, pool.map(work, chunks)):
        state.status[chunk] = status
        for point in best:
            state.note(point)


def _begin(view: View) -> _State:
    best, point = view.start()
    ops, leaves = view.roots()
    # a positive floor keeps the levels meaningful when nothing responds at all
    return _State(ops, leaves, _untested(view, leaves), max(best, 1e-250), point, 0)


def _untested(view: View, leaves: Array) -> NDArray[np.int8]:
    """The status of leaves before any test: done (1) where none is needed, open (-1) elsewhere."""
    return np.where(view.outside(leaves), 1, -1).astype(np.int8)


def _round(
    view: View,
    state: _State,
    todo: NDArray[np.intp],
    level: float,
    final: float,
    pool: ThreadPoolExecutor,
    workers: int,
    deadline: float,
) -> None:
    """One pass over (some of) the open leaves."""
    count = min(todo.size, 4096 * max(1, workers))
    per_chunk = max(1, min(512, -(-count // (4 * max(1, workers)))))
    chunks = [todo[i : i + per_chunk] for i in range(0, count, per_chunk)]

    def work(chunk: NDArray[np.intp]) -> Refined | None:
        if time.perf_counter() > deadline:
            return None
        return view.refine(state.leaves[chunk], level, final, ITEM_NODES)

    results = list(pool.map(work, chunks))
    treated: list[NDArray[np.intp]] = []
    ops, leaves, status, op_counts, leaf_counts = [], [], [], [], []
    for chunk, result in zip(chunks, results):
        if result is None or result.done == 0:
            continue
        treated.append(chunk[: result.done])
        spans = result.spans[: result.done]
        op_counts.append(np.diff(spans[:, 0], prepend=0))
        leaf_counts.append(np.diff(spans[:, 1], prepend=0))
        ops.append(result.ops[: spans[-1, 0]])
        leaves.append(result.leaves[: spans[-1, 1]])
        status.append(result.status[: spans[-1, 1]])
        state.note(result.best)
    if not treated:
        return
    items = np.concatenate(treated)
    new_ops = np.concatenate(ops)
    at = np.flatnonzero(state.ops == 0)[items]
    counts = np.concatenate(leaf_counts)
    made = (
        splice(state.ops, at, np.concatenate(op_counts), new_ops),
        splice(state.leaves, items, counts, np.concatenate(leaves)),
        splice(state.status, items, counts, np.concatenate(status)),
    )
    state.ops, state.leaves, state.status = made
    state.nodes += int(new_ops.size)
