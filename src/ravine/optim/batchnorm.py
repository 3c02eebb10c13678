"""Batch-normalisation statistics made anew, for weights that were averaged rather than trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from ravine.errors import UserError


@torch.no_grad()
def renew_batchnorm(model: nn.Module, batches: Iterable[Any]) -> int:
    """Set running means and variances to those of the batches under the weights as they are; returns how many layers.

    A batch is x, or (x, y) of which x is used. Only the normalisation layers are in training mode meanwhile: no
    dropout is drawn. Modes and momenta are as they were afterwards. Without such layers the batches are not touched.
    Reference: Izmailov et al. 2018, arXiv:1803.05407, section 3.2.

    Raises:
        UserError: if there are no batches; the statistics are as they were then.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not layers:
        return 0
    modes = [(module, module.training) for module in model.modules()]
    kept = [(layer, layer.momentum, {n: b.clone() for n, b in layer.named_buffers()}) for layer in layers]
    device = next(model.parameters()).device
    seen = 0
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches, each the same
            layer.train()
        for batch in batches:
            x: Tensor = batch[0] if isinstance(batch, tuple | list) else batch
            model(x.to(device))
            seen += 1
    finally:
        for layer, momentum, buffers in kept:
            layer.momentum = momentum
            if not seen:
                for name, buffer in layer.named_buffers():
                    buffer.copy_(buffers[name])
        for module, mode in modes:
            module.training = mode
    if not seen:
        raise UserError("renew_batchnorm got no batches: give a DataLoader or a list of x or (x, y)")
    return len(layers)
