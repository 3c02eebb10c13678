"""Layers that undo each other, do nothing, or do not fit the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from ravine.linting.look import Look
from ravine.losses import Form
from ravine.losses.weighted import Weighted
from ravine.training.lint import Finding

NORMS = (_BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)  # that take a channel's mean away
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CLOSE = 1e-3  # how close sums of probabilities come to 1


def kind_of(loss: Any) -> str:
    """What the loss takes: "logits", "logits of sigmoids", "probabilities", "logs of probabilities", or ""."""
    name = str(getattr(loss, "__name__", type(loss).__name__)).lower().replace("_", "").removesuffix("loss")
    if isinstance(loss, Weighted):
        loss = loss.form
    if isinstance(loss, Form):
        name = loss.name.replace("_", "")
    return {
        "crossentropy": "logits",
        "bcewithlogits": "logits of sigmoids",
        "binarycrossentropywithlogits": "logits of sigmoids",
        "bce": "probabilities",
        "binarycrossentropy": "logits of sigmoids" if isinstance(loss, Form) else "probabilities",
        "nll": "logs of probabilities",
    }.get(name, "")


def of_model(seen: Look, loss: Any, batch: int) -> Iterator[Finding]:
    """Findings on what one look at a model showed; ``batch`` is how many samples go through it at once in training."""
    if isinstance(seen.out, Tensor) and loss is not None:
        yield from _outputs(seen, kind_of(loss))
    yield from _order(seen)
    norms = [call.name for call in seen.calls if isinstance(call.module, _BatchNorm)]
    if norms and batch == 1:
        yield Finding(
            "batch-norm-of-one",
            f"batch normalisation ({norms[0]}) sees one sample at a time: its mean is the sample itself, so nothing "
            "is left of a feature",
            "mistake",
            "a larger batch, or layer or group normalisation",
        )
    if seen.unused:
        yield Finding(
            "parameter-unused",
            f"{seen.unused[0]}{_more(seen.unused)} has no part in the loss: it gets no gradient",
            "warning",
            "use it in forward, or remove it",
        )


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _outputs(seen: Look, takes: str) -> Iterator[Finding]:
    out, last = seen.out.detach().double(), seen.calls[-1].module if seen.calls else None
    wide = out.dim() > 1 and out.shape[-1] > 1
    sums = out.sum(-1) if wide else torch.zeros(1, dtype=out.dtype)
    is_softmax = wide and bool((out >= 0).all()) and bool((sums - 1).abs().max() < CLOSE)
    is_log = wide and bool((out <= 0).all()) and bool((out.exp().sum(-1) - 1).abs().max() < CLOSE)
    if takes == "logits" and is_softmax:
        yield Finding(
            "softmax-before-cross-entropy",
            "the model's outputs are probabilities, and cross-entropy takes their softmax once more: it can never "
            "fall below a bound, and gradients are small",
            "mistake",
            "end with the last linear layer",
        )
    elif takes == "logits" and is_log:
        yield Finding(
            "log-softmax-twice",
            "the model ends in a log-softmax, which cross-entropy takes once more: it changes nothing and costs time",
            "note",
            "end with the last linear layer, or take NLLLoss",
        )
    elif takes.startswith("logits") and isinstance(last, nn.Sigmoid):
        kind = "binary cross-entropy with logits" if takes != "logits" else "cross-entropy"
        yield Finding(
            "sigmoid-before-logits",
            f"the model ends in a sigmoid, and {kind} takes logits: outputs between 0 and 1 bound what it can say",
            "mistake",
            "leave the sigmoid out",
        )
    elif takes == "probabilities" and not bool(((out >= 0) & (out <= 1)).all()):
        yield Finding(
            "logits-for-probabilities",
            "the loss takes probabilities, and the model's outputs are not between 0 and 1",
            "mistake",
            "BCEWithLogitsLoss",
        )
    elif takes == "logs of probabilities" and wide and not is_log:
        yield Finding(
            "nll-without-log-softmax",
            "the loss takes logarithms of probabilities, and the model's outputs are none",
            "mistake",
            "CrossEntropyLoss, or a log-softmax at the end",
        )


def _order(seen: Look) -> Iterator[Finding]:
    """What stands before a norm and should not."""
    norms = [place for place, call in enumerate(seen.calls) if isinstance(call.module, _BatchNorm)]
    layers = [call.module for call in seen.calls]
    drops = [place for place, layer in enumerate(layers) if isinstance(layer, _DropoutNd) and layer.p > 0]
    if norms and drops and drops[0] < norms[-1]:
        after = next(place for place in norms if place > drops[0])
        yield Finding(
            "dropout-before-batch-norm",
            f"dropout ({seen.calls[drops[0]].name}) stands before batch normalisation ({seen.calls[after].name}): the "
            "variance that it learns is that of training, and evaluation has another (Li et al. 2019)",
            "warning",
            "put dropout after the last batch normalisation",
        )
    useless = [
        one.name
        for one in seen.calls
        if isinstance(one.module, LINEAR) and one.module.bias is not None and _is_normed(seen, one)
    ]
    if useless:
        yield Finding(
            "bias-before-norm",
            f"the bias of {useless[0]}{_more(useless)} does nothing: the norm after it takes the mean away",
            "note",
            "bias=False",
        )


def _is_normed(seen: Look, one: Any) -> bool:
    return any(seen.feeds(one, other) and isinstance(other.module, NORMS) for other in seen.calls)
