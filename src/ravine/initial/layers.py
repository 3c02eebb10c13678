"""The weights and biases of a module that an initialiser may draw, with the fans of their layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn
from torch.nn.parameter import UninitializedParameter

from ravine.errors import UserError
from ravine.initial.gain import is_nonlinearity
from ravine.initial.initial import Fans

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer: TypeAlias = (
    nn.Linear | nn.Bilinear | Convolution | Transposed | nn.Embedding | nn.EmbeddingBag | nn.RNNBase | nn.RNNCellBase
    | nn.MultiheadAttention
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One parameter that an initialiser draws. ``blocks`` maps lie one above the other in it: an LSTM's gates."""

    name: str
    parameter: nn.Parameter
    kind: Literal["weight", "bias"]
    layer: nn.Module
    fans: Fans
    blocks: int = 1


def places(module: nn.Module, activation: nn.Module | None = None) -> list[Place]:
    """Every weight and bias of torch's linear, convolutional, recurrent, embedding and attention layers.

    Norms, parameters of your own layers, frozen parameters and parametrised ones are not among them; a parameter that
    several layers share is there once. The nonlinearity after a layer is the next module, in the order in which
    modules were made, that is one, if no other layer comes first; ``activation`` stands in where a model calls
    functions instead, after every layer but the last.
    """
    ordered = list(module.named_modules())
    layers = [at for at, (_, each) in enumerate(ordered) if isinstance(each, Layer)]
    seen: set[int] = set()
    found: list[Place] = []
    for at in layers:
        name, layer = ordered[at]
        after = _following([each for _, each in ordered[at + 1 :]])
        if activation is not None:
            after = activation if at != layers[-1] else None
        assert isinstance(layer, Layer)
        for place in _own(name, layer, after):
            if id(place.parameter) not in seen:
                seen.add(id(place.parameter))
                found.append(place)
    return found


def _following(later: list[nn.Module]) -> nn.Module | None:
    for module in later:
        if is_nonlinearity(module):
            return module
        if isinstance(module, Layer):
            return None
    return None


def _own(name: str, layer: Layer, after: nn.Module | None) -> Iterator[Place]:
    for own, parameter in layer.named_parameters(recurse=False):
        if isinstance(parameter, UninitializedParameter):
            raise UserError(f"{name or type(layer).__name__}: a lazy layer has no sizes yet; run one batch through it")
        if not parameter.requires_grad:
            continue
        if parameter.is_meta:
            raise UserError(
                f"{name or type(layer).__name__}: it lies on the meta device, without numbers; use to_empty"
            )
        place = f"{name}.{own}" if name else own
        if "bias" in own:
            yield Place(place, parameter, "bias", layer, Fans(1, 1, after))
        else:
            blocks = _blocks(layer, own)
            yield Place(place, parameter, "weight", layer, _fans(layer, parameter, blocks, after), blocks)


def _blocks(layer: Layer, own: str) -> int:
    match layer:
        case nn.LSTM() | nn.LSTMCell():
            return 1 if own.startswith("weight_hr") else 4  # that one projects the state
        case nn.GRU() | nn.GRUCell():
            return 3
        case nn.MultiheadAttention():
            return 3 if own == "in_proj_weight" else 1
        case _:
            return int(getattr(layer, "stacked", 1))


def _fans(layer: Layer, weight: nn.Parameter, blocks: int, after: nn.Module | None) -> Fans:
    """The fans as `torch.nn.init` counts them, except for transposed convolutions, and embeddings.

    A transposed convolution's weight is [in, out, ...]; and of an embedding's entries a look-up reads one, so each of
    its outputs has one input.
    """
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return Fans(1, weight.shape[1], after)
    size = math.prod(weight.shape[2:])
    out, into = weight.shape[0] // blocks * size, weight.shape[1] * size
    if isinstance(layer, nn.Bilinear):
        return Fans(into, weight.shape[0], after)
    return Fans(out, into, after) if isinstance(layer, Transposed) else Fans(into, out, after)
