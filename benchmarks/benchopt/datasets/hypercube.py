"""Whitened hypercube tasks with known optimum."""

from __future__ import annotations

from typing import Any

from benchopt import BaseDataset

import meanfield_opt as mfo


class Dataset(BaseDataset):
    name = "hypercube"
    parameters = {"d": [3, 4, 5, 6]}  # noqa: RUF012

    def get_data(self) -> dict[str, Any]:
        return {"problem": mfo.problems.hypercube(self.d)}
