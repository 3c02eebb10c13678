"""What a penalty and a projection are: dataclasses with settings, told by a pattern what they act on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import vmap

from ravine.errors import UserError
from ravine.schedules.spec import check


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that fit a pattern such as "*.weight"; a pattern with "*." fits the outermost level too."""
    return [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(f".{name}", pattern)]


def chosen(owner: str, pattern: str, names: Iterable[str], kind: str = "parameter") -> list[str]:
    """The names that fit, or a `UserError` where none does."""
    names = list(names)
    found = matching(pattern, names)
    if not found:
        shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UserError(f"{owner}: no {kind} is named {pattern}; there are {shown}")
    return found


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


@dataclass(frozen=True)
class Part:
    """A penalty or a projection. ``on`` is a pattern of names; ``amount`` names the number that may differ by lane.

    Constructors only store; `ravine.schedules.check` tests the bounds, and so does every use.
    """

    name: ClassVar[str] = ""
    amount: ClassVar[str] = "strength"
    matrices: ClassVar[bool] = False  # it acts on parameters with rows alone

    on: str = "*.weight"

    def flaw(self) -> str | None:
        """What is wrong between the settings, each allowed by itself."""
        return None

    def fits(self, weights: Mapping[str, Tensor]) -> None:
        """Raise a `UserError` where it cannot act on what its pattern names."""
        for name, weight in weights.items():
            if self.matrices and weight.dim() < 2:
                raise UserError(
                    f"{self.name}: {name} of shape {tuple(weight.shape)} has no rows; choose others with on"
                )

    def holds(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors that a run holds for it from the beginning, each by a short name and "|" and a parameter's name."""
        return {}

    def with_held(self, amount: Tensor, held: Mapping[str, Tensor]) -> Part:
        """The same with a lane's own number and tensors."""
        return replace(self, **{self.amount: amount})

    def bound(self, module: nn.Module) -> dict[str, Tensor]:
        """What it acts on in a module, checked."""
        check(self)
        parameters = trained(module)
        found = {name: parameters[name] for name in chosen(self.name, self.on, parameters)}
        self.fits(found)
        return dict(found)


@dataclass(frozen=True)
class Penalty(Part, ABC):
    """A term of the loss: ``loss = criterion(model(x), y) + penalty(model)``."""

    sees: ClassVar[Literal["parameters", "activations"]] = "parameters"

    @abstractmethod
    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The term, a scalar, of the tensors that the pattern names."""

    def __call__(self, module: nn.Module | Mapping[str, Tensor]) -> Tensor:
        """The term of a module's parameters; of activations, of what `watching` collected."""
        if self.sees == "parameters" and isinstance(module, nn.Module):
            return self.value(self.bound(module))
        if isinstance(module, nn.Module):
            raise UserError(
                f"{self.name} sees activations: call it with what ravine.penalties.watching(model, ...) saw"
            )
        check(self)
        return self.value(module)


@dataclass(frozen=True)
class Projection(Part, ABC):
    """What happens to weights after the optimizer's step: ``projection.after(model, lr)``."""

    needs_rate: ClassVar[bool] = False

    @abstractmethod
    def project(self, w: Tensor, rate: Any) -> Tensor:
        """Where the weights go, out of place."""

    @torch.no_grad()
    def after(self, module: nn.Module, rate: float | None = None) -> None:
        """Change a module's parameters; ``rate`` is the learning rate of the step, for those that need it."""
        found = self.bound(module)
        if self.needs_rate and rate is None:
            raise UserError(f"{self.name}: give the learning rate of the step, as in after(model, lr)")
        for w in found.values():
            w.copy_(self.project(w, rate))

    @torch.no_grad()
    def finish(
        self, weights: Mapping[str, Tensor], amount: Tensor, held: Mapping[str, Tensor], rates: Tensor, time: float
    ) -> None:
        """The same for lanes: weights [K, *shape], amounts [K] and rates [K]."""

        def one(w: Tensor, own: Tensor, rate: Tensor) -> Tensor:
            made = self.with_held(own, {})
            assert isinstance(made, Projection)
            return made.project(w, rate)

        for w in weights.values():
            w.copy_(vmap(one)(w, amount.to(w.dtype), rates.to(w.dtype)))
