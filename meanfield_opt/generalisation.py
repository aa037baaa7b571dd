"""Cross-condition generalisation performance (CCGP): does a decoder of one label work in conditions it never saw?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conditions import Conditions, find_conditions, label_matrix
from .errors import InputError, UndefinedMetricError
from .validate import integer, nonnegative, one_of, real_array

Array = NDArray[np.float64]
Fit = Callable[[Array, Array], tuple[Array, float]]

MOST = 1_000_000  # trials and surrogates


@dataclass(frozen=True, eq=False)
class Ccgp:
    """Mean test accuracy over labels and left-out condition pairs, and the null it is to be compared with.

    scores (d_Y,): per label. error (d_Y,): standard error over the left-out pairs. null_mean, null_std (d_Y,): over
    ``null`` surrogates (NaN where none were asked for). p_value (d_Y,): (1 + surrogates >= score) / (1 + surrogates).
    """

    scores: Array
    error: Array
    null_mean: Array
    null_std: Array
    p_value: Array

    @property
    def score(self) -> float:
        """The mean over labels."""
        return float(self.scores.mean())


def ccgp(
    activations: ArrayLike,
    Y: ArrayLike,
    *,
    classifier: str = "svm",
    pairs: str = "neighbours",
    noise: float = 0.0,
    trials: int = 1,
    null: int = 0,
    null_model: str = "geometric",
    most_folds: int = 200,
    seed: int = 0,
) -> Ccgp:
    """CCGP of every label from activations (P, N) and signs Y (d_Y, P) (Bernardi et al. 2020).

    For each label, one condition of either side is left out, a linear classifier is trained on the others and tested
    on the two left out; all such pairs are averaged (a random ``most_folds`` of them where there are more).
    pairs: "neighbours" leaves out conditions that differ in that label alone; "all" leaves out any two (with four
    conditions the diagonal pairs train on the other diagonal, so a perfectly factorised representation scores 3/4).
    classifier: "svm" (linear, hinge), "logistic" or "least_squares". noise, trials: every sample is repeated
    ``trials`` times with Gaussian noise of that standard deviation (for noiseless optima).
    null: number of surrogates; null_model "geometric" permutes the units independently in each condition (the
    clouds keep their shape and decodability, their arrangement is random), "shuffle" permutes labels over samples.
    For a kernel alone, pass any factor X with K = X X^T. Raises UndefinedMetricError for fewer than two conditions on
    a side.
    """
    x = real_array(activations, "activations", ndim=2)
    y = label_matrix(Y, x.shape[0])
    rng = np.random.default_rng(integer(seed, "seed", least=0))
    repeats = integer(trials, "trials", least=1, most=MOST)
    noise = nonnegative(noise, "noise")
    if noise > 0 or repeats > 1:
        x, y = np.repeat(x, repeats, axis=0), np.repeat(y, repeats, axis=1)
        with np.errstate(over="ignore"):
            x = x + noise * rng.standard_normal(x.shape)
        if not np.isfinite(x).all():
            raise InputError(f"noise = {noise:g} is so large that the activations overflow.")
    surrogates = integer(null, "null", least=0, most=MOST)
    limit = integer(most_folds, "most_folds", least=1)
    fit = _classifier(classifier)
    one_of(null_model, "null_model", ("geometric", "shuffle"))
    one_of(pairs, "pairs", ("neighbours", "all"))
    found = find_conditions(y)
    d = found.n_labels
    folds = [_folds(found, k, pairs, limit, rng) for k in range(d)]
    accuracy = [_accuracies(x, found, k, folds[k], fit) for k in range(d)]
    scores = np.array([a.mean() for a in accuracy])
    error = np.array([a.std(ddof=1) / np.sqrt(a.size) if a.size > 1 else 0.0 for a in accuracy])
    draws = np.full((max(surrogates, 1), d), np.nan)
    for s in range(surrogates):
        other, fake = _surrogate(x, found, null_model, rng)
        draws[s] = [_accuracies(other, fake, k, folds[k], fit).mean() for k in range(d)]
    if surrogates == 0:
        empty = np.full(d, np.nan)
        return Ccgp(scores, error, empty, empty.copy(), empty.copy())
    p = (1.0 + (draws >= scores).sum(axis=0)) / (1.0 + surrogates)
    return Ccgp(scores, error, draws.mean(axis=0), draws.std(axis=0), p)


def _folds(found: Conditions, label: int, kind: str, limit: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    on = np.flatnonzero(found.signs[:, label] > 0)
    off = np.flatnonzero(found.signs[:, label] < 0)
    if min(on.size, off.size) < 2:
        raise UndefinedMetricError(
            f"CCGP of label {label} needs two conditions on either side; there are {on.size} and {off.size}."
        )
    if kind == "all":
        pairs = [(int(a), int(b)) for a, b in itertools.product(on, off)]
    else:
        pairs = [(int(a), int(b)) for a, b in zip(*found.flips(label))]
        if not pairs:
            raise UndefinedMetricError(f"no two conditions differ in label {label} alone; use pairs='all'.")
    if len(pairs) > limit:
        pairs = [pairs[i] for i in np.sort(rng.choice(len(pairs), size=limit, replace=False))]
    return pairs


def _splits(found: Conditions, folds: list[tuple[int, int]]) -> Iterator[NDArray[np.bool_]]:
    for pair in folds:
        yield np.isin(found.index, pair)


def _accuracies(x: Array, found: Conditions, label: int, folds: list[tuple[int, int]], fit: Fit) -> Array:
    sign = found.signs[found.index, label].astype(np.float64)
    out = np.empty(len(folds))
    for i, test in enumerate(_splits(found, folds)):
        weight, offset = fit(x[~test], sign[~test])
        value = x[test] @ weight + offset
        hit = np.where(value == 0.0, 0.5, (np.sign(value) == sign[test]).astype(np.float64))
        # the two left-out conditions count equally, however many samples each has
        on = sign[test] > 0
        out[i] = 0.5 * (hit[on].mean() + hit[~on].mean())
    return out


def _surrogate(x: Array, found: Conditions, model: str, rng: np.random.Generator) -> tuple[Array, Conditions]:
    if model == "shuffle":
        return x, Conditions(found.signs, rng.permutation(found.index), found.counts)
    out = x.copy()
    for c in range(found.n_conditions):
        mine = found.index == c
        out[mine] = x[mine][:, rng.permutation(x.shape[1])]
    return out, found


def _classifier(name: str) -> Fit:
    known: dict[str, Fit] = {"svm": _svm, "logistic": _logistic, "least_squares": _least_squares}
    return known[one_of(name, "classifier", tuple(known))]


def _least_squares(x: Array, sign: Array) -> tuple[Array, float]:
    centre = x.mean(axis=0)
    weight, *_ = np.linalg.lstsq(x - centre, sign - sign.mean(), rcond=1e-10)
    return np.asarray(weight), float(sign.mean() - centre @ weight)


def _svm(x: Array, sign: Array) -> tuple[Array, float]:
    from sklearn.svm import SVC

    scale = (
        float(np.linalg.norm(x - x.mean(axis=0)) / np.sqrt(x.shape[0])) or 1.0
    )  # units of the data, so that C means something
    model = SVC(kernel="linear", C=100.0).fit(x / scale, sign)
    return np.asarray(model.coef_[0] / scale), float(model.intercept_[0])


def _logistic(x: Array, sign: Array) -> tuple[Array, float]:
    from sklearn.linear_model import LogisticRegression

    scale = float(np.linalg.norm(x - x.mean(axis=0)) / np.sqrt(x.shape[0])) or 1.0
    model = LogisticRegression(C=100.0, max_iter=2000).fit(x / scale, sign)
    return np.asarray(model.coef_[0] / scale), float(model.intercept_[0])
