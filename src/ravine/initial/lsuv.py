"""Layer-sequential unit-variance: orthogonal layers, each scaled by what a batch becomes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor, nn
from torch.utils.hooks import RemovableHandle

from ravine.errors import UserError
from ravine.initial.initial import POSITIVE, Fans, Initial
from ravine.initial.layers import Convolution, Place, Transposed
from ravine.initial.structured import orthogonal
from ravine.schedules import setting


@final
@dataclass(frozen=True)
class LSUV(Initial):
    """Orthogonal weights, each layer then divided by the deviation of its outputs on a batch.

        W <- std W / sqrt(Var[W x])

    Linear layers and convolutions, in the order in which the model runs them, in evaluation mode; other layers stay
    orthogonal. The outputs are linear in the weights, so one pass makes every variance exact, where the paper repeats
    until it is near. Reference: Mishkin & Matas 2016, "All you need is a good init", arXiv:1511.06422, algorithm 1.
    """

    needs_data = True
    std: float = setting(1.0, "number", "the deviation that each layer's outputs get", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """An orthogonal matrix, before the pass."""
        return orthogonal(shape, 1.0, generator, dtype)

    @torch.no_grad()
    def fit(self, module: nn.Module, found: Sequence[Place], data: Tensor) -> None:
        """Scale the layers' weights by a pass of ``data`` through the module, which is left in its mode."""
        weights = {
            p.layer: p
            for p in found
            if p.kind == "weight" and isinstance(p.layer, nn.Linear | Convolution | Transposed)
        }
        modes = {each: each.training for each in module.modules()}
        hooks = [layer.register_forward_hook(_Scale(place, self.std)) for layer, place in weights.items()]
        try:
            module.eval()
            module(data)
        finally:
            _take_off(hooks)
            for each, mode in modes.items():
                each.training = mode


class _Scale:
    """Scales a layer at its first call, and what that call gave."""

    def __init__(self, place: Place, std: float) -> None:
        self.place, self.std, self.done = place, std, False

    def __call__(self, layer: Any, given: Any, out: Tensor) -> Tensor:
        if self.done:  # a layer that is used again keeps its scale
            return out
        self.done = True
        bias = layer.bias
        shape = [-1, *[1] * (out.dim() - 2)] if isinstance(layer, Convolution | Transposed) else [-1]
        shift = torch.zeros((), dtype=out.dtype, device=out.device) if bias is None else bias.view(shape)
        std = float((out - shift).std(correction=0))
        if not 0 < std < float("inf"):
            what = "all the same" if std == 0 else "not finite"
            raise UserError(f"lsuv: the outputs of {self.place.name} on the data are {what}, so no scale helps them")
        self.place.parameter.mul_(self.std / std)
        return (out - shift) * (self.std / std) + shift


def _take_off(hooks: Sequence[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
