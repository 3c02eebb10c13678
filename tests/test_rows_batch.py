"""Rows B: what a batch size does to noise, to the rate, to minima; and what one sample at a time does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ravine
from ravine.batches import gradient_noise, scaled_runs
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.lab.experiments.minima import ends
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import Problem
from ravine.randomness import build, generator
from ravine.rules.rule import make
from ravine.solvers.spectrum import sharpness, width
from ravine.training.clock import Clock
from ravine.training.feed import Feed


def digits(word: str, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    problem = ravine.load("digits")
    module = build(model_factory(word, problem.shape, problem.outputs), seed)
    return module, problem.train.x, problem.train.y


def mnist(rows: int) -> Problem:
    try:
        return ravine.load("mnist", rows=rows, download=False)
    except UserError as error:
        pytest.skip(f"needs MNIST: {error}")


# --- B1: the standard error falls as the root of the batch size ------------------------------------------------------


@pytest.mark.parametrize("word", ["softmax", "mlp:16"])
def test_b01_twice_the_accuracy_of_a_gradient_needs_four_times_the_samples(word: str) -> None:
    module, x, y = digits(word)
    noise = gradient_noise(module, functional.cross_entropy, x, y, sizes=(8, 16, 32, 64, 128, 256), draws=120)
    assert noise.slope == pytest.approx(-0.5, abs=0.02)
    each = torch.stack([_one(module, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    trace = float((each - each.mean(0)).square().sum(1).mean())  # of every sample's gradient: another way to tr(S)
    assert noise.trace == pytest.approx(trace, rel=0.05)
    assert noise.norm == pytest.approx(float(each.mean(0).norm()), rel=1e-5)
    assert noise.scale == pytest.approx(trace / float(each.mean(0).square().sum()), rel=0.05)


def _one(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    parts = torch.autograd.grad(functional.cross_entropy(module(x), y), list(module.parameters()))
    return torch.cat([part.reshape(-1) for part in parts]).double()


# --- B2: twice the batch, twice the rate, up to the critical size ----------------------------------------------------


@pytest.mark.slow
def test_b02_the_curves_overlay_to_512_and_break_at_the_noise_scale() -> None:
    """Softmax regression on MNIST, SGD 0.02 at batch 64: the same curve to 512, another one at 1024."""
    problem = mnist(12_000)
    model = Model(model_factory("softmax", problem.shape, problem.outputs))
    rule = make("sgd", {"lr": 0.02})
    runs = list(scaled_runs(problem, model, rule, 64, [64, 128, 256, 512, 1024], 4, range(5), "linear"))
    curves = {run.batch: np.mean(run.losses, axis=0) for run in runs}
    for batch in (128, 256, 512):
        assert curves[batch][2:] == pytest.approx(curves[64][2:], rel=0.05), batch
    assert curves[1024][2] > 1.5 * curves[64][2]  # an epoch later than the others it has still to come down
    lanes = Lanes(model, loss_of(problem), [model.lane(rule, {}, 0)])
    feed, clock = Feed(problem, Clock(len(problem.train), 64, 1)), Clock(len(problem.train), 64, 1)
    for step in range(clock.steps):
        lanes.step(*feed.at(lanes.seeds, step), 0.0)
    module = model.load(lanes.snapshot(0))
    noise = gradient_noise(module, functional.cross_entropy, problem.train.x, problem.train.y, draws=32)
    assert 512 / 2 < noise.scale < 2 * 1024, noise.scale  # measured: 840 to 930


# --- B3: small batches end in flatter places -------------------------------------------------------------------------


@pytest.mark.slow
def test_b03_small_batches_end_where_the_loss_is_flatter() -> None:
    """Digits, one hidden layer, SGD 0.1: where the training loss first is 0.05, batch 16 against 512, five seeds."""
    small, large = (ends(ravine.load("digits"), batch, range(5), 0.05) for batch in (16, 512))
    for one, other in zip(small, large, strict=True):
        assert one.sharp < other.sharp  # the largest eigenvalue: about 2.9 against 3.7
        assert one.wide > other.wide  # the filter-normalised width: about 0.40 against 0.38


# --- B4: copies teach nothing ----------------------------------------------------------------------------------------


def test_b04_three_images_have_the_gradient_of_ten_where_seven_are_copies() -> None:
    module, x, y = digits("mlp:16")
    module.double()
    three = torch.tensor([5, 70, 300])
    copies = torch.tensor([4, 3, 3])
    ten = three.repeat_interleave(copies)
    x = x.double()
    whole = _one(module, x[ten], y[ten])
    each = torch.stack([_one(module, x[i : i + 1], y[i : i + 1]) for i in three.tolist()])
    weighted = (each * copies[:, None]).sum(0) / 10
    assert float((whole - weighted).norm() / whole.norm()) < 1e-14
    alike = _one(module, x[three.repeat(3)], y[three.repeat(3)])  # three times each: the three alone, unweighted
    assert float((alike - _one(module, x[three], y[three])).norm() / alike.norm()) < 1e-14
    others = _one(module, x[:10], y[:10])
    assert float((others - _one(module, x[:3], y[:3])).norm() / others.norm()) > 0.1  # images that are no copies


# --- B6: noise leaves shallow minima ---------------------------------------------------------------------------------

TILT = 0.5


def slope(w: Tensor) -> Tensor:
    """The derivative of (w^2 - 1)^2 / 4 - tilt (w^3 / 3 - w) / 4: a shallow well at -1, a deeper one at 1."""
    return (w**2 - 1) * (w - TILT / 2)


def escaped(noise: float, steps: int = 2000, rate: float = 0.05, walkers: int = 3000) -> tuple[float, float]:
    """The share of walkers that have crossed at last, and the crossings a step of those that had not yet."""
    rule, w = make("sgd", {"lr": rate}), torch.full((walkers,), -1.0, dtype=torch.float64)
    drawn, inside, crossings = generator(0, "walkers"), torch.ones(walkers, dtype=torch.bool), []
    for step in range(steps):
        g = slope(w) + noise * torch.randn(walkers, generator=drawn, dtype=torch.float64)
        w = w + rule.update(g, {}, w, step + 1)[0]
        left = inside & (w > TILT / 2 + 0.5)  # well beyond the top, from where almost none comes back
        crossings.append(float(left.sum()) / max(1, int(inside.sum())))
        inside &= ~left
    return 1 - float(inside.double().mean()), float(np.mean(crossings[steps // 10 :]))


def test_b06_gradient_descent_stays_in_a_shallow_well_and_noise_leaves_it_as_kramers_says() -> None:
    """The rate of escape is exp(-barrier / T) with T = lr sigma^2 / 2, so its logarithm falls as a line in 1/T."""
    assert escaped(0.0, steps=500)[0] == 0.0
    top = TILT / 2
    barrier = float(potential(top) - potential(-1.0))
    noises = (1.6, 2.0, 2.6, 3.4)
    found = [escaped(noise) for noise in noises]
    shares = [share for share, _ in found]
    assert shares == sorted(shares) and shares[0] < 0.6 * shares[-1]
    inverse = [1 / (0.05 * noise**2 / 2) for noise in noises]
    fitted = np.polyfit(inverse, np.log([rate for _, rate in found]), 1)[0]
    assert fitted == pytest.approx(-barrier, rel=0.15)


def potential(w: float) -> float:
    return w**4 / 4 - TILT * w**3 / 6 - w**2 / 2 + TILT * w / 2


# --- B7: three lines -------------------------------------------------------------------------------------------------


def walked(order: list[float], lr: float, passes: int) -> list[float]:
    """SGD on (w - a)^2 for samples x = 1, y = a in that order, again and again; w after each step."""
    rule, w, seen = make("sgd", {"lr": lr}), torch.zeros((), dtype=torch.float64), []
    for step, a in enumerate(order * passes):
        w = w + rule.update(2 * (w - a), {}, w, step + 1)[0]
        seen.append(float(w))
    return seen


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.4])
def test_b07_one_sample_of_three_lines_at_a_time_bounces_in_an_exact_band(lr: float) -> None:
    """Slopes 1, 0.9 and 1.1: SGD never rests, gradient descent rests at 1; in a fixed order the band is known."""
    order = [1.0, 0.9, 1.1]
    last = walked(order, lr, 700)[-3:]
    q = 1 - 2 * lr
    start = (2 * lr) * (q**2 * order[0] + q * order[1] + order[2]) / (1 - q**3)  # the fixed point of a whole pass
    exact = [q * start + 2 * lr * order[0]]
    exact.append(q * exact[0] + 2 * lr * order[1])
    exact.append(q * exact[1] + 2 * lr * order[2])
    assert last == pytest.approx(exact, abs=1e-12)
    assert max(last) - min(last) == pytest.approx(max(exact) - min(exact), abs=1e-12)
    assert max(exact) - min(exact) == pytest.approx(0.2 * lr * (2 + q) / (1 + q + q * q), abs=1e-12)
    drawn = np.random.default_rng(1).choice(order, 4000).tolist()
    free = walked(drawn, lr, 1)[1000:]
    assert min(free) >= 0.9 and max(free) <= 1.1  # each step is a mean of w and a slope
    assert max(free) - min(free) > max(exact) - min(exact)
    whole = torch.zeros((), dtype=torch.float64)
    for step in range(1500):
        whole = whole + make("sgd", {"lr": lr}).update(2 * (whole - float(np.mean(order))), {}, whole, step + 1)[0]
    assert float(whole) == pytest.approx(1.0, abs=1e-12) and not math.isclose(free[-1], 1.0, abs_tol=1e-6)


# --- The tools themselves --------------------------------------------------------------------------------------------


def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian() -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(30, 4).double(), torch.randint(3, (30,))
    names, weights = zip(*module.named_parameters(), strict=True)

    def value(flat: Tensor) -> Tensor:
        parts = dict(zip(names, flat.split([w.numel() for w in weights]), strict=True))
        named = {name: parts[name].view_as(w) for name, w in zip(names, weights, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(module, named, (x,)), y)

    hessian = torch.autograd.functional.hessian(value, torch.cat([w.detach().reshape(-1) for w in weights]))
    largest = float(torch.linalg.eigvalsh(hessian)[-1])  # pyright: ignore[reportArgumentType]
    assert sharpness(module, functional.cross_entropy, x, y, steps=43) == pytest.approx(largest, rel=1e-9)
    assert sharpness(module, functional.cross_entropy, x, y, steps=25) == pytest.approx(largest, rel=1e-4)


def test_width_does_not_see_the_scale_of_a_layer_and_halves_in_a_valley_four_times_as_steep() -> None:
    torch.manual_seed(3)
    first, last = nn.Linear(4, 6), nn.Linear(6, 1)
    module = nn.Sequential(first, nn.ReLU(), last).double()
    x = torch.randn(40, 4).double()
    y = module(x).detach()
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    own = width(module, functional.mse_loss, x, y, rise=0.01)
    assert width(module, functional.mse_loss, x, y, rise=0.04) == pytest.approx(2 * own, rel=0.2)
    assert all(torch.equal(p, before[n]) for n, p in module.named_parameters())
    with torch.no_grad():
        first.weight *= 7
        first.bias.mul_(7)
        last.weight /= 7
    assert width(module, functional.mse_loss, x, y, rise=0.01) == pytest.approx(own, rel=1e-6)
