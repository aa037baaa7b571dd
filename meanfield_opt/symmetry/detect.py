"""Find the symmetry of a problem's data. Everything found is checked exactly before it is returned."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..checker.hypercube import Hypercube, hypercube_of
from ..errors import MissingDependencyError
from ..problem import TwoLayerProblem
from .coherent import Configuration, coherent_closure
from .generators import GeneratedSymmetry
from .hypercube_group import hypercube_generators
from .relaxation import data_matrices
from .signed import SignedPermutation

Labels = NDArray[np.int64]

LARGEST = 1000


def detect(problem: TwoLayerProblem, *, largest: int = LARGEST) -> GeneratedSymmetry | None:
    """The symmetry of (K_X, Y), or None.

    Hypercube tasks of any size are recognised in any order of samples and labels. Other data up to P = ``largest``: the
    coherent closure of (K_X, K_Y), then the automorphisms of its coloured graph (needs pynauty) that act on the outputs
    by signed permutations. Data moved by 1e-9 in one entry are different data: what remains is what still holds exactly.
    """
    cube = hypercube_of(problem)
    if cube is not None:
        return _hypercube(problem, cube)
    if problem.n_samples > largest:
        return None
    closure = coherent_closure(data_matrices(problem))
    if closure is None or int(closure.fibres.max()) + 1 == problem.n_samples:
        return None
    permutations, order = automorphisms(closure)
    generators = tuple(
        g for g in (_with_outputs(problem, s) for s in permutations) if g is not None and g.preserves(problem)
    )
    if not generators:
        return None
    complete = len(generators) == len(permutations)
    words = f"group found from {closure.rank} classes of the coherent closure of (K_X, K_Y)"
    return GeneratedSymmetry(generators, words, order if complete else None, {"classes": closure.rank})


def _hypercube(problem: TwoLayerProblem, cube: Hypercube) -> GeneratedSymmetry:
    """The group of a hypercube task: labels of equal weight may be exchanged."""
    d, n = cube.labels, cube.copies
    alike: dict[object, list[int]] = {}
    for i, weight in enumerate(cube.weights):
        alike.setdefault(weight, []).append(i)
    groups = list(alike.values())
    order = (1 << d) * math.prod(math.factorial(len(group)) for group in groups)
    whole = len(groups) == 1
    words = "hyperoctahedral group" if whole else "translations of the hypercube and permutations of like labels"
    details = {"labels": d, "copies": n, "order is of": "the action on classes of equal samples"}
    return GeneratedSymmetry(hypercube_generators(problem.targets, groups), words, order, details)


def automorphisms(configuration: Configuration) -> tuple[list[Labels], int]:
    """Generators (permutations of 0 .. n-1) and the order of the group that fixes every symmetrised class.

    Classes become colours of edges, written in binary on layers of vertices, for the graph automorphism program nauty.
    """
    try:
        import pynauty
    except ImportError as error:
        raise MissingDependencyError(
            "finding automorphisms needs pynauty: python -m pip install pynauty (or declare the symmetry)."
        ) from error
    n = configuration.order
    symmetrised = np.minimum(configuration.classes, configuration.transposes[configuration.classes])
    colour = np.unique(symmetrised, return_inverse=True)[1].reshape(n, n) + 1
    layers = int(colour.max()).bit_length()
    adjacency: dict[int, list[int]] = {v: [] for v in range(n * layers)}
    for layer in range(layers):
        i, j = np.nonzero(np.triu((colour >> layer) & 1, 1))
        for a, b in zip(i.tolist(), j.tolist()):
            adjacency[layer * n + a].append(layer * n + b)
    for layer in range(layers - 1):
        for v in range(n):
            adjacency[layer * n + v].append((layer + 1) * n + v)
    parts = []
    for layer in range(layers):
        for fibre in range(int(configuration.fibres.max()) + 1):
            parts.append({int(layer * n + v) for v in np.flatnonzero(configuration.fibres == fibre)})
    graph = pynauty.Graph(n * layers, directed=False, adjacency_dict=adjacency, vertex_coloring=parts)
    generators, mantissa, exponent, _, _ = pynauty.autgrp(graph)
    permutations = [np.array(g[:n], dtype=np.int64) for g in generators]
    return permutations, round(mantissa * 10**exponent)


def _with_outputs(problem: TwoLayerProblem, samples: Labels) -> SignedPermutation | None:
    """The signed permutation of the outputs that undoes a permutation of the samples, where there is one."""
    y = problem.targets
    outputs, signs = [], []
    rows = {row.tobytes(): k for k, row in reversed(list(enumerate(y[:, samples] + 0.0)))}
    for row in y + 0.0:
        for sign in (1.0, -1.0):
            k = rows.get((sign * row + 0.0).tobytes())
            if k is not None and k not in outputs:
                outputs.append(k)
                signs.append(sign)
                break
        else:
            return None
    return SignedPermutation(samples, np.array(outputs, dtype=np.int64), np.array(signs))
