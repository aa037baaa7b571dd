"""Partitions of R^n into simplicial cones, regenerated from a tree of cuts, and the copositivity test of their leaves.

A cone is n generator rows V; its points are theta = V^T lam, lam >= 0. The roots are the 2^n orthants. A node of the
tree is cut at v = (1 - alpha) v_i + alpha v_j, which replaces v_i in one child and v_j in the other: whatever alpha in
[0, 1] is, the children cover the parent, so the leaves cover R^n by construction. Generators are *defined* by these
recursions in exact arithmetic; the floating generators differ from them by at most ``generator_error`` in each
coordinate, and each view adds what that can change to its bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cone_algebra import copositive_up_to
from .cone_tree import Tree, edge_pairs

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.uint16]

#: rows whose values at all generators are above -NEAR |a|_1 (or below NEAR |a|_1) count as one-sided
NEAR = 1e-13
#: relative slack of a leaf's copositivity test; paid for in the bound
SLACK = 2.0**-40
MOST_PAIRS = 300_000
WORKERS = 2


def generator_error(depth: int) -> float:
    """Bound on |floating - exact| in each coordinate of a generator after ``depth`` cuts (coordinates <= 1 + 2^-20).

    Each cut rounds 1 - alpha (taken as exact then), two products and a sum; errors of the ends enter convexly.
    """
    return 6.0 * 2.0**-53 * (depth + 2)


@dataclass(frozen=True, eq=False)
class Block:
    """Some nodes of one level: which they are, their generators (n, r, r), what their one-sided rows sum to, and the
    pairs (node, row) of rows not yet known to be one-sided, sorted by node. flags (f, pairs): bit i of flag f says
    whether its condition holds at generator i, so that a cut needs the row's value at one new generator only."""

    level: int
    position: Ints
    cones: Array
    summed: Array
    node: Ints
    row: Ints
    flags: Flags


class LeafTest(ABC):
    """What a view must provide to have its partition checked."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows the conditions are on."""

    @property
    @abstractmethod
    def cuts(self) -> Array:
        """The vectors (n, r) whose zero sets may cut cones: the rows, and what a view has besides."""

    @abstractmethod
    def outside(self, cones: Array) -> NDArray[np.bool_]:
        """The cones (n, r, r) of which no proof is needed, because they are the images of others."""

    @abstractmethod
    def initial(self) -> Array:
        """The sum over no rows, for one cone."""

    @abstractmethod
    def conditions(self, points: Array, node: Ints, row: Ints) -> list[NDArray[np.bool_]]:
        """For each pair (node, row), the conditions on the row at the node's point (n, r)."""

    @abstractmethod
    def split(self, block: Block, whole: int) -> tuple[Array, NDArray[np.bool_]]:
        """(summed, undecided): new sums of one-sided rows, and which pairs remain; whole: a flag set at all generators."""

    @abstractmethod
    def matrices(self, cones: Array, summed: Array, node: Ints, row: Ints) -> Iterator[Array]:
        """Matrices (n, r, r) whose copositivity proves the cones: one array after the other, any of which will do for a cone."""

    @property
    @abstractmethod
    def slack(self) -> float:
        """Copositivity is needed only up to -slack (sum lam)^2."""


def check_partition(tree: Tree, test: LeafTest) -> bool:
    """True if every leaf passes. Works down the tree in blocks of bounded size, on two threads."""
    ranks = [np.cumsum(ops > 0) - 1 for ops in tree.ops]
    stack = _pieces(_roots(tree.dimension, test))
    with ThreadPoolExecutor(WORKERS) as pool:
        while stack:
            taken, stack = stack[-WORKERS:], stack[:-WORKERS]
            for below in pool.map(lambda block: _below(tree, test, ranks, block), taken):
                if below is None:
                    return False
                stack.extend(below)
    return True


def _below(tree: Tree, test: LeafTest, ranks: list[Ints], block: Block) -> list[Block] | None:
    """The blocks of the children of a block's inner nodes; None if a leaf fails."""
    summed, undecided = test.split(block, (1 << tree.dimension) - 1)
    node, row, flags = block.node[undecided], block.row[undecided], block.flags[:, undecided]
    ops = tree.ops[block.level][block.position]
    leaf = ops == 0
    if leaf.any() and not _leaves_pass(test, block.cones, summed, node, row, leaf):
        return None
    inner = np.flatnonzero(~leaf)
    if inner.size == 0:
        return []
    children = _children(tree, test, block, inner, node, row, flags)
    if children is None:
        return None
    cones, child_node, child_row, child_flags = children
    position = np.repeat(2 * ranks[block.level][block.position[inner]], 2)
    position[1::2] += 1
    sums = np.repeat(summed[inner], 2, axis=0)
    return _pieces(Block(block.level + 1, position, cones, sums, child_node, child_row, child_flags))


