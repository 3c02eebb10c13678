"""Layers of noise: dropout in its forms, on connections, on inputs, on weights, on whole blocks.

Every layer says which share it takes: ``drop=0.2`` and ``keep=0.8`` are the same. In lanes and recipes each draws by
(seed, step, layer); in a loop of your own from torch's generator, or by `set_keys`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.noise import Keyed, KeyedDropout, as_like
from ravine.errors import UserError


def dropped(drop: float | None, keep: float | None) -> float:
    """The share that is dropped, from whichever of the two was given.

    >>> dropped(drop=None, keep=0.8)
    0.2
    """
    if (drop is None) == (keep is None):
        raise UserError("dropout: give drop (the share that is set to 0) or keep (the share that stays), one of them")
    name, given = ("drop", drop) if drop is not None else ("keep", keep)
    assert given is not None
    if not 0 < given < 1:
        what = "all is dropped" if (given >= 1) == (name == "drop") else "nothing is dropped"
        raise UserError(f"dropout: {name} must lie in (0, 1), got {given:g}, with which {what}")
    return given if name == "drop" else round(1 - given, 12)


def _positive(std: float, what: str) -> float:
    if not 0 < std < float("inf"):
        raise UserError(f"{what}: std must be positive, got {std:g}")
    return std


class InvertedDropout(KeyedDropout):
    """Dropout scaled at training: entries are dropped, the others divided by the share kept; the identity at test."""

    def __init__(self, *, drop: float | None = None, keep: float | None = None) -> None:
        super().__init__(dropped(drop, keep))


class SpatialDropout(KeyedDropout):
    """Inverted dropout of whole channels of [n, channels, ...] (Tompson et al. 2015, arXiv:1411.4280)."""

    def __init__(self, *, drop: float | None = None, keep: float | None = None) -> None:
        super().__init__(dropped(drop, keep), spatial=True)


class StandardDropout(Keyed):
    """Dropout scaled at test: entries are dropped in training, all are multiplied by the share kept at test.

    Reference: Srivastava et al. 2014, JMLR 15:1929, section 4.
    """

    def __init__(self, *, drop: float | None = None, keep: float | None = None) -> None:
        super().__init__()
        self.p = dropped(drop, keep)
        self.hold_key()

    def forward(self, x: Tensor) -> Tensor:
        """Entries dropped in training, all scaled at test."""
        p = as_like(self.p, x)
        return x * (self.uniform(x) >= p).to(x.dtype) if self.training else x * (1 - p)


class DropConnect(nn.Linear, Keyed):
    """A linear layer whose weights are dropped, one draw a minibatch, the others divided by the share kept.

    At test the mean of the weights is used (Wan et al. 2013, ICML 28:1058, draw for each sample, and sample at test).
    """

    by_sample = False

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, drop: float | None = None, keep: float | None = None
    ) -> None:
        self.p = dropped(drop, keep)
        super().__init__(inputs, outputs, bias)
        self.hold_key()

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        if not self.training:
            return functional.linear(input, self.weight, self.bias)
        p = as_like(self.p, self.weight)
        kept = (self.uniform(self.weight) >= p).to(self.weight.dtype) / (1 - p)
        return functional.linear(input, self.weight * kept, self.bias)


class WeightNoise(nn.Linear, Keyed):
    """A linear layer with normal noise of deviation ``std`` on its weights in training (Graves 2011, NeurIPS 24)."""

    by_sample = False

    def __init__(self, inputs: int, outputs: int, bias: bool = True, *, std: float) -> None:
        self.std = _positive(std, "weight noise")
        super().__init__(inputs, outputs, bias)
        self.hold_key()

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        if not self.training:
            return functional.linear(input, self.weight, self.bias)
        noise = as_like(self.std, self.weight) * self.normal(self.weight)
        return functional.linear(input, self.weight + noise, self.bias)


class GaussianNoise(Keyed):
    """Normal noise of deviation ``std``, in units of its input, added in training (Bishop 1995, Neural Comp. 7:108).

    On n inputs of a linear model it adds n std^2 |w|^2 to the sum of squared errors: ridge regression.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = _positive(std, "Gaussian noise")
        self.hold_key()

    def forward(self, x: Tensor) -> Tensor:
        """The input with noise in training; the input itself otherwise."""
        return x + as_like(self.std, x) * self.normal(x) if self.training else x


class SampleDropout(Keyed):
    """Inverted dropout of whole samples of [n, ...]: behind a residual branch it is stochastic depth."""

    def __init__(self, *, drop: float | None = None, keep: float | None = None) -> None:
        super().__init__()
        self.p = dropped(drop, keep)
        self.hold_key()

    def forward(self, x: Tensor) -> Tensor:
        """The input with samples set to 0 and the others scaled, in training; the input itself otherwise."""
        if not self.training:
            return x
        p = as_like(self.p, x)
        stays = (self.uniform(x.flatten(1)[:, :1]) >= p).to(x.dtype).view(-1, *[1] * (x.dim() - 1))
        return x * stays / (1 - p)


class StochasticDepth(SampleDropout):
    """x + block(x), where a sample goes past the block with probability ``drop`` in training; what stays is scaled up.

    Reference: Huang et al. 2016, arXiv:1603.09382, who scale at test instead.
    """

    def __init__(self, block: nn.Module, *, drop: float | None = None, keep: float | None = None) -> None:
        super().__init__(drop=drop, keep=keep)
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """[n, ...] to the same shape."""
        return x + super().forward(self.block(x))
