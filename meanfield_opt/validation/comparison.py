"""A finished comparison: every seed against the certified optimum, in numbers, words and files."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..certificate import Certificate
from ..files import write_text
from ..problem import TwoLayerProblem
from ..solution import Solution
from .dynamics import Dynamics
from .escape import Escape
from .options import TrainOptions
from .seed_result import SeedResult
from .statistics import extreme, jsonable, quantiles, spread
from .training import Trained

Array = NDArray[np.float64]

#: what ``summary`` keeps of every seed
PER_SEED = (
    "seed",
    "energy",
    "gap",
    "excess",
    "distance",
    "cka",
    "procrustes",
    "parallelism",
    "ccgp",
    "steps",
    "settled",
    "control",
    "standing",
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Seeds against the optimum. ``threshold``: a seed reaches the optimum when its certified gap is at most that."""

    problem: TwoLayerProblem
    solution: Solution
    certificate: Certificate
    width: int
    scale: float
    threshold: float
    options: TrainOptions
    seeds: tuple[SeedResult, ...]
    dynamics: Dynamics
    escapes: tuple[Escape, ...]
    optimum: dict[str, Any]
    trained: Trained
    versions: dict[str, str]
    seconds: float = field(default=0.0)

    def values(self, name: str) -> Array:
        """One number a seed, (S,)."""
        return np.array([float(getattr(s, name)) for s in self.seeds])

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(S,) certified gap at most ``threshold``."""
        return np.asarray(self.values("gap") <= self.threshold)

    def summary(self) -> dict[str, Any]:
        """The comparison in JSON values: shares, quantiles and means with standard errors over seeds."""
        gaps = self.values("gap")
        body: dict[str, Any] = {
            "problem": self.problem.name,
            "lambda1": self.problem.lambda1,
            "lambda2": self.problem.lambda2,
            "seeds": len(self.seeds),
            "width": self.width,
            "initial_scale": self.scale,
            "training": {k: v for k, v in asdict(replace(self.options, progress=None)).items() if k != "progress"},
            "certificate": {
                "verdict": self.certificate.verdict,
                "proof": self.certificate.proof,
                "lower_bound": self.certificate.lower_bound,
                "upper_bound": self.certificate.upper_bound,
                "relative_gap": self.certificate.relative_gap,
            },
            "threshold": self.threshold,
            "share_reached": float(self.reached.mean()),
            "gap": quantiles(gaps),
            "excess": quantiles(self.values("excess")),
            "optimum": self.optimum,
            "seconds": self.seconds,
            "versions": self.versions,
        }
        for name in ("distance", "cka", "procrustes", "parallelism", "ccgp", "dimension"):
            body[name] = spread(self.values(name))
            if self.reached.any():
                body[name]["worst_of_reached"] = extreme(
                    self.values(name)[self.reached], name in ("distance", "procrustes")
                )
        body["explained"] = spread(np.array([s.matching.explained for s in self.seeds]))
        body["standing"] = dict(Counter(s.standing for s in self.seeds))
        body["escapes"] = [asdict(e) for e in self.escapes]
        body["per_seed"] = [
            {name: jsonable(getattr(s, name)) for name in PER_SEED}
            | {"explained": s.matching.explained, "improving_ratio": None if s.improving is None else s.improving.ratio}
            for s in self.seeds
        ]
        return body

    def rows(self) -> list[tuple[str, str]]:
        """The comparison in short: (quantity, value) pairs for a table."""
        gaps, body = self.values("gap"), self.summary()

        def shown(name: str) -> str:
            part = body[name]
            return "undefined" if part["mean"] is None else f"{part['mean']:.5f} +- {part['standard_error']:.1e}"

        def number(value: float) -> str:
            return "undefined" if not math.isfinite(value) else f"{value:.5f}"

        rows = [
            ("certified lower bound", f"{self.certificate.lower_bound:.9g} ({self.certificate.verdict})"),
            (
                "energy of the optimum",
                f"{self.solution.energy:.9g} (certified gap {self.certificate.relative_gap:.1e})",
            ),
            (
                "networks",
                f"{len(self.seeds)} seeds of {self.width} units, {self.options.method}, {self.options.steps} steps",
            ),
            (f"seeds within {self.threshold:g} of the bound", f"{int(self.reached.sum())} of {len(self.seeds)}"),
            ("certified gap: least, median, greatest", f"{gaps.min():.1e}, {np.median(gaps):.1e}, {gaps.max():.1e}"),
            (
                "energy above the solution's: least, median, greatest",
                "{:.1e}, {:.1e}, {:.1e}".format(*np.quantile(self.values("excess"), (0.0, 0.5, 1.0))),
            ),
            ("|K - K*| / |K*|", shown("distance")),
            ("CKA to K*", shown("cka")),
            ("parallelism score (optimum)", f"{shown('parallelism')} ({number(self.optimum['parallelism'])})"),
            ("CCGP (optimum)", f"{shown('ccgp')} ({number(self.optimum['ccgp'])})"),
            ("kernel explained by certified patterns", shown("explained")),
        ]
        standing = Counter(s.standing for s in self.seeds)
        rows.append(("standing", ", ".join(f"{count} {word}" for word, count in standing.most_common())))
        strong = self.certificate.relative_gap <= self.threshold
        for e in self.escapes:
            kind, reference = ("gap", None) if strong else ("excess", self.solution.energy)
            words = e.words(reference)
            rows.append((f"seed {e.seed}: {kind}, after more training, after neurons added ({e.verdict})", words))
        return rows

    def save(self, path: str | Path) -> None:
        """Write ``summary`` as JSON. Raises InputError where the file cannot be written."""
        write_text(path, json.dumps(jsonable(self.summary()), indent=1) + "\n", "the comparison")

    def write_report(self, path: str | Path) -> None:
        """Write one self-contained HTML page."""
        from ..report import write_report

        write_report(self, path)
