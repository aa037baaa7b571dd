"""The problem inside a certificate: by recipe, or with all its data, so that the file can be checked on its own."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import CertificateError, InputError, MeanFieldError, UnknownNameError
from ..geometry import DenseGeometry, DiagonalPlusLowRank, FactorGeometry, FreeBiasGeometry, Geometry
from ..plugins import ACTIVATIONS, FAMILIES, LOSSES
from ..problem import MeanFieldProblem, TwoLayerProblem
from .codec import decode_array, decode_float, encode_array, encode_float, expect_keys

GEOMETRIES: dict[str, type[Geometry]] = {
    c.__name__: c for c in (FactorGeometry, DiagonalPlusLowRank, DenseGeometry, FreeBiasGeometry)
}
_DATA = {"label", "activation", "loss", "geometry", "targets", "lambda1", "lambda2", "width"}


def neurons_define(problem: TwoLayerProblem) -> bool:
    """Whether neurons, rather than patterns, are what the geometry takes as exact (a pattern off range A has none)."""
    return isinstance(problem.geometry, FactorGeometry | FreeBiasGeometry)


def plain(value: Any) -> Any:
    """JSON values as they read back from a file (tuples become lists)."""
    return json.loads(json.dumps(value, allow_nan=False))


def problem_entry(problem: MeanFieldProblem) -> dict[str, Any]:
    """What a certificate says about its problem."""
    recipe = problem.recipe
    by_data = recipe is None and isinstance(problem, TwoLayerProblem)
    return {
        "kind": "two-layer" if isinstance(problem, TwoLayerProblem) else type(problem).__name__,
        "fingerprint": problem.fingerprint,
        "recipe": None if recipe is None else {"family": recipe.family, "parameters": plain(dict(recipe.parameters))},
        "data": problem_data(problem) if by_data and isinstance(problem, TwoLayerProblem) else None,
        "description": plain(problem.describe()),
    }


def problem_data(problem: TwoLayerProblem) -> dict[str, Any]:
    """Everything that defines a problem given by data."""
    geometry = problem.geometry
    if type(geometry).__name__ not in GEOMETRIES:
        raise InputError(f"certificates cannot hold a geometry of class {type(geometry).__name__} yet.")
    arrays = {f.name: encode_array(getattr(geometry, f.name)) for f in fields(geometry) if f.init}  # type: ignore[arg-type]
    return {
        "label": problem.label,
        "activation": {"name": problem.activation.name, "parameters": plain(problem.activation.parameters)},
        "loss": {"name": problem.loss.name, "parameters": plain(problem.loss.parameters)},
        "geometry": {"class": type(geometry).__name__, "arrays": arrays},
        "targets": encode_array(problem.targets),
        "lambda1": encode_float(problem.lambda1),
        "lambda2": encode_float(problem.lambda2),
        "width": None if problem.width is None else encode_float(problem.width),
    }


def problem_from_data(data: Any) -> TwoLayerProblem:
    """The inverse of ``problem_data``."""
    expect_keys(data, _DATA, "the problem's data")
    expect_keys(data["activation"], {"name", "parameters"}, "the activation")
    expect_keys(data["loss"], {"name", "parameters"}, "the loss")
    expect_keys(data["geometry"], {"class", "arrays"}, "the geometry")
    kind = data["geometry"]["class"]
    if kind not in GEOMETRIES:
        raise CertificateError(f"geometries of class {kind!r} are unknown to this checker.")
    cls: Any = GEOMETRIES[kind]
    dims = {"factor": 2, "inputs": 2, "diagonal": 1, "columns": 2, "weight": 1, "kernel": 2}
    names = {f.name for f in fields(cls) if f.init}
    expect_keys(data["geometry"]["arrays"], names, "the geometry's arrays")
    arrays = {n: decode_array(data["geometry"]["arrays"][n], n, ndim=dims[n]) for n in names}
    return TwoLayerProblem(
        ACTIVATIONS.get(data["activation"]["name"])(**data["activation"]["parameters"]),
        LOSSES.get(data["loss"]["name"])(**data["loss"]["parameters"]),
        cls(**arrays),
        decode_array(data["targets"], "the targets", ndim=2),
        decode_float(data["lambda1"], "lambda1"),
        decode_float(data["lambda2"], "lambda2"),
        None if data["width"] is None else decode_float(data["width"], "the width"),
        str(data["label"]),
    )


def settle_problem(entry: Any, given: MeanFieldProblem | None) -> MeanFieldProblem:
    """The problem of a certificate, rebuilt from the file, and identical with the ``given`` one if there is one.

    Where the file's own problem uses a plug-in that is not registered here, the given problem must have that very entry.
    """
    expect_keys(entry, {"kind", "fingerprint", "recipe", "data", "description"}, "the problem entry")
    if given is not None and entry["fingerprint"] != given.fingerprint:
        raise CertificateError("the certificate belongs to another problem (fingerprints differ).")
    if given is not None and given.recipe is not None and problem_entry(given) == entry:
        return given  # the file says of its problem what the given one says of itself
    try:
        problem = _rebuild(entry)
    except UnknownNameError as error:
        if given is None or any(problem_entry(given)[key] != entry[key] for key in entry):
            raise CertificateError(f"the problem of the certificate cannot be rebuilt: {error}") from error
        problem = given
    except (MeanFieldError, TypeError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"the problem of the certificate cannot be rebuilt: {error}") from error
    if problem.fingerprint != entry["fingerprint"]:
        raise CertificateError("the problem in the certificate is not the one of its fingerprint.")
    if plain(problem.describe()) != entry["description"]:
        raise CertificateError("the certificate describes its problem wrongly.")
    return problem if given is None else given


def _rebuild(entry: dict[str, Any]) -> MeanFieldProblem:
    recipe, data = entry["recipe"], entry["data"]
    if (recipe is None) == (data is None):
        raise CertificateError("the certificate must say which problem it is for: either by recipe or by data.")
    if data is not None:
        with np.errstate(all="ignore"):
            return problem_from_data(data)
    expect_keys(recipe, {"family", "parameters"}, "the recipe")
    problem = FAMILIES.get(recipe["family"])(**recipe["parameters"])
    if not isinstance(problem, MeanFieldProblem):
        raise CertificateError(f"{recipe['family']!r} does not build a problem.")
    return problem
