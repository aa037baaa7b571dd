"""Problems with losses other than the squared one, for ``speed.py``: labels of a noisy teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from measuring import Row, ours

import meanfield_opt as mfo


def noisy_teacher(
    loss: str, samples: int, inputs: int, outputs: int, penalty: float, seed: int = 0
) -> mfo.TwoLayerProblem:
    """Inputs N(0,1), 8 hidden ReLU units, noise of 0.3, centred at the median: values (huber), signs, or the largest output (softmax)."""
    rng = np.random.default_rng(seed)
    x, w, v = (
        rng.standard_normal((samples, inputs)),
        rng.standard_normal((8, inputs)),
        rng.standard_normal((outputs, 8)),
    )
    f = v @ np.maximum(w @ x.T, 0) + 0.3 * rng.standard_normal((outputs, samples))
    f -= np.median(f, axis=1, keepdims=True)
    if loss == "softmax":
        y = np.where(np.arange(outputs)[:, None] == np.argmax(f, axis=0), 1.0, -1.0)
    else:
        y = f if loss == "huber" else np.sign(f)
    return mfo.problems.dataset(x, y.T, loss=loss, lambda1=penalty, lambda2=penalty)


def losses() -> Iterator[Row]:
    """Single solves to 1e-3 and 1e-5."""
    mfo.solve(noisy_teacher("logistic", 40, 3, 2, 1.0))
    tasks = (
        ("logistic", 100, 4, 2, 0.3), ("logistic", 100, 4, 2, 0.05), ("logistic", 200, 10, 2, 0.5), ("logistic", 200, 10, 2, 0.1),
        ("huber", 100, 4, 2, 0.5), ("squared_hinge", 100, 4, 2, 0.5),
        ("softmax", 100, 4, 3, 0.3), ("softmax", 200, 10, 3, 0.3), ("softmax", 200, 10, 3, 0.1),
        ("huber, free output bias", 100, 4, 2, 0.5), ("logistic, free output bias", 100, 4, 2, 0.5),
    )  # fmt: skip
    for loss, samples, inputs, outputs, penalty in tasks:
        for tolerance in (1e-3, 1e-5):
            problem = noisy_teacher(loss.split(",")[0], samples, inputs, outputs, penalty)
            if "bias" in loss:
                problem = replace(problem, loss=mfo.loss("output_bias", base=problem.loss, penalty=0.0))
            _, row = ours(problem, loss, tolerance=tolerance, time_limit=60.0)
            row.pop("history", None)
            yield {
                "loss": loss,
                "samples": samples,
                "inputs": inputs,
                "outputs": outputs,
                "penalty": penalty,
                "tolerance": tolerance,
                **row,
            }
