"""Real handwritten digits (the 8 x 8 images bundled with scikit-learn), with binary labels of the digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meanfield_opt.activation import Activation
from meanfield_opt.errors import InputError
from meanfield_opt.geometry import FactorGeometry, features_with_bias
from meanfield_opt.loss import Loss
from meanfield_opt.plugins import activation as find_activation
from meanfield_opt.plugins import loss as find_loss
from meanfield_opt.problem import Recipe, TwoLayerProblem, check_penalty_product
from meanfield_opt.validate import flag, integer, positive, shown

Array = NDArray[np.float64]


def _sign(mask: NDArray[np.bool_]) -> Array:
    return np.where(mask, 1.0, -1.0)


def label_rows(names: Sequence[str], digit: NDArray[np.int64]) -> Array:
    """Y (d_Y, P): parity (+1 even), magnitude (+1 for 5..9), onehot (ten rows), "is0".."is9" (one row each)."""
    rows: list[Array] = []
    for name in names:
        if name == "parity":
            rows.append(_sign(digit % 2 == 0))
        elif name == "magnitude":
            rows.append(_sign(digit >= 5))
        elif name == "onehot":
            rows += [_sign(digit == k) for k in range(10)]
        elif len(name) == 3 and name.startswith("is") and name[2].isdigit():
            rows.append(_sign(digit == int(name[2])))
        else:
            raise InputError(f"unknown label {name!r}; known: parity, magnitude, onehot, is0 .. is9.")
    return np.array(rows)


def digits(
    labels: Sequence[str] | str = ("parity", "magnitude"),
    *,
    samples: int | None = 200,
    components: int | None = None,
    whiten: bool = False,
    activation: str | Activation = "relu",
    loss: str | Loss = "squared",
    lambda1: float = 1.0,
    lambda2: float = 1.0,
    bias: bool = True,
    width: float | None = None,
    seed: int = 0,
) -> TwoLayerProblem:
    """Handwritten digits. Pixels are scaled to [0, 1] and centred.

    samples: a random subset (None: all 1797). components: keep that many principal components (of the subset).
    whiten: give the kept components unit variance. seed: of the subset.
    """
    from sklearn.datasets import load_digits

    if not isinstance(labels, (str, Sequence)) or not all(isinstance(name, str) for name in labels):
        raise InputError(f"labels must be names (parity, magnitude, onehot, is0 .. is9), not {shown(labels)}.")
    wanted = (labels,) if isinstance(labels, str) else tuple(labels)
    flag(whiten, "whiten")
    if not wanted:
        raise InputError("labels is empty; name at least one (parity, magnitude, onehot, is0 .. is9).")
    pixels, digit = load_digits(return_X_y=True)
    total = pixels.shape[0]
    count = total if samples is None else integer(samples, "samples", least=2, most=total)
    integer(seed, "seed", least=0)
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:count])
    x = pixels[chosen] / 16.0
    x = x - x.mean(axis=0)
    if components is not None or whiten:
        x = _principal(x, components, whiten)
    y = label_rows(wanted, digit[chosen])
    if (np.ptp(y, axis=1) == 0).any():
        raise InputError(f"with {count} samples (seed {seed}) a label is constant; take more samples.")
    l1, l2 = positive(lambda1, "lambda1"), positive(lambda2, "lambda2")
    check_penalty_product(l1, l2)
    phi, ell = find_activation(activation), find_loss(loss)
    parameters = {
        "labels": list(wanted),
        "samples": samples,
        "components": components,
        "whiten": whiten,
        "activation": phi.name,
        "loss": ell.name,
        "lambda1": l1,
        "lambda2": l2,
        "bias": bias,
        "width": width,
        "seed": seed,
    }
    # principal components come from a floating-point SVD that may differ elsewhere, so such data travel in full
    by_name = not phi.parameters and not ell.parameters and components is None and not whiten
    return TwoLayerProblem(
        phi,
        ell,
        FactorGeometry(features_with_bias(x, bias=bias)),
        y,
        l1,
        l2,
        width,
        f"digits({' x '.join(wanted)}, {count} samples)",
        Recipe("digits", parameters) if by_name else None,
    )


def _principal(x: Array, components: int | None, whiten: bool) -> Array:
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    rank = int((s > 1e-10 * s[0]).sum())
    k = rank if components is None else integer(components, "components", least=1, most=rank)
    sign = np.sign(vt[np.arange(k), np.abs(vt[:k]).argmax(axis=1)])  # a fixed sign convention
    scores = u[:, :k] * (s[:k] * sign)
    return np.asarray(scores / scores.std(axis=0) if whiten else scores)
