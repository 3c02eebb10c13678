"""K-FAC as a torch optimizer: it watches a model's layers and steps by their natural gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import Optimizer

from ravine.errors import UserError
from ravine.rules.rule import check, hypers
from ravine.solvers.methods.natural import KFAC as Equation
from ravine.solvers.tree import one_kind

Layer: TypeAlias = nn.Linear | nn.Conv2d


@dataclass
class _Seen:
    """What the backward passes since the last step showed of a layer, as sums over samples."""

    inputs: Tensor  # sum of a a^T over samples and places, [in, in]
    outputs: Tensor  # sum of b b^T, averaged over places, b of the mean loss, [out, out]
    samples: int


class KFAC(Optimizer):
    """K-FAC on a model's `Linear` and `Conv2d` layers; all other parameters take plain steps with momentum.

    Use it as any torch optimizer: backward on the loss, then step(). The loss must be a mean over the batch, the first
    dimension of every layer's input. It sees batches by hooks on the layers while the model is in training mode;
    `close` takes them off. Grouped convolutions, and those padded by a word or by other than zeros, count as other
    parameters. See ``ravine rules kfac`` for the equation and its source.

    Raises:
        UserError: on options out of bounds or a model without such layers; from step(), where no backward pass was
            seen or a gradient is not finite, and then nothing is changed.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.01,
        damping: float = 0.1,
        ema: float = 0.95,
        momentum: float = 0.9,
        every: int = 10,
        clip: float = 1e-3,
    ) -> None:
        params = [p for p in model.parameters() if p.requires_grad]
        one_kind(params, "KFAC")
        if params[0].dtype not in (torch.float32, torch.float64):
            raise UserError(f"KFAC inverts matrices, which needs float32 or float64 weights, not {params[0].dtype}")
        options = {"lr": lr, "damping": damping, "ema": ema, "momentum": momentum, "every": every, "clip": clip}
        check(Equation(**options))
        self.layers: list[Layer] = [layer for layer in model.modules() if _fits(layer)]
        if not self.layers:
            raise UserError("KFAC found no Linear or Conv2d layer to train in this model: use another method")
        super().__init__(params, options)
        self._seen: dict[Layer, _Seen] = {}
        self._hooks = [layer.register_forward_hook(self._watch) for layer in self.layers]

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layer.training and torch.is_grad_enabled() and output.requires_grad:
            known, x = cast(Layer, layer), inputs[0].detach()
            output.register_hook(lambda g: self._record(known, x, g.detach()))

    def _record(self, layer: Layer, x: Tensor, g: Tensor) -> None:
        """Add what one backward pass through a layer shows."""
        samples = len(x)
        a, b = _rows(layer, x, g)
        places = len(a) // samples
        found = _Seen(a.T @ a, b.T @ b * (samples**2 / places), samples)
        before = self._seen.get(layer)
        if before is not None:
            found = _Seen(before.inputs + found.inputs, before.outputs + found.outputs, before.samples + samples)
        self._seen[layer] = found

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step from the gradients that backward left."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        seen, self._seen = self._seen, {}
        group = self.param_groups[0]
        check(Equation(**{name: float(group[name]) for name in hypers(Equation)}))
        self._check(seen)
        updates: dict[Tensor, Tensor] = {}
        power = 0.0
        for layer, facts in seen.items():
            gradient = _joined(layer)
            update = self._natural(layer, facts, gradient)
            power += float((update * gradient).sum())
            updates |= _parted(layer, update)
        shorter = min(1.0, math.sqrt(group["clip"] / max(group["lr"] ** 2 * power, 1e-300)))
        for p in group["params"]:
            if p.grad is not None:
                self._move(p, updates[p] * shorter if p in updates else p.grad)
        return loss

    def _check(self, seen: dict[Layer, _Seen]) -> None:
        """Raise before anything changes."""
        if not seen:
            raise UserError(
                "KFAC saw no backward pass: call loss.backward() with the model in training mode, then step()"
            )
        for p in self.param_groups[0]["params"]:
            if p.grad is not None and not bool(torch.isfinite(p.grad).all()):
                raise UserError("KFAC: a gradient holds NaN or Inf: nothing was changed; lower the rate")
        for layer in seen:
            if any(p.grad is None for p in layer.parameters(recurse=False)):
                raise UserError("KFAC: a layer was seen whose gradient is gone: call step() before zero_grad()")

    def _natural(self, layer: Layer, facts: _Seen, gradient: Tensor) -> Tensor:
        """G^-1 dW A^-1 with the layer's averaged, damped factors: [out, in (+ 1)]."""
        group, state = self.param_groups[0], self.state[layer.weight]
        count = state.get("step", 0) + 1
        stays = min(1 - 1 / count, group["ema"])
        for name, new in (("A", facts.inputs), ("G", facts.outputs)):
            mean = new / facts.samples
            state[name] = mean if name not in state else stays * state[name] + (1 - stays) * mean
        if (count - 1) % int(group["every"]) == 0:
            state["A_inverse"], state["G_inverse"] = _inverses(state["A"], state["G"], group["damping"])
        state["step"] = count
        return state["G_inverse"] @ gradient @ state["A_inverse"]

    def _move(self, p: Tensor, update: Tensor) -> None:
        group, state = self.param_groups[0], self.state[p]
        if group["momentum"]:
            before = state.get("momentum_buffer")
            update = update.clone() if before is None else group["momentum"] * before + update
            state["momentum_buffer"] = update
        p.sub_(group["lr"] * update)


