"""The tree of cuts behind a partition into cones, and its compact form in a certificate."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CertificateError

Ints = NDArray[np.int64]

MOST_NODES = 40_000_000


@dataclass(frozen=True, eq=False)
class Tree:
    """Level by level (breadth first): ``ops`` is 0 for a leaf, 1 + pair for a cut in the middle of edge ``pair``,
    1 + pairs + pair for a cut of that edge where row ``rows`` vanishes."""

    dimension: int
    ops: list[Ints]
    rows: list[Ints]

    @property
    def depth(self) -> int:
        """The number of levels."""
        return len(self.ops)

    @property
    def leaves(self) -> int:
        """The number of cones."""
        return int(sum((ops == 0).sum() for ops in self.ops))


def edge_pairs(dimension: int) -> tuple[Ints, Ints]:
    """The edges (i, j), i < j, in lexicographic order."""
    i, j = np.triu_indices(dimension, 1)
    return i.astype(np.int64), j.astype(np.int64)


def encode_tree(dimension: int, ops: NDArray[np.int32], depth: NDArray[np.int32]) -> dict[str, Any]:
    """A preorder forest of codes (0 leaf; 1 + pair + pairs (row + 1)) as JSON values, stored breadth first."""
    code = np.asarray(ops, dtype=np.int64)[np.argsort(depth, kind="stable")]
    pairs = dimension * (dimension - 1) // 2
    pair = np.where(code > 0, (code - 1) % max(pairs, 1), 0)
    row = np.where(code > 0, (code - 1) // max(pairs, 1) - 1, -1)
    kind = np.where(code == 0, 0, 1 + pair + np.where(row >= 0, pairs, 0))
    return {
        "nodes": int(code.size),
        "ops": _pack(kind.astype(np.uint8).tobytes()),
        "rows": _pack(row[row >= 0].astype("<u4").tobytes()),
    }


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _unpack(text: Any, most: int) -> bytes:
    try:
        machine = zlib.decompressobj()
        data = machine.decompress(base64.b64decode(str(text), validate=True), most + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise CertificateError(f"the partition does not unpack: {error}.") from error
    if len(data) > most or machine.unconsumed_tail or not machine.eof or machine.unused_data:
        raise CertificateError("the partition is larger than it says, or cut short.")
    return data


def decode_tree(dimension: int, artefact: dict[str, Any], n_rows: int) -> Tree:
    """The inverse of ``encode_tree``; CertificateError unless it is one whole forest over the orthants."""
    nodes = int(artefact["nodes"])
    if not 0 < nodes <= MOST_NODES:
        raise CertificateError(f"a partition of {nodes} nodes is out of range.")
    pairs = dimension * (dimension - 1) // 2
    flat = np.frombuffer(_unpack(artefact["ops"], nodes), dtype=np.uint8).astype(np.int64)
    if flat.size != nodes or flat.max(initial=0) > 2 * pairs:
        raise CertificateError("the partition has the wrong size or an unknown cut.")
    across = flat > pairs
    listed = np.frombuffer(_unpack(artefact["rows"], 4 * int(across.sum())), dtype="<u4").astype(np.int64)
    if listed.size != int(across.sum()) or listed.max(initial=0) >= max(n_rows, 1):
        raise CertificateError("the partition cuts along rows that do not exist.")
    rows = np.full(nodes, -1, np.int64)
    rows[across] = listed
    ops_levels, row_levels = [], []
    at, width = 0, 2**dimension
    while width:
        if at + width > nodes:
            raise CertificateError("the partition is not complete.")
        ops_levels.append(flat[at : at + width])
        row_levels.append(rows[at : at + width])
        at += width
        width = 2 * int((ops_levels[-1] > 0).sum())
    if at != nodes:
        raise CertificateError("the partition has nodes that belong to no cone.")
    return Tree(dimension, ops_levels, row_levels)
