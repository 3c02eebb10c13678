"""Freezing by name: parameters without a gradient, and normalisation that keeps its statistics in training too."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from ravine.errors import UserError
from ravine.transfer.fit import listed


class Held:
    """Beside a normalisation layer's class: it stays in evaluation mode whatever the model around it is set to."""

    def train(self, mode: bool = True) -> Any:
        """Evaluation mode, always: the running statistics are used and stay as they are."""
        return super().train(False)  # type: ignore[misc]  # of the layer that it stands beside


def freeze(model: nn.Module, pattern: str | Sequence[str]) -> tuple[str, ...]:
    """Freeze the parameters whose names match a shell pattern, such as "layers.0.*", in place; returns their names.

    They have no gradient, so no optimizer moves them or keeps state for them. A batch or instance normalisation layer
    all of whose parameters are frozen (or that lies where the pattern matches, if it has none) keeps its running
    statistics, also after ``model.train()``.

    Raises:
        UserError: where a pattern finds nothing, or nothing would be left to train; nothing is changed then.
    """
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    named = dict(model.named_parameters())
    norms = [(name, m) for name, m in model.named_modules() if isinstance(m, _NormBase) and m.track_running_stats]
    for each in patterns:
        if not any(fnmatchcase(name, each) for name in [*named, *(f"{name}.running_mean" for name, _ in norms)]):
            raise UserError(f"freeze = {each!r}: no parameter has such a name; there are {listed([*named])}")
    found = tuple(name for name in named if any(fnmatchcase(name, each) for each in patterns))
    if all(name in found for name, p in named.items() if p.requires_grad):
        raise UserError(f"freeze = {pattern!r}: nothing would be left to train")
    for name in found:
        named[name].requires_grad_(False)
    for name, layer in norms:
        statistics = any(fnmatchcase(f"{name}.running_mean", each) for each in patterns)
        parameters = list(layer.parameters())
        if statistics or (parameters and not any(p.requires_grad for p in parameters)):
            _hold(layer)
    return found


def unfreeze(model: nn.Module, pattern: str = "*") -> tuple[str, ...]:
    """Undo `freeze` for the names that match; statistics of a layer follow the data again with its parameters."""
    found = tuple(n for n, p in model.named_parameters() if fnmatchcase(n, pattern) and not p.requires_grad)
    for name, p in model.named_parameters():
        if name in found:
            p.requires_grad_(True)
    held = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, Held) and isinstance(layer, nn.Module)
    ]
    for name, layer in held:
        if any(p.requires_grad for p in layer.parameters()) or fnmatchcase(f"{name}.running_mean", pattern):
            layer.__class__ = type(layer).__mro__[2]  # the class it had
            layer.train(model.training)
    return found


def _hold(layer: nn.Module) -> None:
    if not isinstance(layer, Held):
        layer.__class__ = _held(type(layer))
        layer.train()


@cache
def _held(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Held{kind.__name__}", (Held, kind), {"__module__": __name__})
