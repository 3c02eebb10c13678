"""Noise that depends on (seed, step, place) alone, so that a lane draws what the same run alone would draw."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ravine.engines.share import Share
from ravine.randomness import key

KEY = "noise_key"
SPATIAL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


_library = torch.library.Library("ravine", "DEF")  # an operation of torch's own kind, which a recording can hold
_library.define("uniform(Tensor keys, int[] shape, bool spatial, Device device) -> Tensor")


def _uniform(keys: Tensor, shape: list[int], spatial: bool, device: torch.device) -> Tensor:
    """Uniform numbers of that shape for one key, or for each of a vector of keys; key 0 asks torch's generator."""
    seeds: list[int] = keys.reshape(-1).tolist()
    seeds = [seed or int(torch.randint(1, 2**62, ())) for seed in seeds]
    size = shape[:2] + [1] * len(shape[2:]) if spatial else shape
    drawn = {seed: torch.rand(size, generator=torch.Generator().manual_seed(seed)) for seed in dict.fromkeys(seeds)}
    one = drawn[seeds[0]] if keys.dim() == 0 else torch.stack([drawn[seed] for seed in seeds])
    return one.to(device)


_library.impl("uniform", _uniform, "CompositeExplicitAutograd")


class _Uniform(torch.autograd.Function):
    """Uniform numbers of a given shape for one key, or for a batch of keys under vmap."""

    @staticmethod
    def forward(seed: Tensor, like: Tensor, spatial: bool) -> Tensor:
        return torch.ops.ravine.uniform(seed, list(like.shape), spatial, like.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[None, None, None]:
        return None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        seed: Tensor = args[0]
        like: Tensor = args[1]
        shape = list(like.shape)
        if in_dims[1] is not None:
            shape.pop(in_dims[1])
        draw = torch.ops.ravine.uniform(seed, shape, args[2], like.device)
        return (draw.expand(info.batch_size, *draw.shape) if in_dims[0] is None else draw), 0


class Keyed(nn.Module):
    """A layer that draws by the key in its buffer; in anybody's own loop, without a key, from torch's generator."""

    noise_key: Tensor
    share: Share | None = None  # of a minibatch that several processes take together
    by_sample: ClassVar[bool] = True  # what it draws has the samples as its first axis
    entry: int = -1  # which of a recipe's noises it is, if any
    place: str = ""  # what its key is made of; where it is empty, the layer's number among those without one

    def hold(self, name: str) -> None:
        """Keep a number of the layer's, such as its rate, in a buffer from now on, so that lanes may differ in it."""
        number = torch.tensor(float(getattr(self, name)), dtype=torch.float64)
        delattr(self, name)
        self.register_buffer(name, number)

    def hold_key(self) -> None:
        """Make the buffer; after the constructor of `nn.Module`."""
        self.register_buffer(KEY, torch.zeros((), dtype=torch.int64), persistent=False)

    def uniform(self, like: Tensor, spatial: bool = False) -> Tensor:
        """Uniform numbers in [0, 1) of that shape; of [n, channels, 1, ...] if ``spatial``."""
        like, share = like.detach(), self.share
        if share is None or not self.by_sample:
            return _Uniform.apply(self.noise_key, like, spatial)
        many, rest = divmod(len(like), share.size)
        if rest:  # no axis of samples: each process draws its own
            return _Uniform.apply(self.noise_key + share.begin, like, spatial)
        whole = like[:1].expand(many * share.whole, *like.shape[1:])
        return _Uniform.apply(self.noise_key, whole, spatial)[many * share.begin :][: len(like)]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of that shape and type, cut at 5 deviations."""
        middle = self.uniform(like).double().clamp(3e-7, 1 - 3e-7)
        return (math.sqrt(2) * torch.erfinv(2 * middle - 1)).to(like.dtype)


class KeyedDropout(Keyed):
    """Inverted dropout with probability ``p`` of dropping; ``spatial`` drops whole channels of [n, channels, ...].

    Reference: Srivastava et al. 2014, JMLR 15:1929, scaled at training time.
    """

    def __init__(self, p: float, spatial: bool = False) -> None:
        super().__init__()
        self.p: float | Tensor = p
        self.spatial = spatial
        self.hold_key()

    def forward(self, x: Tensor) -> Tensor:
        """The input with entries dropped and the rest scaled, in training; the input itself otherwise."""
        p = as_like(self.p, x)
        if not self.training or (not isinstance(p, Tensor) and p == 0):
            return x
        kept: Tensor = (self.uniform(x, self.spatial) >= p).to(x.dtype)
        return x * kept / (1 - p) if isinstance(p, Tensor) or p < 1 else x * kept

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"p={float(self.p):g}" + (", spatial" if self.spatial else "")


def as_like(number: float | Tensor, x: Tensor) -> float | Tensor:
    """A layer's number as it meets x: of the same type where it is a tensor, which lanes may differ in."""
    return number.to(x.dtype) if isinstance(number, Tensor) else number


def with_keyed_noise(model: nn.Module) -> nn.Module:
    """The model with each of torch's dropout layers replaced, in place, by one that draws by key."""
    for name, child in model.named_children():
        if type(child) is nn.Dropout:
            setattr(model, name, KeyedDropout(child.p))
        elif isinstance(child, SPATIAL) and type(child) in SPATIAL:  # a user's subclass may draw in another way
            setattr(model, name, KeyedDropout(child.p, spatial=True))
        else:
            with_keyed_noise(child)
    return KeyedDropout(model.p) if type(model) is nn.Dropout else model


def noise_layers(model: nn.Module) -> list[str]:
    """The names of the buffers that hold a key, in the order of the layers."""
    return [f"{name}.{KEY}" if name else KEY for name, m in model.named_modules() if isinstance(m, Keyed)]


def has_statistics(model: nn.Module) -> bool:
    """Whether a layer keeps numbers of what it sees, as batch normalisation does; those of noise are settings."""
    layers = (layer for layer in model.modules() if not isinstance(layer, Keyed))
    return any(b.is_floating_point() for layer in layers for b in layer.buffers(recurse=False))


def noise_places(model: nn.Module) -> dict[str, int | str]:
    """What the key of each layer of noise is made of, by the name of the buffer that holds the key.

    A layer that was put into a model is known by where it stands, so that it leaves the draws of the others as they
    are; the model's own are numbered.
    """
    found: dict[str, int | str] = {}
    for name in noise_layers(model):
        layer = model.get_submodule(name.rpartition(".")[0])
        assert isinstance(layer, Keyed)
        found[name] = layer.place or sum(isinstance(place, int) for place in found.values())
    return found


def gradient_noise(seed: int, step: int, place: int, like: Tensor) -> Tensor:
    """Normal numbers for the gradient of one parameter, the ``place``-th of the model, at one step."""
    drawn = torch.Generator().manual_seed(key(seed, "gradient noise", step, place))
    return torch.randn(like.shape, generator=drawn, dtype=torch.float64).to(like.device, like.dtype)


def noise_key(seed: int, step: int, layer: int | str, piece: int = 0) -> int:
    """The key of one layer at one step; a minibatch that is taken in pieces has one a piece."""
    return key(seed, "noise", step, layer, *([piece] if piece else []))
