"""Arguments that name a problem: a family with its parameters, or a data file."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

from ..data_files import SUFFIXES, read_data
from ..errors import InputError, UnknownNameError
from ..plugins import FAMILIES
from ..problem import MeanFieldProblem


def _alignment(text: str) -> float | list[float]:
    values = [float(part) for part in text.split(",")]
    return values if len(values) > 1 else values[0]


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def add_problem_arguments(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The positional problem and every parameter of the built-in families; others go through --set."""
    parser.add_argument(
        "problem",
        nargs="?" if optional else None,
        help="a problem family (see 'meanfield-opt problems') or a data file (.npz with X and Y, or .csv)",
    )
    add = parser.add_argument_group("problem parameters").add_argument
    none: Any = argparse.SUPPRESS
    add("--latents", type=int, default=none, help="hypercube: number of labels")
    add("--samples-per-class", type=int, default=none, dest="samples_per_class", help="hypercube: samples a class")
    add("--geometry", default=none, help="hypercube: whitened, aligned or anisotropic")
    add("--alignment", type=_alignment, default=none, help="hypercube: a, or a1,a2,... when anisotropic")
    add("--labels", type=lambda t: t.split(","), default=none, help="digits: parity,magnitude,onehot,is0,...")
    add("--samples", type=int, default=none, help="digits: size of the random subset")
    add("--components", type=int, default=none, help="digits: principal components kept")
    add("--whiten", action="store_true", default=none, help="digits: whiten the components")
    add("--data-seed", type=int, default=none, dest="seed", help="digits: seed of the subset")
    add("--targets", type=int, default=none, help="csv: number of target columns (the last ones)")
    add("--activation", default=none, help="see 'meanfield-opt activations'")
    add("--loss", default=none, help="see 'meanfield-opt losses'")
    add("--lambda1", type=float, default=none, help="penalty on hidden weights")
    add("--lambda2", type=float, default=none, help="penalty on output weights")
    add("--width", type=float, default=none, help="mass constraint (number of neurons)")
    add("--no-bias", action="store_false", dest="bias", default=none, help="no hidden bias")
    add(
        "--set",
        type=_setting,
        action="append",
        dest="settings",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter of the family",
    )


PARAMETERS = (
    "latents",
    "samples_per_class",
    "geometry",
    "alignment",
    "labels",
    "samples",
    "components",
    "whiten",
    "seed",
    "activation",
    "loss",
    "lambda1",
    "lambda2",
    "width",
    "bias",
)


def build_problem(arguments: argparse.Namespace) -> MeanFieldProblem:
    """The problem that the parsed arguments name."""
    given = {name: getattr(arguments, name) for name in PARAMETERS if hasattr(arguments, name)}
    given.update(dict(arguments.settings))
    target: str = arguments.problem
    if hasattr(arguments, "targets") and Path(target).suffix.lower() != ".csv":
        raise InputError(f"--targets tells which columns of a csv file are targets; {target} is none.")
    if Path(target).suffix.lower() in SUFFIXES:
        x, y = read_data(target, targets=getattr(arguments, "targets", None))
        return _build("dataset", {"X": x, "Y": y, "name": Path(target).name, **given})
    if target not in FAMILIES.names() and ("/" in target or "." in target):
        raise InputError(
            f"{target}: data files end in .npz (arrays X and Y) or .csv; see 'meanfield-opt problems' for families."
        )
    if target == "dataset":
        raise InputError("the family 'dataset' needs a data file: give its path (.npz with X and Y, or .csv).")
    return _build(target, given)


def _build(family: str, parameters: dict[str, Any]) -> MeanFieldProblem:
    try:
        function = FAMILIES.get(family)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} Data files end in .npz or .csv.") from error
    accepted = inspect.signature(function).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        unknown = sorted(set(parameters) - set(accepted))
        if unknown:
            raise InputError(
                f"the family {family!r} has no parameter {', '.join(unknown)}; it takes: {', '.join(accepted)}."
            )
    try:
        problem = function(**parameters)
    except TypeError as error:
        raise InputError(f"the family {family!r} cannot be built from these parameters: {error}") from error
    if not isinstance(problem, MeanFieldProblem):
        raise InputError(f"the family {family!r} does not build a problem.")
    return problem
