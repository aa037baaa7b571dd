"""Data of a problem that takes a while to prove, and a user who presses Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 2))


def after(calls: int) -> Callable[..., None]:
    """A progress hook during whose ``calls``-th call the user presses Ctrl-C."""
    seen: list[tuple[float, ...]] = []

    def hook(*event: float) -> None:
        seen.append(event)
        if len(seen) == calls:
            raise KeyboardInterrupt

    return hook
