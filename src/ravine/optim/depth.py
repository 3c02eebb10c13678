"""How deep a model's parameters lie, found from the order and the kinds of its modules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList)


def layers_of(model: nn.Module) -> dict[int, int]:
    """The layer of each parameter, by its id: 0 is the lowest.

    Layers are the model's children in their order, with containers, and children that hold a container of two blocks of
    one class (an encoder, a stage), taken apart; so a block is one layer, whatever it holds. What lies in no layer
    (a position embedding of the model itself) belongs to the lowest, and a layer that holds vectors only (a
    normalisation) to the one below it.
    """
    depth: dict[int, int] = {id(p): 0 for p in model.parameters(recurse=False)}
    place = -1
    for layer in _layers(model):
        params = [p for p in layer.parameters() if id(p) not in depth]
        if not params:
            continue
        if place < 0 or any(p.dim() > 1 for p in params):
            place += 1
        depth |= {id(p): place for p in params}
    return depth


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, CONTAINERS) or _has_blocks(child):
            yield _Own(child)
            yield from _layers(child)
        else:
            yield child


def _has_blocks(module: nn.Module) -> bool:
    """Whether it holds a container of two blocks, or more, of one class."""
    for inner in module.modules():
        if isinstance(inner, CONTAINERS):
            blocks = Counter(type(child) for child in inner if any(True for _ in child.children()))
            if any(number > 1 for number in blocks.values()):
                return True
    return False


class _Own(nn.Module):
    """The parameters that a module holds itself."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, p in module.named_parameters(recurse=False):
            self.register_parameter(name, p)
