"""A problem with many weights a neuron, quickly solved."""

from __future__ import annotations

import numpy as np

import meanfield_opt as mfo


def instance(samples: int = 80, inputs: int = 20, outputs: int = 2, activation: str = "relu") -> mfo.TwoLayerProblem:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((samples, inputs))
    y = np.where(rng.standard_normal((samples, outputs)) + x[:, :outputs] > 0, 1.0, -1.0)
    return mfo.problems.dataset(x, y, lambda1=4.0, lambda2=4.0, activation=activation)
