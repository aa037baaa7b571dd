"""Training in batches: seeds are independent and repeatable, noise and checkpoints resume, bad options are refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import meanfield_opt as mfo
from meanfield_opt.validation.objective import TwoLayerObjective
from meanfield_opt.validation.options import METHODS, TrainOptions
from meanfield_opt.validation.training import gap, train

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


def objective(width: int = 6) -> TwoLayerObjective:
    return TwoLayerObjective(mfo.problems.hypercube(2), width)


def options(method: str, **extra: object) -> TrainOptions:
    rate = {"adam": 0.1, "lbfgs": 1.0}.get(method, 0.02)
    noise = {"batch": 2, "gradient_noise": 0.01, "label_noise": 0.05} if method == "sgd" else {}
    return replace(TrainOptions(method=method, rate=rate, steps=40, check_every=10, **noise), **extra)  # type: ignore[arg-type]


def test_objective_is_the_problems_energy() -> None:
    o = objective()
    x = o.initial([3, 4], 1.0)
    energies = o.energies(torch.from_numpy(x), None, None).numpy()
    part = o.unpack(x)
    p = o.problem
    for s in range(2):
        theta, v = part["theta"][s], part["readout"][s]
        f = v @ p.features(p.geometry.preactivation(theta))
        wanted = p.loss.value(f, p.targets) + 0.01 * (np.square(theta).sum() + np.square(v).sum())
        assert energies[s] == pytest.approx(wanted, rel=1e-12)
    whole = torch.arange(4).repeat(2, 1)
    np.testing.assert_allclose(o.energies(torch.from_numpy(x), whole, None).numpy(), energies, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_seeds_do_not_mix(method: str) -> None:
    o = objective()
    together = train(o, [0, 1, 2], options(method))
    alone = train(o, [1], options(method))
    np.testing.assert_allclose(together.parameters[1], alone.parameters[0], atol=1e-9)
    again = train(o, [0, 1, 2], options(method))
    np.testing.assert_array_equal(together.parameters, again.parameters)
    start = o.energies(torch.from_numpy(o.initial([0, 1, 2], 1.0)), None, None).numpy()
    assert (together.energies < start).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_resumes_the_same_run(method: str, tmp_path: Path) -> None:
    o = objective()
    whole = train(o, 3, options(method))
    file = tmp_path / "run.pt"
    seen: list[int] = []

    class Stop(Exception):
        pass

    def interrupt(step: int, _: np.ndarray) -> None:
        seen.append(step)
        if step == 30:
            raise Stop

    stored = options(method, checkpoint=str(file), checkpoint_every=20, record_every=10)
    with pytest.raises(Stop):
        train(o, 3, stored, observe=interrupt)
    seen.clear()
    rest = train(o, 3, stored, observe=lambda step, _: seen.append(step))
    assert seen[0] == 30  # it was interrupted at 30 and stored where it stood, not only at 20
    np.testing.assert_allclose(rest.parameters, whole.parameters, atol=1e-12)
    with pytest.raises(mfo.InputError, match="another run"):
        train(o, 4, stored)
    file.write_bytes(b"broken")
    with pytest.raises(mfo.InputError, match="cannot be read"):
        train(o, 3, stored)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    o, file = objective(), tmp_path / "run.pt"
    stored = options("adam", checkpoint=str(file), checkpoint_every=20)
    train(o, 3, stored)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(mfo.InputError, match="cannot be read"):
        train(o, 3, stored)
    file.write_bytes(whole)
    body = torch.load(file, weights_only=True)
    for key, value in (("x", body["x"] * np.nan), ("x", body["x"][:, 1:]), ("state", {}), ("x", body["x"].float())):
        torch.save({**body, key: value}, file)
        with pytest.raises(mfo.InputError, match="damaged"):
            train(o, 3, stored)
    torch.save([1, 2], file)
    with pytest.raises(mfo.InputError, match="cannot be read"):
        train(o, 3, stored)
    file.write_bytes(whole)
    other = TwoLayerObjective(mfo.problems.hypercube(2, lambda1=0.02), 6)
    with pytest.raises(mfo.InputError, match="another run"):
        train(other, 3, stored)
    with pytest.raises(mfo.InputError, match="cannot be written"):
        train(o, 3, options("adam", checkpoint=str(tmp_path / "no" / "run.pt")))


def test_a_given_start_is_known_again_in_another_process(tmp_path: Path) -> None:
    """Python's hash of bytes differs from process to process; a checkpoint must not depend on it."""
    o, file = objective(), tmp_path / "run.pt"
    first = o.initial([0], 1.0)
    train(o, 1, options("adam", checkpoint=str(file)), start=first)
    assert hashlib.sha256(first.tobytes()).hexdigest() in torch.load(file, weights_only=True)["identity"]
    with pytest.raises(mfo.InputError, match="another run"):
        train(o, 1, options("adam", checkpoint=str(file)), start=first + 1e-9)


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    try:
        torch.set_num_threads(2)
        train(objective(), 1, options("gd", record_every=20), observe=lambda *_: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
        train(objective(), 1, options("gd", record_every=20, threads=2), observe=lambda *_: seen.append(0))

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(objective(), 1, options("gd", record_every=20), observe=fail)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen[:2]) == {1}


def test_decayed_adam_reaches_the_certified_optimum_and_stops_there() -> None:
    o = objective(16)
    known = o.problem.known
    assert known is not None
    run = train(o, 4, TrainOptions(steps=2500, stop_gap=0.01, lower=known.energy, check_every=50))
    assert (run.steps < 2500).all()
    assert (gap(run.energies, known.energy) <= 0.0101).all()
    assert (run.energies >= known.energy * (1 - 1e-12)).all()
    single = train(o, 4, TrainOptions(steps=2000, precision="float32"))
    assert (gap(single.energies, known.energy) < 0.05).all()


def test_divergence_is_reported_and_contained() -> None:
    linear = TwoLayerObjective(mfo.problems.hypercube(2, activation="linear"), 6)
    run = train(linear, 3, TrainOptions(method="gd", rate=5.0, steps=60, schedule="constant"))
    assert run.diverged.all()
    assert np.isfinite(run.parameters).all()


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"method": "sophia"}, "method"),
        ({"schedule": "stairs"}, "schedule"),
        ({"rate": -1.0}, "rate"),
        ({"batch": 4}, "sgd"),
        ({"stop_gap": 0.1}, "lower bound"),
        ({"precision": "float16"}, "precision"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_options(bad: dict[str, object], text: str) -> None:
    with pytest.raises(mfo.InputError, match=text):
        TrainOptions(**bad)  # type: ignore[arg-type]


def test_bad_runs() -> None:
    with pytest.raises(mfo.InputError, match="seeds"):
        train(objective(), [])
    with pytest.raises(mfo.InputError, match="drawn"):
        train(objective(), 2, TrainOptions(method="sgd", batch=9))
    with pytest.raises(mfo.InputError, match="device"):
        train(objective(), 2, TrainOptions(device="abacus"))
    with pytest.raises(mfo.InputError, match="shape"):
        train(objective(), 2, start=np.zeros((2, 3)))
    with pytest.raises(mfo.InputError, match="NaN"):
        train(objective(), 1, start=np.full((1, objective().size), np.nan))
