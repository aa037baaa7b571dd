"""The random teacher: d_X = 10, P = 200, d_Y = 3."""

from __future__ import annotations

from typing import Any

from benchmark_utils import speed
from benchopt import BaseDataset


class Dataset(BaseDataset):
    name = "teacher"
    parameters = {"penalty": [5.0, 0.1]}  # noqa: RUF012

    def get_data(self) -> dict[str, Any]:
        return {"problem": speed.teacher_problem(self.penalty)}
