"""Plain torch as an expert writes it: each contender as the torch.optim class that has its equation, one run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

# Fused where torch has a fused kernel for the CPU; elsewhere its loop over tensors, the faster of its two on few
# small tensors. Momentum's and Nesterov's coefficients are the defaults of ravine's rules.
TORCH: dict[str, Callable[..., Optimizer]] = {
    "adagrad": lambda p, lr: torch.optim.Adagrad(p, lr=lr, fused=True),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr, fused=True),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, fused=True),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, fused=True),
    "nadam": lambda p, lr: torch.optim.NAdam(p, lr=lr, foreach=False),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr=lr, foreach=False),
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, fused=True),
}


class Plain:
    """One run of plain torch: a network, its optimizer, and half a cosine over ``steps`` steps."""

    def __init__(self, net: nn.Module, rule: str, lr: float, steps: int) -> None:
        self.net, self.lr, self.steps, self.done = net, lr, steps, 0
        self.optimizer: Any = TORCH[rule](net.parameters(), lr=lr)

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on one minibatch; the loss before it."""
        # set by hand: a LambdaLR does the same and takes longer
        self.optimizer.param_groups[0]["lr"] = self.lr * (1 + math.cos(math.pi * self.done / self.steps)) / 2
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.net(x), y)
        loss.backward()
        self.optimizer.step()
        self.done += 1
        return loss
