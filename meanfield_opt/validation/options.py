"""How networks are trained: a value, so that a run can be repeated."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from ..errors import InputError
from ..validate import integer, nonnegative, one_of, positive, shown

MOST_STEPS = 1_000_000_000
METHODS = ("adam", "gd", "sgd", "lbfgs")
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class TrainingProgress:
    """What a progress hook receives: energies are floating-point values of the seeds still training."""

    step: int
    steps: int
    best: float
    median: float
    active: int


@dataclass(frozen=True)
class TrainOptions:
    """Training by ``method`` for at most ``steps`` steps.

    method: "adam", "gd" (full batch, with ``momentum``), "sgd" (as gd, with ``batch`` samples a step and noise) or
    "lbfgs" (full batch, deterministic, its own line search). schedule: how the rate falls, "cosine" and "linear" to
    zero; a constant rate does not converge on kinked objectives and blames local minima that are not there.
    gradient_noise, label_noise: standard deviations of Gaussian noise added to the gradient and to the targets at
    every step, drawn per seed and per step. precision: "float64" or "float32". device: "auto", "cpu", "cuda", ...
    threads: CPU threads of torch while training (None: one, unless the problem is very large).
    stop_gap, lower: a seed stops when (E - lower)/E <= stop_gap. record_every: steps between observations (0: none).
    checkpoint: a file written every ``checkpoint_every`` steps, and resumed from if it is there and fits.
    """

    method: str = "adam"
    steps: int = 4000
    rate: float = 0.1
    schedule: str = "cosine"
    momentum: float = 0.0
    batch: int | None = None
    gradient_noise: float = 0.0
    label_noise: float = 0.0
    precision: str = "float64"
    device: str = "auto"
    threads: int | None = None
    stop_gap: float | None = None
    lower: float = -math.inf
    check_every: int = 100
    record_every: int = 0
    checkpoint: str | None = None
    checkpoint_every: int = 1000
    progress: Callable[[TrainingProgress], None] | None = None

    def __post_init__(self) -> None:
        one_of(self.method, "method", METHODS)
        one_of(self.schedule, "schedule", SCHEDULES)
        one_of(self.precision, "precision", ("float32", "float64"))
        integer(self.steps, "steps", least=1, most=MOST_STEPS)
        positive(self.rate, "rate")
        if not nonnegative(self.momentum, "momentum") < 1:
            raise InputError(f"momentum must lie in [0, 1), not {shown(self.momentum)}.")
        for name in ("gradient_noise", "label_noise"):
            nonnegative(getattr(self, name), name)
        for name in ("check_every", "checkpoint_every"):
            integer(getattr(self, name), name, least=1)
        integer(self.record_every, "record_every", least=0)
        for name in ("batch", "threads"):
            if getattr(self, name) is not None:
                integer(getattr(self, name), name, least=1)
        noisy = self.batch is not None or self.gradient_noise > 0 or self.label_noise > 0
        if noisy and self.method != "sgd":
            raise InputError(
                f"batches and noise belong to method 'sgd'; {self.method!r} is deterministic and full batch."
            )
        if self.stop_gap is not None:
            positive(self.stop_gap, "stop_gap")
            if not math.isfinite(self.lower):
                raise InputError("stop_gap needs a finite certified lower bound in ``lower``.")

    def rate_at(self, step: int) -> float:
        """The rate of step 0, 1, ..., steps - 1."""
        left = 1.0 - step / self.steps
        if self.schedule == "constant":
            return self.rate
        return self.rate * (left if self.schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left)))

    def identity(self) -> str:
        """A hash of everything that decides the outcome; a checkpoint resumes only the same run."""
        skip = {"progress", "checkpoint", "checkpoint_every", "device", "threads"}
        body = {f.name: repr(getattr(self, f.name)) for f in fields(self) if f.name not in skip}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
