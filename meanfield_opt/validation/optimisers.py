"""Optimisers over flat parameters (S, n). Rows never mix, so a batch of seeds is S independent runs.

Each stepper has ``state`` (a dictionary of tensors and numbers, for checkpoints) and
``step(x, t, index, label_noise, gradient_noise) -> (new x, energies before the step)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .networks import import_torch
from .objective import Objective
from .options import TrainOptions


def value_and_gradient(objective: Objective, x: Any, index: Any | None, label_noise: Any | None) -> tuple[Any, Any]:
    """Energies (S,) and their gradients (S, n)."""
    torch = import_torch()
    leaf = x.detach().requires_grad_(True)
    energies = objective.energies(leaf, index, label_noise)
    (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach(), gradient


class Stepper(ABC):
    """One optimiser. ``state`` is replaced by every step and its parts are never changed in place."""

    def __init__(self, objective: Objective, options: TrainOptions, x: Any) -> None:
        self.objective, self.options = objective, options
        self.state: dict[str, Any] = self.fresh(x)

    @abstractmethod
    def fresh(self, x: Any) -> dict[str, Any]:
        """The state before the first step."""

    @abstractmethod
    def step(self, x: Any, t: int, index: Any | None, label_noise: Any | None, noise: Any | None) -> tuple[Any, Any]:
        """One step from x (S, n): the new parameters and the energies at x."""


class Adam(Stepper):
    """Kingma and Ba 2015, bias-corrected, betas (0.9, 0.999)."""

    def fresh(self, x: Any) -> dict[str, Any]:
        torch = import_torch()
        return {"m": torch.zeros_like(x), "v": torch.zeros_like(x)}

    def step(self, x: Any, t: int, index: Any | None, label_noise: Any | None, noise: Any | None) -> tuple[Any, Any]:
        energies, g = value_and_gradient(self.objective, x, index, label_noise)
        m = self.state["m"].mul(0.9).add_(g, alpha=0.1)
        v = self.state["v"].mul(0.999).addcmul_(g, g, value=0.001)
        self.state = {"m": m, "v": v}
        denominator = (v / (1 - 0.999 ** (t + 1))).sqrt_().add_(1e-12)
        rate = self.options.rate_at(t) / (1 - 0.9 ** (t + 1))
        return x.addcdiv(m, denominator, value=-rate), energies


class GradientDescent(Stepper):
    """Gradient descent, with heavy-ball momentum; gradient noise and batches where the options ask for them."""

    def fresh(self, x: Any) -> dict[str, Any]:
        return {"m": import_torch().zeros_like(x)}

    def step(self, x: Any, t: int, index: Any | None, label_noise: Any | None, noise: Any | None) -> tuple[Any, Any]:
        energies, g = value_and_gradient(self.objective, x, index, label_noise)
        if noise is not None:
            g = g + noise
        m = self.state["m"].mul(self.options.momentum).add_(g)
        self.state = {"m": m}
        return x.add(m, alpha=-self.options.rate_at(t)), energies


class Lbfgs(Stepper):
    """L-BFGS with 10 pairs a seed and an Armijo backtracking line search, each seed with its own step length.

    A seed whose line search fails restarts from steepest descent; pairs of nonpositive curvature are skipped (by
    weight zero), so the direction is always one of descent.
    """

    MEMORY = 10

    def fresh(self, x: Any) -> dict[str, Any]:
        torch = import_torch()
        shape = (self.MEMORY, *x.shape)
        return {
            "s": torch.zeros(shape, dtype=x.dtype, device=x.device),
            "y": torch.zeros(shape, dtype=x.dtype, device=x.device),
            "rho": torch.zeros(shape[:2], dtype=x.dtype, device=x.device),
            "e": torch.zeros(x.shape[0], dtype=x.dtype, device=x.device),
            "g": torch.zeros_like(x),
            "used": 0,
        }

    def step(self, x: Any, t: int, index: Any | None, label_noise: Any | None, noise: Any | None) -> tuple[Any, Any]:
        torch = import_torch()
        e, g = self.state["e"], self.state["g"]
        if self.state["used"] == 0:
            e, g = value_and_gradient(self.objective, x, None, None)
        direction = -self._apply_inverse(g)
        slope = (direction * g).sum(1)
        reset = ~(slope < 0)
        direction = torch.where(reset[:, None], -g, direction)
        slope = torch.where(reset, -g.square().sum(1), slope)
        fresh = (self.state["rho"] == 0).all(dim=0)
        length = torch.where(fresh, 1.0 / g.norm(dim=1).clamp_min(1.0), torch.ones_like(e))
        done = torch.zeros_like(reset)
        best, new_e = x, e
        for _ in range(30):
            trial = x + length[:, None] * direction
            with torch.no_grad():
                value = self.objective.energies(trial, None, None)
            fine = ~done & (value <= e + 1e-4 * length * slope)
            best = torch.where(fine[:, None], trial, best)
            new_e = torch.where(fine, value, new_e)
            done |= fine
            if bool(done.all()):
                break
            length = torch.where(done, length, 0.5 * length)
        _, new_g = value_and_gradient(self.objective, best, None, None)
        pairs = self._remembered(best - x, new_g - g, done)
        self.state = {**pairs, "e": new_e, "g": new_g, "used": self.state["used"] + 1}
        return best, e

    def _apply_inverse(self, g: Any) -> Any:
        """The two-loop recursion on every seed at once (rho = 0 leaves a pair out)."""
        torch = import_torch()
        s, y, rho = self.state["s"], self.state["y"], self.state["rho"]
        q = g.clone()
        alpha = torch.zeros_like(rho)
        for i in range(self.MEMORY - 1, -1, -1):
            alpha[i] = rho[i] * (s[i] * q).sum(1)
            q = q - alpha[i][:, None] * y[i]
        used = rho[-1] > 0
        scale = torch.where(used, 1.0 / (rho[-1] * y[-1].square().sum(1)).clamp_min(1e-300), torch.ones_like(rho[-1]))
        q = q * scale[:, None]
        for i in range(self.MEMORY):
            beta = rho[i] * (y[i] * q).sum(1)
            q = q + (alpha[i] - beta)[:, None] * s[i]
        return q

    def _remembered(self, s: Any, y: Any, done: Any) -> dict[str, Any]:
        """The pairs with (s, y) added: a seed with a bad pair keeps its old ones; a failed line search empties them."""
        torch = import_torch()
        state, out = self.state, {}
        product = (s * y).sum(1)
        good = done & (product > 1e-12 * s.norm(dim=1) * y.norm(dim=1))
        rho = torch.where(good, 1.0 / torch.where(good, product, torch.ones_like(product)), torch.zeros_like(product))
        for name, new in (("s", s), ("y", y)):
            rolled = torch.cat([state[name][1:], new[None]])
            out[name] = torch.where(good[None, :, None], rolled, state[name])
        kept = torch.where(good[None], torch.cat([state["rho"][1:], rho[None]]), state["rho"])
        out["rho"] = torch.where(done[None], kept, torch.zeros_like(kept))
        return out


STEPPERS: dict[str, type[Stepper]] = {"adam": Adam, "gd": GradientDescent, "sgd": GradientDescent, "lbfgs": Lbfgs}