def _roots(r: int, test: LeafTest) -> Block:
    """The 2^r orthants with all rows."""
    roots, n_rows = 2**r, test.rows
    signs = 1.0 - 2.0 * ((np.arange(roots)[:, None] >> np.arange(r)) & 1)
    cones = signs[:, :, None] * np.eye(r)
    node, row = np.repeat(np.arange(roots), n_rows), np.tile(np.arange(n_rows), roots)
    flags: Flags | None = None
    for i in range(r):
        bits = np.array(test.conditions(cones[:, i], node, row)).astype(np.uint16) << np.uint16(i)
        flags = bits if flags is None else flags | bits
    assert flags is not None
    return Block(0, np.arange(roots), cones, np.repeat(test.initial()[None], roots, axis=0), node, row, flags)


def _children(
    tree: Tree, test: LeafTest, block: Block, inner: Ints, node: Ints, row: Ints, flags: Flags
) -> tuple[Array, Ints, Ints, Flags] | None:
    """Generators, pairs and flags of the children of the inner nodes; None for a cut outside of its edge."""
    first, second = edge_pairs(tree.dimension)
    ops = tree.ops[block.level][block.position]
    pair = (ops[inner] - 1) % first.size
    cones = block.cones[inner]
    k = np.arange(inner.size)
    vi, vj = cones[k, first[pair]], cones[k, second[pair]]
    alpha = _cut_positions(test.cuts, tree.rows[block.level][block.position[inner]], vi, vj)
    if not ((alpha >= 0.0) & (alpha <= 1.0)).all():
        return None
    middle = (1.0 - alpha)[:, None] * vi + alpha[:, None] * vj
    children = np.repeat(cones, 2, axis=0)
    children[2 * k, first[pair]] = middle
    children[2 * k + 1, second[pair]] = middle
    # the pairs of inner nodes, renumbered, and what the rows are at the new generators
    if inner.size < ops.size:
        keep = (ops > 0)[node]
        node, row, flags = node[keep], row[keep], flags[:, keep]
        node = (np.cumsum(ops > 0) - 1)[node]
    fresh = test.conditions(middle, node, row)
    # pairs of every inner node go to both children
    counts = np.bincount(node, minlength=inner.size)
    begins = np.cumsum(counts) - counts
    mine = np.repeat(counts, 2)
    ends = np.cumsum(mine)
    take = np.arange(node.size * 2) + np.repeat(np.repeat(begins, 2) - (ends - mine), mine)
    one = np.repeat(np.arange(2 * inner.size) % 2 == 0, mine)
    shifts = [(np.uint16(1) << edge[pair].astype(np.uint16))[node] for edge in (first, second)]
    out = np.empty((flags.shape[0], take.size), np.uint16)
    for f in range(flags.shape[0]):
        halves = [np.where(fresh[f], flags[f] | bit, flags[f] & ~bit) for bit in shifts]
        out[f] = np.where(one, halves[0][take], halves[1][take])
    return children, np.repeat(np.arange(2 * inner.size), mine), row[take], out


def _pieces(block: Block) -> list[Block]:
    """The block cut into pieces of at most about MOST_PAIRS pairs."""
    n = block.position.size
    parts = min(n, 1 + max(block.node.size // MOST_PAIRS, n // 200_000))
    if parts == 1:
        return [block]
    cuts = np.linspace(0, n, parts + 1).astype(np.int64)
    ends = np.searchsorted(block.node, cuts)
    return [
        Block(
            block.level,
            block.position[a:b],
            block.cones[a:b],
            block.summed[a:b],
            block.node[s:e] - a,
            block.row[s:e],
            block.flags[:, s:e],
        )
        for a, b, s, e in zip(cuts[:-1], cuts[1:], ends[:-1], ends[1:])
    ]


def dot_in_order(a: Array, b: Array) -> Array:
    """sum_k a[..., k] b[..., k], added from left to right: the same to the last bit wherever it is computed."""
    total = a[..., 0] * b[..., 0]
    for k in range(1, a.shape[-1]):
        total = total + a[..., k] * b[..., k]
    return np.asarray(total)


def _cut_positions(rows: Array, row: Ints, vi: Array, vj: Array) -> Array:
    alpha = np.full(row.size, 0.5)
    across = row >= 0
    if across.any():
        hi = dot_in_order(rows[row[across]], vi[across])
        hj = dot_in_order(rows[row[across]], vj[across])
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha[across] = hi / (hi - hj)
    return alpha


def _leaves_pass(test: LeafTest, cones: Array, summed: Array, node: Ints, row: Ints, leaf: NDArray[np.bool_]) -> bool:
    leaf = leaf.copy()
    leaf[leaf] = ~test.outside(cones[leaf])
    if not leaf.any():
        return True
    of_leaf = leaf[node]
    node, row = (np.cumsum(leaf) - 1)[node[of_leaf]], row[of_leaf]
    cones = cones[leaf]
    passed = np.zeros(cones.shape[0], np.bool_)
    for m in test.matrices(cones, summed[leaf], node, row):
        passed |= copositive_up_to(m, test.slack)
        if passed.all():
            return True
    return False
