"""The proof that a lane is the run alone: every rule in company against plain PyTorch code, parameter by parameter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.noise import KeyedDropout, noise_key, with_keyed_noise
from ravine.models import cnn, mlp
from ravine.optim import FromRule
from ravine.problems.problem import Part
from ravine.randomness import build
from ravine.rules.combine import ClipGlobalNorm, ClipNorm, CoupledDecay
from ravine.rules.rule import Rule, catalogue, name_of, values, with_values
from ravine.schedules import Cosine
from ravine.training.clock import Batches, Clock

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
STEPS = 100
NUDGES = ((1, 1), (-1, -1), (1, -1), (-1, 1))  # the signs of the roundings that a run alone is begun with


@dataclass(frozen=True)
class Compared:
    """One lane against the same run alone."""

    model: str
    rule: str
    seed: int
    dtype: torch.dtype
    difference: float  # largest difference of a parameter, relative to the largest parameter
    rounding: float = 0.0  # the same between the run alone and itself begun one rounding away; where it was measured

    @property
    def limit(self) -> float:
        """The limit of its type, or twice the most that one rounding at the start makes of the run alone, if more.

        Twice, since of five runs that differ by rounding alone any may be the one that is furthest away.

        A rule that divides by one past gradient (ADOPT, the lagged RMSProp) enlarges the rounding of a gradient that
        is almost zero, and one that finds eigenvectors (SOAP) that of eigenvalues nearly equal, in company and alone.
        """
        return max(LIMITS[self.dtype], 2 * self.rounding)

    @property
    def holds(self) -> bool:
        """The difference is within the limit."""
        return self.difference <= self.limit


def models() -> dict[str, Callable[[], nn.Module]]:
    """The models of the proof: with dropout, with convolutions and batch normalisation."""
    return {
        "mlp with dropout": lambda: mlp([64, 32, 32, 10], nn.Tanh, dropout=0.3),
        "cnn with batch norm": lambda: nn.Sequential(nn.BatchNorm2d(1), *cnn((1, 8, 8), [4], 10, nn.Tanh, dropout=0.2)),
    }


def prove(steps: int = STEPS) -> Iterator[Compared]:
    """Each rule of the catalogue, in one program with all others and a neighbour that is NaN from the start on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # runs as small as these only wait for a second thread
    try:
        for dtype in (torch.float64, torch.float32):
            for name, factory in models().items():
                yield from _compare(name, partial(_cast, factory, dtype), dtype, steps)
    finally:
        torch.set_num_threads(threads)


def _cast(factory: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    return factory().to(dtype)


def _rules() -> list[Rule]:
    """Every rule at a quarter of its default rate, and some inside combinators."""
    plain = [kind() for kind in catalogue().values() if not kind.differs.startswith("erratum")]
    calm = [with_values(rule, {"lr": values(rule)["lr"] / 4}) if "lr" in values(rule) else rule for rule in plain]
    first = calm[0]
    return [*calm, ClipNorm(first, 0.1), ClipGlobalNorm(CoupledDecay(first, 1e-3), 0.1)]


def _compare(name: str, factory: Callable[[], nn.Module], dtype: torch.dtype, steps: int) -> Iterator[Compared]:
    part = data(dtype)
    clock = clock_for(len(part), steps)
    model = Model(factory)
    schedules = {"lr": Cosine(duration=clock.epochs)}
    contenders = [(rule, 1 + place % 2) for place, rule in enumerate(_rules())]
    lanes = [model.lane(rule, schedules, seed) for rule, seed in contenders]
    poisoned = model.lane(contenders[0][0], schedules, 1)
    poisoned.weights = torch.full_like(poisoned.weights, float("nan"))
    together = Lanes(model, functional.cross_entropy, [poisoned, *lanes])
    batches = Batches(clock)
    for step in range(steps):
        together.step(part, batches.at(together.seeds, step), step / clock.steps_per_epoch)
    for (rule, seed), lane in zip(contenders, together.export()[1:], strict=True):
        run = partial(run_alone, rule=rule, schedule=schedules["lr"], seed=seed, part=part, clock=clock, steps=steps)
        alone = run(factory)
        difference, rounding = _distance(lane.weights, alone), 0.0
        if difference > LIMITS[dtype]:
            rounding = max(_distance(run(partial(_nudged, factory, signs)), alone) for signs in NUDGES)
        yield Compared(name, name_of(rule), seed, dtype, difference, rounding)


def clock_for(samples: int, steps: int) -> Clock:
    """Minibatches of 32 in four epochs, or in as many as the steps need.

    >>> clock_for(200, 10).epochs, clock_for(200, 100).epochs
    (4, 17)
    """
    return Clock(samples, 32, max(4, -(-steps // max(1, samples // 32))))


def _distance(weights: Tensor, from_these: Tensor) -> float:
    return ((weights - from_these).abs().max() / from_these.abs().max()).item()


def _nudged(factory: Callable[[], nn.Module], signs: tuple[int, int]) -> nn.Module:
    """The module with each weight one rounding larger or smaller: by the first sign, then the second, in turn."""
    module = factory()
    with torch.no_grad():
        for p in module.parameters():
            turns = torch.arange(p.numel()).view(p.shape) % 2
            p.mul_(1 + torch.finfo(p.dtype).eps * torch.where(turns == 0, *signs).to(p.dtype))
    return module


def run_alone(
    factory: Callable[[], nn.Module], rule: Rule, schedule: Cosine, seed: int, part: Part, clock: Clock, steps: int
) -> Tensor:
    """The same run as plain PyTorch code writes it, with ravine's optimizer; returns its weights [P]."""
    module = with_keyed_noise(build(factory, seed)).train()
    noisy = [layer for layer in module.modules() if isinstance(layer, KeyedDropout)]
    rates = {"lr": lambda step: schedule(step / clock.steps_per_epoch)}
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of vectors under a rule of matrices
        optimizer = FromRule(module.parameters(), rule, schedules=rates, noise_seed=seed)
    batches = Batches(clock)
    for step in range(steps):
        index = batches.at([seed], step)[0]
        for place, layer in enumerate(noisy):
            layer.noise_key = torch.tensor(noise_key(seed, step + 1, place))

        optimizer.step(partial(_closure, optimizer, module, part.x[index], part.y[index]))
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def _closure(optimizer: FromRule, module: nn.Module, x: Tensor, y: Tensor) -> float:
    optimizer.zero_grad()
    loss = functional.cross_entropy(module(x), y)
    loss.backward()
    return loss.item()


def data(dtype: torch.dtype) -> Part:
    """Separable images with noise: 256 of 8 x 8 in 10 classes, the same each time."""
    generator = torch.Generator().manual_seed(7)
    y = torch.arange(256) % 10
    centres = torch.randn(10, 1, 8, 8, generator=generator)
    x = centres[y] + torch.randn(256, 1, 8, 8, generator=generator)
    return Part(x.to(dtype), y)
