"""Arrays into hashes: large arrays of two values, such as labels of hypercubes, as one bit an entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: entries from which on an array is looked at; smaller ones are hashed as they are
LARGE = 2**16


def feed_entries(hasher: Any, array: Array) -> None:
    """Feed the entries of an array of known shape to a hashlib object, so that other entries give another stream.

    Large arrays start with a byte that says how they are written: 0, every entry; 1, two numbers (as bits, so that 0.0 and
    -0.0 differ) and one bit an entry that says which of them stands there.
    """
    flat = np.ascontiguousarray(array, dtype="<f8").reshape(-1)
    if flat.size < LARGE:
        hasher.update(flat.data)
        return
    bits = flat.view("<u8")
    if np.unique(bits[:256]).size <= 2:
        first = bits == bits[0]
        other = bits[int(first.argmin())]
        if int(np.count_nonzero(first)) + int(np.count_nonzero(bits == other)) * int(other != bits[0]) == flat.size:
            hasher.update(b"\x01" + bits[0].tobytes() + other.tobytes())
            hasher.update(np.packbits(first).data)
            return
    hasher.update(b"\x00")
    hasher.update(flat.data)
