"""What is read off a representation: parallelism, alignment, dimension. Kernels are (P, P), activations (P, N).

Everything takes arrays of any origin (optimal measures, trained networks, recordings); nothing here knows a problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conditions import find_conditions, label_matrix
from .errors import InputError, UndefinedMetricError
from .generalisation import Ccgp, ccgp
from .validate import flag, nonnegative, one_of, real_array

__all__ = [
    "Ccgp",
    "SpanFit",
    "alignment",
    "ccgp",
    "cka",
    "distances",
    "effective_dimension",
    "kernel_of",
    "parallelism_score",
    "parallelism_scores",
    "participation_ratio",
    "procrustes",
    "relative_frobenius",
    "rsa",
    "span_fit",
]

Array = NDArray[np.float64]


def kernel_of(activations: ArrayLike) -> Array:
    """K = X X^T (P, P) of activations X (P, N)."""
    x = real_array(activations, "activations", ndim=2)
    if float(np.abs(x).max()) > 1e150 / np.sqrt(x.shape[1]):
        raise InputError("the activations are too large: their kernel overflows; divide them by their largest entry.")
    return np.asarray(x @ x.T)


def _kernel(kernel: ArrayLike, name: str = "the kernel") -> Array:
    k = real_array(kernel, name, ndim=2)
    if k.shape[0] != k.shape[1]:
        raise InputError(f"{name} must be square (P, P); its shape is {k.shape}. For activations use kernel_of.")
    scale = float(np.abs(k).max())
    with np.errstate(over="ignore"):  # opposite signs near the largest float
        symmetric = np.allclose(k, k.T, rtol=0, atol=1e-8 * scale)
    if not symmetric:
        raise InputError(f"{name} is not symmetric.")
    return np.asarray(0.5 * k + 0.5 * k.T)


def _exponent(*arrays: Array) -> int:
    """The power of two just above the largest entry: dividing by it keeps squares away from overflow and underflow."""
    return int(np.frexp(max(float(np.abs(a).max()) for a in arrays))[1])


def _unit(array: Array) -> Array:
    """``array`` divided by a power of two, so that its largest entry lies in [1/2, 1) (a zero array stays)."""
    return np.asarray(np.ldexp(array, -_exponent(array)))


def _centre(kernel: Array) -> Array:
    mean = kernel.mean(axis=0)
    return np.asarray(kernel - mean - mean[:, None] + mean.mean())


# parallelism ------------------------------------------------------------------------------------------------------
def parallelism_scores(kernel: ArrayLike | None, Y: ArrayLike, *, activations: ArrayLike | None = None) -> Array:
    """PS_k for each label, shape (d_Y,): the mean cosine between coding directions in different contexts.

    Delta^(k;c) = r(y_k = +1, rest c) - r(y_k = -1, rest c) with condition means r; mean over pairs c != c' (Bernardi
    et al. 2020; theory section 5). Give the kernel K (P, P), or kernel=None and activations (P, N) where P is large.
    Y: signs (d_Y, P). Raises UndefinedMetricError where a label has fewer than two contexts (d_Y = 1 always) or a
    coding direction vanishes.
    """
    if (kernel is None) == (activations is None):
        raise InputError("give either a kernel or activations.")
    if kernel is not None:
        source = _unit(_kernel(kernel))
    else:
        source = _unit(real_array(activations, "activations", ndim=2))  # type: ignore[arg-type]
    found = find_conditions(label_matrix(Y, source.shape[0]))
    if found.n_labels == 1:
        raise UndefinedMetricError("the parallelism score needs at least two labels; with one there are no contexts.")
    means = found.mean_kernel(source) if kernel is not None else found.mean_rows(source)
    size = float(np.abs(means).max())
    scores = np.empty(found.n_labels)
    for k in range(found.n_labels):
        on, off = found.flips(k)
        if on.size < 2:
            raise UndefinedMetricError(
                f"the parallelism score of label {k} needs two contexts in which it alone changes; there are {on.size}."
            )
        if kernel is not None:
            gram = means[np.ix_(on, on)] - means[np.ix_(on, off)] - means[np.ix_(off, on)] + means[np.ix_(off, off)]
            norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
            floor = 1e-7 * np.sqrt(size)  # differences of kernel entries carry their rounding errors
        else:
            delta = means[on] - means[off]
            norms = np.sqrt(np.einsum("cn,cn->c", delta, delta))
            floor = 1e-14 * size
        if not (norms > floor).all():
            raise UndefinedMetricError(f"label {k} is not coded in some context: its coding direction vanishes there.")
        n = on.size
        if kernel is not None:
            unit = gram / np.outer(norms, norms)
            scores[k] = (unit.sum() - np.trace(unit)) / (n * (n - 1))
        else:
            scores[k] = (float(np.square((1.0 / norms) @ delta).sum()) - n) / (n * (n - 1))
    return np.clip(scores, -1.0, 1.0)


def parallelism_score(kernel: ArrayLike | None, Y: ArrayLike, *, activations: ArrayLike | None = None) -> float:
    """The mean over labels of ``parallelism_scores``; 1 for a perfectly factorised representation."""
    return float(parallelism_scores(kernel, Y, activations=activations).mean())


# alignment of kernels ---------------------------------------------------------------------------------------------
def alignment(kernel: ArrayLike, other: ArrayLike, *, centred: bool = False) -> float:
    """<K, K'> / (|K| |K'|), Frobenius; ``centred`` subtracts the means first (then it is the linear CKA)."""
    a, b = (_unit(k) for k in _pair(kernel, other))
    if flag(centred, "centred"):
        a, b = _centre(a), _centre(b)
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    if scale == 0.0:
        raise UndefinedMetricError("the alignment of a zero kernel is undefined.")
    return float(np.clip(np.vdot(a, b) / scale, -1.0, 1.0))


def cka(kernel: ArrayLike, other: ArrayLike) -> float:
    """Linear centred kernel alignment (Kornblith et al. 2019)."""
    return alignment(kernel, other, centred=True)


def relative_frobenius(kernel: ArrayLike, reference: ArrayLike) -> float:
    """|K - K*| / |K*|."""
    a, b = _together(*_pair(kernel, reference))
    scale = float(np.linalg.norm(b))
    if scale == 0.0:
        raise UndefinedMetricError("the relative distance to a zero kernel is undefined.")
    return float(np.linalg.norm(a - b) / scale)


def procrustes(kernel: ArrayLike, reference: ArrayLike) -> float:
    """The relative Procrustes distance min_Q |X - X* Q| / |X*| over rotations Q, with K = X X^T, K* = X* X*^T.

    The minimum squared is tr K + tr K* - 2 |X^T X*|_nuclear.
    """
    a, b = _together(*_pair(kernel, reference))
    scale = float(np.trace(b))
    if not scale > 0:
        raise UndefinedMetricError("the relative Procrustes distance to a zero kernel is undefined.")
    x, y = _root(a), _root(b)
    nuclear = float(np.linalg.svd(x.T @ y, compute_uv=False).sum())
    return float(np.sqrt(max(float(np.trace(a)) + scale - 2.0 * nuclear, 0.0) / scale))


def _root(kernel: Array) -> Array:
    values, vectors = np.linalg.eigh(kernel)
    if values[0] < -1e-8 * max(float(np.abs(values).max()), 1e-300):
        raise InputError("the kernel has negative eigenvalues; it is not the kernel of a representation.")
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _pair(kernel: ArrayLike, other: ArrayLike) -> tuple[Array, Array]:
    a, b = _kernel(kernel, "the first kernel"), _kernel(other, "the second kernel")
    if a.shape != b.shape:
        raise InputError(f"the kernels have {a.shape[0]} and {b.shape[0]} samples; they must agree.")
    return a, b


def _together(a: Array, b: Array) -> tuple[Array, Array]:
    exponent = _exponent(a, b)
    return np.ldexp(a, -exponent), np.ldexp(b, -exponent)


# representational dissimilarity -----------------------------------------------------------------------------------
def distances(kernel: ArrayLike, *, metric: str = "euclidean", activations: bool = False) -> Array:
    """The dissimilarity vector (P (P - 1) / 2,), upper triangle by rows.

    metric: "euclidean" (squared), "cosine" (1 - cosine), or, from activations alone, "correlation" (1 - Pearson
    across units). activations=True reads the first argument as activations (P, N).
    """
    one_of(metric, "metric", ("euclidean", "cosine", "correlation"))
    flag(activations, "activations")
    if metric == "correlation":
        if not activations:
            raise InputError("correlation distances need activations: the mean over units is not in the kernel.")
        x = _unit(real_array(kernel, "activations", ndim=2))
        k = kernel_of(x - x.mean(axis=1, keepdims=True))
    else:
        k = kernel_of(kernel) if activations else _kernel(kernel)
        k = k if metric == "euclidean" else _unit(k)
    diagonal = np.diag(k)
    if metric == "euclidean":
        with np.errstate(over="ignore", invalid="ignore"):
            full = diagonal[:, None] + diagonal - 2.0 * k
        if not np.isfinite(full).all():
            raise InputError("the kernel is too large: its distances overflow; divide it by its largest entry.")
    else:
        if not (diagonal > 0).all():
            raise UndefinedMetricError(f"{metric} distances of a zero (or constant) representation are undefined.")
        full = 1.0 - k / np.outer(np.sqrt(diagonal), np.sqrt(diagonal))
    return np.asarray(full[np.triu_indices(k.shape[0], 1)])


def rsa(kernel: ArrayLike, other: ArrayLike, *, metric: str = "euclidean", method: str = "spearman") -> float:
    """Representational similarity: the correlation of two dissimilarity vectors.

    method: "spearman", "pearson", "kendall" (tau-b) or "cosine".
    """
    one_of(method, "method", ("spearman", "pearson", "kendall", "cosine"))
    a, b = (distances(_unit(k), metric=metric) for k in (_kernel(kernel), _kernel(other)))
    if a.size != b.size:
        raise InputError("the two kernels must be over the same samples.")
    if method == "cosine":
        scale = float(np.linalg.norm(a) * np.linalg.norm(b))
        if scale == 0.0:
            raise UndefinedMetricError("all dissimilarities are zero.")
        return float(a @ b / scale)
    from scipy import stats

    chosen: Any = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "kendall": stats.kendalltau}[method]
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise UndefinedMetricError("all dissimilarities are equal, so their correlation is undefined.")
    return float(chosen(a, b).statistic)


# dimension and form -----------------------------------------------------------------------------------------------
def participation_ratio(kernel: ArrayLike, *, centred: bool = False) -> float:
    """(tr K)^2 / tr K^2, between 1 and the rank."""
    k = _unit(_kernel(kernel))
    k = _centre(k) if flag(centred, "centred") else k
    square = float(np.square(k).sum())
    if square == 0.0:
        raise UndefinedMetricError("the participation ratio of a zero kernel is undefined.")
    return float(np.trace(k) ** 2 / square)


def effective_dimension(kernel: ArrayLike, ridge: float) -> float:
    """tr K (K + ridge I)^-1: the degrees of freedom of ridge regression on the representation."""
    k = _kernel(kernel)
    with np.errstate(over="ignore"):  # an infinite ridge leaves no dimension
        shift = float(np.ldexp(nonnegative(ridge, "ridge"), -_exponent(k)))
    values = np.maximum(np.linalg.eigvalsh(_unit(k)), 0.0)
    return float(np.divide(values, values + shift, out=np.zeros_like(values), where=values > 0).sum())


@dataclass(frozen=True)
class SpanFit:
    """K ~ constant 1 1^T + strength Y^T Y, and |K - fit| / |K|."""

    constant: float
    strength: float
    residual: float


def span_fit(kernel: ArrayLike, Y: ArrayLike) -> SpanFit:
    """The Frobenius projection of K on span{1 1^T, K_Y}: residual 0 for the hypercube optima (theory section 4)."""
    k = _kernel(kernel)
    exponent = _exponent(k)
    k = _unit(k)
    y = real_array(Y, "Y", ndim=2)
    if y.shape[1] != k.shape[0]:
        raise InputError(f"Y must be (d_Y, P) with P = {k.shape[0]}; its shape is {y.shape}.")
    size = float(np.linalg.norm(k))
    if size == 0.0:
        raise UndefinedMetricError("a zero kernel has no relative residual.")
    ky = y.T @ y
    basis = np.stack([np.ones(k.size), ky.ravel()], axis=1)
    coefficients, *_ = np.linalg.lstsq(basis, k.ravel(), rcond=None)
    rest = k.ravel() - basis @ coefficients
    coefficients = np.ldexp(coefficients, exponent)
    return SpanFit(float(coefficients[0]), float(coefficients[1]), float(np.linalg.norm(rest) / size))
