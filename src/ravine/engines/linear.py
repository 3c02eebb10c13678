"""A linear layer for lanes: one batched product for all of them, with gradients laid out as the weights are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.precision import cast


class _Lanes(torch.autograd.Function):
    """K products at once: x [K, n, in] (or [n, in], seen by all), weight [K, out, in], bias [K, out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        lanes = x.expand(len(weight), *x.shape[-2:])
        if bias is None:
            return torch.bmm(lanes, weight.mT)
        return torch.baddbmm(bias.unsqueeze(1), lanes, weight.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        g = grads[0]
        dx = torch.bmm(g, weight) if ctx.needs_input_grad[0] else None
        if dx is not None and x.dim() == 2:
            dx = dx.sum(0)
        dw = torch.bmm(g.mT, x.expand(len(g), *x.shape[-2:])) if ctx.needs_input_grad[1] else None
        return dx, dw, g.sum(1) if ctx.needs_input_grad[2] else None


class _Linear(torch.autograd.Function):
    """`torch.nn.functional.linear`, which under vmap becomes `_Lanes`.

    torch's own rule yields each weight's gradient transposed in memory, and untangling it costs more than the product.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rows = grads[0].reshape(-1, grads[0].shape[-1])
        return grads[0] @ weight, rows.mT @ x.reshape(-1, x.shape[-1]), rows.sum(0)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        x: Tensor = args[0]
        weight: Tensor = args[1]
        bias: Tensor | None = args[2]
        lanes: int = info.batch_size
        weight = weight.movedim(in_dims[1], 0) if in_dims[1] is not None else weight.expand(lanes, *weight.shape)
        if bias is not None:
            bias = bias.movedim(in_dims[2], 0) if in_dims[2] is not None else bias.expand(lanes, *bias.shape)
        if in_dims[0] is None:
            out = _Lanes.apply(x.reshape(-1, x.shape[-1]), weight, bias)
            return out.view(lanes, *x.shape[:-1], weight.shape[1]), 0
        x = x.movedim(in_dims[0], 0)
        out = _Lanes.apply(x.reshape(lanes, -1, x.shape[-1]), weight, bias)
        return out.view(*x.shape[:-1], weight.shape[1]), 0


class LaneLinear(nn.Linear):
    """`torch.nn.Linear` for the template that lanes are mapped over."""

    def forward(self, input: Tensor) -> Tensor:
        """The product of each lane: [..., in] to [..., out]."""
        return _Linear.apply(*cast(input, self.weight, self.bias))


def with_lane_linears(model: nn.Module) -> nn.Module:
    """The model with each plain linear layer made one for lanes, in place; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = LaneLinear
    return model