def _bias(layer: Layer) -> Tensor | None:
    return cast("Tensor | None", layer.bias)  # torch declares it as always there


def _fits(layer: nn.Module) -> TypeGuard[Layer]:
    """Whether a layer's Fisher matrix is known as a Kronecker product."""
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            return False
    elif not isinstance(layer, nn.Linear):
        return False
    return all(p.requires_grad for p in layer.parameters(recurse=False))


def _rows(layer: Layer, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into the layer's product at each sample and place, and the gradient that comes back: [n t, ...]."""
    if isinstance(layer, nn.Conv2d):
        patches = functional.unfold(
            x,
            cast(Any, layer.kernel_size),
            cast(Any, layer.dilation),
            cast(Any, layer.padding),
            cast(Any, layer.stride),
        )  # [n, in k k, t]
        a, b = patches.transpose(1, 2).flatten(0, 1), g.flatten(2).transpose(1, 2).flatten(0, 1)
    else:
        a, b = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    if _bias(layer) is not None:
        a = torch.cat([a, a.new_ones(len(a), 1)], 1)
    return a, b


def _joined(layer: Layer) -> Tensor:
    """The gradient of weight and bias as one matrix, [out, in (+ 1)]."""
    weight, bias = cast(Tensor, layer.weight.grad).flatten(1), _bias(layer)
    return weight if bias is None else torch.cat([weight, cast(Tensor, bias.grad).unsqueeze(1)], 1)


def _parted(layer: Layer, update: Tensor) -> dict[Tensor, Tensor]:
    """The inverse of `_joined` for an update."""
    bias = _bias(layer)
    if bias is None:
        return {layer.weight: update.view_as(layer.weight)}
    return {layer.weight: update[:, :-1].reshape(layer.weight.shape), bias: update[:, -1]}


def _inverses(inputs: Tensor, outputs: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """(A + t I)^-1 and (G + s I)^-1 with s t = damping and t / s the ratio of their mean eigenvalues."""
    tiny = torch.finfo(inputs.dtype).tiny
    sizes = [max(float(m.diagonal().mean()), tiny) for m in (inputs, outputs)]
    ratio = math.sqrt(sizes[0] / sizes[1])
    ratio = min(max(ratio, 1e-6), 1e6)
    root = math.sqrt(damping)
    return _inverse(inputs, root * ratio), _inverse(outputs, root / ratio)


def _inverse(matrix: Tensor, added: float) -> Tensor:
    damped = matrix + added * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    values, vectors = torch.linalg.eigh(damped)
    return (vectors / values.clamp_min(added)) @ vectors.T
