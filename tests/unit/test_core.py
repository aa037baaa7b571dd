"""The core on its smallest worked examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo


@pytest.mark.parametrize(
    ("latents", "alignment", "energy"),
    [
        (2, 0.0, 0.08739560920082658),
        (3, 0.0, 0.17855210486664985),
        (4, 0.0, 0.3288537540618527),
        (6, 0.0, 0.9667471986498648),
        (2, 0.5, 0.058317072800551),
        (2, 2.0, 0.042704655848845),
        (3, 0.5, 0.09456394319626053),
        (3, 2.0, 0.066517869700874),
        (4, 0.5, 0.131846040522637),
    ],
)
def test_hypercube_closed_form_is_the_energy_of_its_measure(latents: int, alignment: float, energy: float) -> None:
    problem = mfo.problems.hypercube(latents, geometry="aligned" if alignment else "whitened", alignment=alignment)
    assert problem.known is not None
    assert problem.known.measure is not None
    assert problem.known.energy == pytest.approx(energy, rel=1e-12)
    assert problem.energy(problem.known.measure()) == pytest.approx(energy, rel=1e-12)


def test_certificate_round_trip_and_tampering(tmp_path: Path) -> None:
    problem = mfo.problems.hypercube(2)
    assert problem.known is not None
    assert problem.known.measure is not None
    certificate = mfo.certify(problem, problem.known.measure())
    assert certificate.verdict == "proved"
    assert certificate.lower_bound <= problem.known.energy <= certificate.upper_bound
    path = tmp_path / "c.json"
    certificate.save(path)
    assert mfo.verify(path).lower_bound == certificate.lower_bound
    with pytest.raises(mfo.CertificateError, match="another problem"):
        mfo.verify(path, mfo.problems.hypercube(3))
    text = path.read_text()
    path.write_text(text.replace("proved", "PROVED"))
    with pytest.raises(mfo.CertificateError, match="digest"):
        mfo.verify(path, problem)


def test_geometries_agree() -> None:
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((7, 2))
    low = mfo.DiagonalPlusLowRank(np.full(7, 2.0), columns, np.array([1.0, 3.0]))
    kernel = 2.0 * np.eye(7) + (columns * [1.0, 3.0]) @ columns.T
    dense = mfo.DenseGeometry((kernel + kernel.T) / 2)
    h = rng.standard_normal((4, 7))
    exact = np.einsum("jp,pj->j", h, np.linalg.solve(kernel, h.T))
    for space in (low, dense):
        np.testing.assert_allclose(space.cost(h), exact, rtol=1e-10)
        np.testing.assert_allclose(space.preactivation(space.weights(h)), h, atol=1e-10)
        bound = space.enclose(h, None).cost
        assert (bound >= exact * (1 - 1e-12)).all()
        np.testing.assert_allclose(bound, exact, rtol=1e-9)
