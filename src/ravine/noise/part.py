"""A kind of noise as a value: its settings, and where in a model it is put."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import nn

from ravine.engines.noise import Keyed
from ravine.errors import UserError
from ravine.initial.gain import is_nonlinearity
from ravine.noise.layers import (
    DropConnect,
    GaussianNoise,
    InvertedDropout,
    SampleDropout,
    SpatialDropout,
    StandardDropout,
    WeightNoise,
    dropped,
)
from ravine.schedules.schedule import setting

INPUT, HIDDEN, BRANCHES, LINEAR = "input", "hidden", "branches", "linear"
WORDS = {
    INPUT: "the samples themselves",
    HIDDEN: "behind every nonlinearity but one at the end",
    BRANCHES: "behind every residual branch",
    LINEAR: "every linear layer",
}
SHARE = "share set to 0"


@dataclass(frozen=True)
class Noise(ABC):
    """Noise at the places that ``on`` names: one of `WORDS`, or a pattern of modules' names, such as "3" or "*.act".

    ``amount`` is the number that may differ by lane; ``held`` the layer's own name of it. Constructors only store;
    `ravine.schedules.check` tests the bounds.
    """

    name: ClassVar[str] = ""
    amount: ClassVar[str] = "drop"
    held: ClassVar[str] = "p"
    weights: ClassVar[type[Keyed] | None] = None  # what a linear layer becomes, where the noise is on its weights

    on: str = HIDDEN

    @property
    @abstractmethod
    def number(self) -> float:
        """The amount."""

    @abstractmethod
    def layer(self) -> Keyed:
        """The layer that is put behind (of samples: before) what ``on`` names."""

    def flaw(self) -> str | None:
        """What is wrong between the settings, each allowed by itself."""
        return None

    def names(self, model: nn.Module) -> list[str]:
        """The modules that it is put on; "" is the whole model. A `UserError` where there are none."""
        found = [name for name, module in model.named_modules() if self._fits(name, module)]
        if self.on == HIDDEN:
            found = _not_last(found, model)
        if self.on == BRANCHES:
            marked = ((n, getattr(module, "branch", None)) for n, module in model.named_modules())
            found = [f"{n}.{branch}".lstrip(".") for n, branch in marked if isinstance(branch, str)]
        if not found:
            raise UserError(f"{self.name}: {self._nothing(model)}")
        return found

    def _fits(self, name: str, module: nn.Module) -> bool:
        match self.on:
            case "input":
                return not name
            case "hidden":
                return is_nonlinearity(module)
            case "linear":
                return type(module) is nn.Linear
            case _:
                return bool(name) and (fnmatchcase(name, self.on) or fnmatchcase(f".{name}", self.on))

    def _nothing(self, model: nn.Module) -> str:
        reasons = {
            HIDDEN: "no nonlinearity is a module of the model",
            BRANCHES: "the model has no residual branches",
            LINEAR: "the model has no linear layer",
        }
        names = [name for name, _ in model.named_modules() if name]
        shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        return f"{reasons.get(self.on, f'no module is named {self.on}')}; name modules with on: there are {shown}"


def _not_last(names: list[str], model: nn.Module) -> list[str]:
    """Without those that no trained layer follows, unless none is left: a model may call one module many times."""
    ordered = [(name, any(True for _ in module.parameters(recurse=False))) for name, module in model.named_modules()]
    last = max((place for place, (_, trained) in enumerate(ordered) if trained), default=0)
    before = {name for name, _ in ordered[:last]}
    return [name for name in names if name in before] or names


@dataclass(frozen=True)
class _Share(Noise):
    """Noise with a share that is set to 0: ``drop``, or what stays, ``keep``."""

    drop: float | None = setting(None, "number", SHARE, "(0, 1)", optional=True)
    keep: float | None = setting(None, "number", "share that stays", "(0, 1)", optional=True)
    made: ClassVar[Callable[..., Any]]

    @property
    def number(self) -> float:
        """The share set to 0."""
        return dropped(self.drop, self.keep)

    def layer(self) -> Keyed:
        """Of that share."""
        return type(self).made(drop=self.number)

    def flaw(self) -> str | None:
        """Neither or both of drop and keep."""
        if (self.drop is None) == (self.keep is None):
            return f"give drop (the {SHARE}) or keep (the share that stays), one of them"
        return None


@dataclass(frozen=True)
class Dropout(_Share):
    """Inverted dropout: entries are set to 0 in training and the others divided by the share kept.

    Reference: Srivastava et al. 2014, JMLR 15:1929, who use 0.2 on inputs and 0.5 on hidden units.
    """

    name = "dropout"
    made = InvertedDropout


@dataclass(frozen=True)
class PlainDropout(_Share):
    """Dropout scaled at test: entries are set to 0 in training, and all multiplied by the share kept at test."""

    name = "standard-dropout"
    made = StandardDropout


@dataclass(frozen=True)
class ChannelDropout(_Share):
    """Whole channels are set to 0 (Tompson et al. 2015, arXiv:1411.4280)."""

    name = "spatial-dropout"
    made = SpatialDropout


@dataclass(frozen=True)
class Depth(_Share):
    """Whole samples skip a residual branch: stochastic depth (Huang et al. 2016, arXiv:1603.09382)."""

    name = "stochastic-depth"
    on: str = BRANCHES
    made = SampleDropout


@dataclass(frozen=True)
class Connections(_Share):
    """Weights of linear layers are set to 0, one draw a minibatch (Wan et al. 2013, ICML 28:1058)."""

    name = "dropconnect"
    on: str = LINEAR
    made = DropConnect
    weights = DropConnect


@dataclass(frozen=True)
class Gaussian(Noise):
    """Normal noise of deviation ``std`` in units of what it is added to; on inputs as they are after preprocessing."""

    name = "gaussian"
    amount = "std"
    held = "std"
    on: str = INPUT
    std: float = setting(0.1, "number", "deviation of the noise", "(0, inf)")

    @property
    def number(self) -> float:
        """The deviation."""
        return self.std

    def layer(self) -> Keyed:
        """Of that deviation."""
        return GaussianNoise(self.std)


@dataclass(frozen=True)
class OnWeights(Noise):
    """Normal noise of deviation ``std`` on the weights of linear layers (Graves 2011, NeurIPS 24)."""

    name = "weight-noise"
    amount = "std"
    held = "std"
    weights = WeightNoise
    on: str = LINEAR
    std: float = setting(0.01, "number", "deviation of the noise, in units of w", "(0, inf)")

    @property
    def number(self) -> float:
        """The deviation."""
        return self.std

    def layer(self) -> Keyed:
        """No layer of its own."""
        raise UserError("weight-noise is put on the weights of a linear layer, not behind a module")
