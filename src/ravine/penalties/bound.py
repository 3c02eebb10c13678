"""Penalties and projections bound to a model's names: what the engine adds to a run's loss and does after a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ravine.engines import terms
from ravine.engines.terms import HELD
from ravine.errors import UserError
from ravine.penalties.activations import KLSparsity, in_unit_interval
from ravine.penalties.part import Part, Penalty, Projection, chosen
from ravine.types import Loss

LOSS = f"{HELD}loss|"


class Bound:
    """The parts of one recipe on one model. It is the `ravine.engines.terms.Terms` of a run.

    A lane holds the number of each part ("penalty|0|strength"), which may differ by lane, and what a part keeps; and
    that of ``form`` if there is one, the data's loss as a dataclass whose field ``number`` may differ by lane too.
    """

    def __init__(self, parts: Sequence[Part], module: nn.Module, form: Any = None, number: str = "") -> None:
        self.parts, self.form, self.number = tuple(parts), form, number
        self._names = [_names(part, module) for part in parts]
        both = zip(parts, self._names, strict=True)
        self.watched = tuple(dict.fromkeys(n for part, names in both if _sees_activations(part) for n in names))
        self.finishes = any(isinstance(part, Projection) for part in parts)
        self.repeatable = all(type(part).__module__.startswith("ravine.") for part in parts)

    def begin(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each part's number, and the tensors that it starts with."""
        found: dict[str, Tensor] = {}
        like = next(iter(weights.values()))
        if self.form is not None:
            found[f"{LOSS}{self.number}"] = like.new_tensor(getattr(self.form, self.number))
        for place, (part, names) in enumerate(zip(self.parts, self._names, strict=True)):
            found[f"{HELD}{place}|{part.amount}"] = like.new_tensor(getattr(part, part.amount))
            if not _sees_activations(part):
                kept = part.holds({name: weights[name].detach() for name in names})
                found |= {f"{HELD}{place}|{name}": tensor for name, tensor in kept.items()}
        return found

    def data_loss(self, loss: Loss, held: Mapping[str, Tensor]) -> Loss:
        """The loss itself, or the form with the lane's number."""
        return loss if self.form is None else replace(self.form, **{self.number: held[f"{LOSS}{self.number}"]})

    def value(self, weights: Mapping[str, Tensor], seen: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> Tensor:
        """The sum of the penalties."""
        found: list[Tensor] = []
        for place, (part, names) in enumerate(zip(self.parts, self._names, strict=True)):
            if not isinstance(part, Penalty):
                continue
            made = part.with_held(*_own(place, part, held))
            assert isinstance(made, Penalty)
            outputs = {key: out for key, out in seen.items() if key.partition(" (")[0] in names}
            found.append(made.value(outputs if _sees_activations(part) else {name: weights[name] for name in names}))
        return torch.stack(found).sum() if found else next(iter(weights.values())).new_zeros(())

    def finish(
        self, weights: Mapping[str, Tensor], held: Mapping[str, Tensor], rates: Tensor | None, time: float
    ) -> None:
        """What the projections do to lanes, in the order of the recipe."""
        for place, (part, names) in enumerate(zip(self.parts, self._names, strict=True)):
            if isinstance(part, Projection):
                amount, own = _own(place, part, held)
                if rates is None and part.needs_rate:
                    raise UserError(f"{part.name} needs a rule with a learning rate, whose step it follows")
                part.finish({n: weights[n] for n in names}, amount, own, amount if rates is None else rates, time)


def watching(module: nn.Module, penalty: Part) -> AbstractContextManager[dict[str, Tensor]]:
    """A context in which the outputs that a penalty of activations is called with are collected, by module.

    >>> from ravine.penalties import ActivityL1
    >>> model, sparse = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), ActivityL1(on="1", strength=1.0)
    >>> with watching(model, sparse) as seen:
    ...     out = model(torch.ones(4, 2))
    >>> bool(torch.isclose(sparse(seen), out.sum() / 4))
    True
    """
    return terms.watching(module, _names(penalty, module))


def check_activations(parts: Sequence[Part], module: nn.Module, x: Tensor) -> None:
    """Raise a `UserError` where a penalty cannot act on what the layers it names put out for these samples."""
    for part in parts:
        if not _sees_activations(part):
            continue
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watching(module, part) as seen:
            module.eval()(x)
        if not seen:
            raise UserError(f"{part.name}: the modules that {part.on} names are not called, so nothing is seen")
        if isinstance(part, KLSparsity) and not in_unit_interval(seen):
            raise UserError(
                f"kl-sparsity: {part.on} puts out numbers outside of [0, 1]; name sigmoid layers, or use activity-l1"
            )


def _own(place: int, part: Part, held: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    prefix = f"{HELD}{place}|"
    own = {name.removeprefix(prefix): tensor for name, tensor in held.items() if name.startswith(prefix)}
    return own.pop(part.amount), own


def _sees_activations(part: Part) -> bool:
    return isinstance(part, Penalty) and part.sees == "activations"


def _names(part: Part, module: nn.Module) -> list[str]:
    if not _sees_activations(part):
        return list(part.bound(module))
    return chosen(part.name, part.on, [name for name, _ in module.named_modules() if name], "module")
