"""Optimizers of other libraries, where they are installed: HeavyBall, and optax under JAX."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ravine.bench.common import seconds
from ravine.bench.shapes import Shape, parameters

Step = Callable[[], Any]

HEAVYBALL = ("RMSprop", "NAdam", "AdamW", "SGD")  # our rules that it has, by the same class names
OPTAX: Mapping[str, str] = {
    "RMSprop": "rmsprop",
    "Adadelta": "adadelta",
    "NAdam": "nadam",
    "Adamax": "adamax",
    "RAdam": "radam",
    "SGD": "sgd",
    "Adagrad": "adagrad",
    "Adam": "adam",
    "AdamW": "adamw",
}
RATE = 1e-3


@dataclass(frozen=True)
class Rival:
    """Another library's step of the same rule over the same shapes, or why there is none."""

    library: str
    step: Step | None
    note: str


def rivals(name: str, shapes: Sequence[Shape], momentum: float = 0.0) -> list[Rival]:
    """Each library's step of the rule, compiled; the note says in how many seconds. Libraries without it are left out.

    A library that is not installed is there with a note that says so.
    """
    made: list[Rival] = []
    for library, modules, known, make in (
        ("HeavyBall", ("heavyball",), HEAVYBALL, _heavyball),
        ("optax", ("jax", "optax"), OPTAX, _optax),
    ):
        if name not in known or (library == "HeavyBall" and name == "SGD"):  # its SGD always has Nesterov's momentum
            continue
        absent = [module for module in modules if not importlib.util.find_spec(module)]
        if absent:
            made.append(Rival(library, None, f"{' and '.join(absent)} not installed: pip install 'ravine[bench]'"))
            continue
        step = make(name, shapes, momentum)
        made.append(Rival(library, step, f"first step {seconds(step):.1f} s"))
    return made


def _heavyball(name: str, shapes: Sequence[Shape], momentum: float) -> Step:
    params = parameters(shapes)
    gradients = [p.grad for p in params]
    optimizer: Any = getattr(importlib.import_module("heavyball"), name)(params, lr=RATE)

    def step() -> None:
        for p, g in zip(params, gradients, strict=True):
            p.grad = g  # it takes them away
        optimizer.step()

    return step


def _optax(name: str, shapes: Sequence[Shape], momentum: float) -> Step:
    jax, optax = (importlib.import_module(module) for module in ("jax", "optax"))
    options: dict[str, Any] = {"momentum": momentum} if momentum else {}
    rule: Any = getattr(optax, OPTAX[name])(RATE, **options)
    made = parameters(shapes)
    params: Any = [jax.numpy.asarray(p.detach().numpy()) for p in made]
    gradients: Any = [jax.numpy.asarray(p.grad.numpy()) for p in made if p.grad is not None]

    def update(gradients: Any, state: Any, params: Any) -> Any:
        changes, state = rule.update(gradients, state, params)
        return optax.apply_updates(params, changes), state

    compiled: Any = jax.jit(update, donate_argnums=(1, 2))
    held: list[Any] = [params, rule.init(params)]

    def step() -> None:
        held[:] = compiled(gradients, held[1], held[0])
        jax.block_until_ready(held)

    return step
