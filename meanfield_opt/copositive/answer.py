"""The three answers of a copositivity test, each with what it takes to check it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, final

from ..checker.copositive import replay, replay_witness, replay_zero
from ..checker.copositive_file import FORMAT, VERSION, encode, encode_rational, matrix_digest
from ..checker.document import digest
from ..files import write_text
from ..validate import instance
from .matrix import ExactMatrix

WORDS = {
    "nonnegative": "all entries nonnegative",
    "psd": "positive semidefinite (exact elimination)",
    "spn": "PSD + entrywise nonnegative (exact split)",
    "split": "blocks of the negative-entry graph",
    "scale": "diagonal scaling",
    "parrilo": "Parrilo-type certificate (semidefinite forms times nonnegative products)",
    "aggregate": "merged indices",
    "tree": "exact search over the supports of a smallest counterexample",
    "round": "rounding down on a scaled grid",
    "stable": "stability number (exhaustive search with colour bounds)",
}


@final
@dataclass(frozen=True, repr=False)
class ProofTree:
    """A proof as the JSON value that ``meanfield_opt.checker.copositive.replay`` understands.

    Applies to the integer matrix A * denominator.
    """

    artefact: dict[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """The outermost kind of the proof."""
        return str(self.artefact["kind"])

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds used, outermost first."""
        found: list[str] = []

        def visit(node: dict[str, Any]) -> None:
            if node["kind"] not in found:
                found.append(node["kind"])
            if "proof" in node:
                visit(node["proof"])
            for _, inner in node.get("blocks", ()):
                visit(inner)

        visit(self.artefact)
        return tuple(found)

    def __str__(self) -> str:
        return "; ".join(WORDS[k] for k in self.kinds)

    def __repr__(self) -> str:
        return f"<proof: {self}>"


@final
@dataclass(frozen=True, eq=False)
class Copositive:
    """x^T A x >= 0 for all x >= 0, proved.

    strict: True (proved > 0 for x != 0), False (``zero`` is an exact zero, so A is on the boundary), None (not settled).
    """

    matrix: ExactMatrix = field(repr=False)
    proof: ProofTree
    strict: bool | None
    zero: tuple[Fraction, ...] | None = None
    seconds: float = 0.0

    copositive = True

    def __bool__(self) -> bool:
        return True

    def replay(self) -> None:
        """Check everything again with the independent checker; CertificateError if anything does not follow."""
        strict = replay(self.matrix.entries, self.proof.artefact)
        if self.zero is not None:
            replay_zero(self.matrix.entries, self.zero)
        if self.strict and not strict:
            from ..errors import CertificateError

            raise CertificateError("the proof does not show strict copositivity.")

    def save(self, path: str | Path) -> None:
        """Write a certificate file that ``mfo.copositive.verify`` reads."""
        claim = {"answer": "copositive", "strict": self.strict, "zero": _vector(self.zero)}
        _write(self.matrix, {**claim, "proof": encode(self.proof.artefact)}, path)


@final
@dataclass(frozen=True, eq=False)
class NotCopositive:
    """x^T A x < 0 at the exact rational ``witness`` x >= 0; ``value`` is x^T A x."""

    matrix: ExactMatrix = field(repr=False)
    witness: tuple[Fraction, ...]
    value: Fraction
    seconds: float = 0.0

    copositive = False

    def __bool__(self) -> bool:
        return False

    def replay(self) -> None:
        """Check the witness again with the independent checker."""
        replay_witness(self.matrix.entries, self.witness)

    def save(self, path: str | Path) -> None:
        """Write a certificate file that ``mfo.copositive.verify`` reads."""
        _write(self.matrix, {"answer": "not copositive", "witness": _vector(self.witness)}, path)


@final
@dataclass(frozen=True, eq=False)
class Undecided:
    """No answer within the limits. bound: a proved lower bound on x^T A x over the unit simplex."""

    matrix: ExactMatrix = field(repr=False)
    reason: str
    bound: Fraction
    seconds: float = 0.0

    copositive = None

    def __bool__(self) -> bool:
        raise ValueError(f"the test ended undecided ({self.reason}); compare the type of the answer instead.")


Answer = Copositive | NotCopositive | Undecided


def as_json(answer: Answer) -> dict[str, Any]:
    """The answer in JSON values: answer, order, seconds and what belongs to each kind; ``proof_data`` is the proof."""
    instance(answer, (Copositive, NotCopositive, Undecided), "answer", "what copositive.check returned")
    facts: dict[str, Any] = {"answer": "undecided", "order": answer.matrix.order, "seconds": answer.seconds}
    if isinstance(answer, Copositive):
        zero = None if answer.zero is None else [str(v) for v in answer.zero]
        facts |= {"answer": "copositive", "strict": answer.strict, "zero": zero, "proof": str(answer.proof)}
        facts["proof_data"] = encode(answer.proof.artefact)
    elif isinstance(answer, NotCopositive):
        facts |= {"answer": "not copositive", "witness": [str(v) for v in answer.witness], "value": str(answer.value)}
    else:
        facts |= {"reason": answer.reason, "bound": str(answer.bound)}
    return facts


def _vector(x: Sequence[Fraction] | None) -> Any:
    return None if x is None else [encode_rational(v) for v in x]


def _write(matrix: ExactMatrix, claim: dict[str, Any], path: str | Path) -> None:
    body = {
        "format": FORMAT,
        "version": VERSION,
        "matrix": matrix_digest(matrix.entries, matrix.denominator),
        "entries": encode([list(row) for row in matrix.entries]),
        "denominator": encode(matrix.denominator),
        **claim,
    }
    text = json.dumps({**body, "digest": digest(body)}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_text(path, text, "the certificate")
