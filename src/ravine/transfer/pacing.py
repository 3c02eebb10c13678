"""Layers at their own pace: rates that fall with depth, and layers that begin to train one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ravine.engines.tiers import Tier
from ravine.errors import UserError
from ravine.optim.depth import layers_of
from ravine.optim.grouping import Groups, groups_for


def layerwise_groups(model: nn.Module, lr: float, decay: float, layers: Sequence[str] | None = None) -> Groups:
    """Parameter groups for any torch optimizer: the top layer at ``lr``, each below at ``decay`` times the one above.

    Reference: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning).
    """
    return groups_for(model, lr=lr, layer_decay=decay, layers=layers)


@dataclass(frozen=True)
class Unfreezing:
    """Which parameters train in which epoch: the top layer at once, another from above every ``every`` epochs."""

    starts: dict[str, float]  # the epoch from which each parameter trains

    def trained(self, epoch: float) -> tuple[str, ...]:
        """The names of the parameters that train in that epoch."""
        return tuple(name for name, start in self.starts.items() if epoch >= start)

    def apply(self, model: nn.Module, epoch: float) -> tuple[str, ...]:
        """Let exactly these have gradients, and drop those of the others; call it where an epoch begins."""
        found = self.trained(epoch)
        for name, p in model.named_parameters():
            if name in self.starts:
                p.requires_grad_(name in found)
                p.grad = p.grad if name in found else None
        return found


def unfreeze_schedule(model: nn.Module, every: float = 1.0) -> Unfreezing:
    """Gradual unfreezing of the parameters that require a gradient now: a pure function of the epoch.

    A parameter that does not train yet has no gradient, so an optimizer leaves it and its state alone. Running
    statistics of batch normalisation follow the data all the while; `freeze` is what holds them.
    Reference: Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
    """
    if not every > 0:
        raise UserError(f"unfreeze every {every!r} epochs: give a positive number")
    depth = _depths(model)
    top = max(depth.values())
    return Unfreezing({name: every * (top - at) for name, at in depth.items()})


def tiers_of(module: nn.Module, rates: float | None, every: float | None) -> tuple[Tier, ...]:
    """The trained parameters of a module by layer, from the top; () where all step alike."""
    depth = _depths(module)
    top = max(depth.values())
    if top == 0 or (rates in (None, 1.0) and every is None):
        return ()
    places: dict[int, list[int]] = {}
    for place, at in enumerate(depth.values()):
        places.setdefault(top - at, []).append(place)
    return tuple(
        Tier(tuple(places[below]), (rates or 1.0) ** below, (every or 0.0) * below) for below in sorted(places)
    )


def _depths(module: nn.Module) -> dict[str, int]:
    """The layer of each trained parameter, counted without the layers that do not train."""
    depth = layers_of(module)
    trained = {name: depth[id(p)] for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise UserError(f"{type(module).__name__} has no parameters to train")
    order = sorted(set(trained.values()))
    return {name: order.index(at) for name, at in trained.items()}
