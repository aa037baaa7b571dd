"""Training many networks in one program: every optimiser works on flat parameters (S, n), one row a seed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..validate import positive
from .networks import import_torch
from .objective import Objective
from .optimisers import STEPPERS, value_and_gradient
from .options import TrainingProgress, TrainOptions

Array = NDArray[np.float64]
Observer = Callable[[int, Array], None]

log = logging.getLogger(__name__)

#: steps of noise drawn at a time
CHUNK = 32


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


def pick_device(name: str) -> Any:
    """The torch device: "auto" is CUDA where it is present; a named device that is absent is refused."""
    torch = import_torch()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"the device {name!r} cannot be used here: {first} Use device='auto' or 'cpu'.") from error
    return device


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
    A seed that diverges is frozen at its last finite parameters and reported, the others go on.
    """
    torch = import_torch()
    opt = TrainOptions() if options is None else options
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(s) for s in seeds)
    if not chosen or min(chosen) < 0:
        raise InputError("seeds must be a positive number or a list of nonnegative integers.")
    if opt.batch is not None and opt.batch > objective.n_samples:
        raise InputError(f"a batch of {opt.batch} cannot be drawn from {objective.n_samples} samples.")
    first = (
        objective.initial(list(chosen), positive(scale, "scale")) if start is None else np.asarray(start, np.float64)
    )
    if first.shape != (len(chosen), objective.size):
        raise InputError(f"start must have shape {(len(chosen), objective.size)}, not {first.shape}.")
    device, dtype = pick_device(opt.device), getattr(torch, opt.precision)
    x = torch.as_tensor(first, dtype=dtype, device=device)
    stepper = STEPPERS[opt.method](objective, opt, x)
    noise = Noise(objective, opt, chosen, device, dtype)
    active = torch.ones(len(chosen), dtype=torch.bool, device=device)
    taken = torch.zeros(len(chosen), dtype=torch.int64, device=device)
    bad = torch.zeros(len(chosen), dtype=torch.bool, device=device)
    begin = 0
    identity = (
        f"{objective.fingerprint} {opt.identity()} {chosen} {hash(first.tobytes())}"
        if start is not None
        else (f"{objective.fingerprint} {opt.identity()} {chosen} {scale!r}")
    )
    path = None if opt.checkpoint is None else Path(opt.checkpoint)
    if path is not None and path.exists():
        begin, x, active, taken, bad = _resume(path, identity, stepper, device)
    for step in range(begin, opt.steps):
        if opt.record_every and observe is not None and step % opt.record_every == 0:
            observe(step, x.detach().cpu().double().numpy())
        index, label, gradient = noise.at(step)
        new, energy = stepper.step(x, step, index, label, gradient)
        good = torch.isfinite(new).all(dim=1)
        bad |= active & ~good
        active &= good
        x = torch.where(active[:, None], new, x)
        taken += active
        if (step + 1) % opt.check_every == 0:
            if opt.stop_gap is not None:
                now = energy if index is None and label is None else _energies(objective, x)
                active &= (now - opt.lower) > opt.stop_gap * now.abs()
            if opt.progress is not None:
                shown = energy.detach().cpu().double().numpy()
                count = int(active.sum())
                opt.progress(
                    TrainingProgress(step + 1, opt.steps, float(np.min(shown)), float(np.median(shown)), count)
                )
            if not bool(active.any()):
                break
        if path is not None and (step + 1) % opt.checkpoint_every == 0:
            _save(path, identity, step + 1, x, active, taken, bad, stepper)
    final = x.detach().cpu().double()
    if observe is not None:
        observe(int(taken.max()), final.numpy())
    energy, slope = value_and_gradient(objective, final, None, None)
    if bool(bad.any()):
        log.warning("%d of %d seeds diverged; lower the rate", int(bad.sum()), len(chosen))
    return Trained(
        objective,
        chosen,
        final.numpy(),
        energy.numpy(),
        slope.norm(dim=1).numpy(),
        taken.cpu().numpy(),
        bad.cpu().numpy(),
        opt,
    )


def _energies(objective: Objective, x: Any) -> Any:
    with import_torch().no_grad():
        return objective.energies(x, None, None)


def _save(path: Path, identity: str, step: int, x: Any, active: Any, taken: Any, bad: Any, stepper: Any) -> None:
    torch = import_torch()
    body = {
        "identity": identity,
        "step": step,
        "x": x,
        "active": active,
        "taken": taken,
        "bad": bad,
        "state": stepper.state,
    }
    part = path.with_name(path.name + ".part")
    torch.save(body, part)
    part.replace(path)  # a checkpoint is whole or absent


def _resume(path: Path, identity: str, stepper: Any, device: Any) -> tuple[int, Any, Any, Any, Any]:
    torch = import_torch()
    try:
        body = torch.load(path, map_location=device, weights_only=True)
        if body["identity"] != identity:
            raise InputError(f"the checkpoint {path} belongs to another run; remove it or name another file.")
        stepper.state = body["state"]
        return int(body["step"]), body["x"], body["active"], body["taken"], body["bad"]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the checkpoint {path} cannot be read ({type(error).__name__}); remove it.") from error


def gap(energies: Array, lower: float) -> Array:
    """(E - lower) / max(1e-300, |E|) for each energy."""
    return (
        np.asarray((energies - lower) / np.maximum(1e-300, np.abs(energies)))
        if math.isfinite(lower)
        else energies * np.nan
    )
