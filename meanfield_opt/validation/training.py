"""Training many networks in one program: every optimiser works on flat parameters (S, n), one row a seed."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..validate import integer, positive
from .checkpoint import Position, Remembers, resume, save
from .device import pick_device, torch_threads
from .networks import import_torch
from .objective import Objective
from .optimisers import STEPPERS, Stepper, value_and_gradient
from .options import TrainingProgress, TrainOptions

Array = NDArray[np.float64]
Observer = Callable[[int, Array], None]

log = logging.getLogger(__name__)

#: steps of noise drawn at a time
CHUNK = 32

MOST_SEEDS = 100_000


@dataclass(frozen=True, eq=False)
class Trained:
    """S trained networks: parameters (S, n), their energies (S,) in float64, gradient norms, steps taken by each.

    diverged (S,): energies that ceased to be finite; such rows hold the last finite parameters.
    """

    objective: Objective
    seeds: tuple[int, ...]
    parameters: Array
    energies: Array
    gradient: Array
    steps: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    options: TrainOptions = field(repr=False)

    def weights(self, row: int) -> dict[str, Array]:
        """The parameter arrays of one network by name."""
        return {
            name: np.asarray(value[0]) for name, value in self.objective.unpack(self.parameters[row : row + 1]).items()
        }


class Noise:
    """Batches and noise as functions of (seed, step) alone, so that a resumed run sees the same ones."""

    def __init__(self, objective: Objective, options: TrainOptions, seeds: tuple[int, ...], device: Any, dtype: Any):
        self.o, self.options, self.seeds, self.device, self.dtype = objective, options, seeds, device, dtype
        self.chunk, self.drawn = -1, (None, None, None)

    def at(self, step: int) -> tuple[Any | None, Any | None, Any | None]:
        """(batch index, label noise, gradient noise) of a step; None where not asked for."""
        if step // CHUNK != self.chunk:
            self.chunk = step // CHUNK
            self.drawn = self._draw(self.chunk)
        i = step % CHUNK
        index, label, gradient = (None if a is None else a[:, i] for a in self.drawn)
        return index, label, gradient

    def _draw(self, chunk: int) -> tuple[Any, Any, Any]:
        torch = import_torch()
        opt, o = self.options, self.o
        parts: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for seed in self.seeds:
            rng = np.random.default_rng([seed, 40_093, chunk])
            if opt.batch is not None:
                order = rng.random((CHUNK, o.n_samples)).argsort(axis=1)
                parts[0].append(order[:, : opt.batch])
            if opt.label_noise > 0:
                parts[1].append(opt.label_noise * rng.standard_normal((CHUNK, o.n_outputs, o.n_samples)))
            if opt.gradient_noise > 0:
                parts[2].append(opt.gradient_noise * rng.standard_normal((CHUNK, o.size)))
        whole = [np.array(p) if p else None for p in parts]
        return (
            None if whole[0] is None else torch.as_tensor(whole[0], device=self.device),
            None if whole[1] is None else torch.as_tensor(whole[1], device=self.device, dtype=self.dtype),
            None if whole[2] is None else torch.as_tensor(whole[2], device=self.device, dtype=self.dtype),
        )


def train(
    objective: Objective,
    seeds: int | list[int] = 20,
    options: TrainOptions | None = None,
    *,
    scale: float = 1.0,
    start: Array | None = None,
    observe: Observer | None = None,
) -> Trained:
    """Train one network a seed, all in one batch of parameters.

    seeds: how many (0, 1, ...) or which. scale: of the initial weights. start (S, n): initial parameters instead.
    observe: called with (step, parameters (S, n)) every ``options.record_every`` steps, and at the end.
    A seed that diverges is frozen at its last finite parameters and reported, the others go on. An interrupted run with
    a checkpoint stores where it stood; the same call then goes on from there.
    """
    opt = TrainOptions() if options is None else options
    chosen = _chosen(seeds)
    if opt.batch is not None and opt.batch > objective.n_samples:
        raise InputError(f"a batch of {opt.batch} cannot be drawn from {objective.n_samples} samples.")
    first = (
        objective.initial(list(chosen), positive(scale, "scale")) if start is None else np.asarray(start, np.float64)
    )
    if first.shape != (len(chosen), objective.size):
        raise InputError(f"start must have shape {(len(chosen), objective.size)}, not {first.shape}.")
    if not np.isfinite(first).all():
        raise InputError("start contains NaN or infinity.")
    given = "" if start is None else hashlib.sha256(first.tobytes()).hexdigest()
    identity = f"{objective.fingerprint} {opt.identity()} {chosen} {given or repr(scale)}"
    with torch_threads(len(chosen) * objective.size * objective.n_samples, opt.threads):
        return _train(objective, chosen, opt, first, identity, observe)


def _chosen(seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, (list, tuple, range, np.ndarray)):
        return tuple(range(integer(seeds, "seeds (how many, or a list of them)", least=1, most=MOST_SEEDS)))
    if len(seeds) == 0:
        raise InputError("seeds is empty; give a positive number or a list of nonnegative integers.")
    return tuple(integer(seed, "each of the seeds", least=0) for seed in seeds)


def _train(
    objective: Objective,
    chosen: tuple[int, ...],
    opt: TrainOptions,
    first: Array,
    identity: str,
    observe: Observer | None,
) -> Trained:
    torch = import_torch()
    device, dtype = pick_device(opt.device), getattr(torch, opt.precision)
    x = torch.as_tensor(first, dtype=dtype, device=device)
    stepper = STEPPERS[opt.method](objective, opt, x)
    noise = Noise(objective, opt, chosen, device, dtype)
    no = torch.zeros(len(chosen), dtype=torch.bool, device=device)
    at = Position(0, x, ~no, torch.zeros(len(chosen), dtype=torch.int64, device=device), no, stepper.state)
    path = None if opt.checkpoint is None else Path(opt.checkpoint)
    if path is not None and path.exists():
        at, memory = resume(path, identity, at)
        stepper.state = at.state
        if memory is not None and isinstance(observe, Remembers):
            observe.restore(memory)
    seen = at.step
    try:
        while at.step < opt.steps and bool(at.active.any()):
            if opt.record_every and observe is not None and at.step % opt.record_every == 0:
                observe(at.step, at.x.detach().cpu().double().numpy())
            at = _advance(objective, opt, stepper, noise, at)
            if path is not None and at.step % opt.checkpoint_every == 0:
                save(path, identity, at, _memory(observe))
                seen = at.step
    finally:  # also when interrupted: what was reached is kept
        if path is not None and at.step > seen:
            save(path, identity, at, _memory(observe))
    return _finish(objective, chosen, opt, at, observe)


def _advance(objective: Objective, opt: TrainOptions, stepper: Stepper, noise: Noise, at: Position) -> Position:
    """One step; at every check, seeds that are near enough stop and progress is reported."""
    torch = import_torch()
    index, label, gradient = noise.at(at.step)
    new, energy = stepper.step(at.x, at.step, index, label, gradient)
    good = torch.isfinite(new).all(dim=1)
    bad = at.bad | (at.active & ~good)
    active = at.active & good
    x = torch.where(active[:, None], new, at.x)
    taken = at.taken + active
    step = at.step + 1
    if step % opt.check_every == 0:
        if opt.stop_gap is not None:
            with torch.no_grad():  # in float64, and a hair inside: the certified gap is rounded up
                now = objective.energies(x.double(), None, None)
            active = active & ((now - opt.lower) > opt.stop_gap * (1 - 1e-6) * now.abs())
        if opt.progress is not None:
            shown = energy.detach().cpu().double().numpy()
            left = int(active.sum())
            opt.progress(TrainingProgress(step, opt.steps, float(np.min(shown)), float(np.median(shown)), left))
    return Position(step, x, active, taken, bad, stepper.state)


def _memory(observe: Observer | None) -> dict[str, Any] | None:
    return observe.state() if isinstance(observe, Remembers) else None


def _finish(
    objective: Objective, chosen: tuple[int, ...], opt: TrainOptions, at: Position, observe: Observer | None
) -> Trained:
    final = at.x.detach().cpu().double()
    if observe is not None:
        observe(int(at.taken.max()), final.numpy())
    energy, slope = value_and_gradient(objective, final, None, None)
    if bool(at.bad.any()):
        log.warning("%d of %d seeds diverged; lower the rate", int(at.bad.sum()), len(chosen))
    return Trained(
        objective,
        chosen,
        final.numpy(),
        energy.numpy(),
        slope.norm(dim=1).numpy(),
        at.taken.cpu().numpy(),
        at.bad.cpu().numpy(),
        opt,
    )


def gap(energies: Array, lower: float) -> Array:
    """(E - lower) / max(1e-300, |E|) for each energy."""
    return (
        np.asarray((energies - lower) / np.maximum(1e-300, np.abs(energies)))
        if math.isfinite(lower)
        else energies * np.nan
    )
