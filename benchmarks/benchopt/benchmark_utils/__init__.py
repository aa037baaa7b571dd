"""The solvers of the comparison, shared with benchmarks/peers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rivals
import speed

__all__ = ["rivals", "speed"]
