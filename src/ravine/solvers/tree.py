"""Nested tensors (a tensor; a dict, list or tuple of such) as one flat vector, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ravine.errors import UserError

Tree: TypeAlias = Any  # a tensor, or a dict, list or tuple of trees


def leaves(tree: Tree, where: str = "x0") -> list[Tensor]:
    """The tensors of a tree, in the order of its keys and places.

    Raises:
        UserError: where something else than a real floating-point tensor stands.
    """
    if isinstance(tree, Tensor):
        if not tree.is_floating_point():
            raise UserError(f"{where} must hold real floating-point numbers, got {tree.dtype}: convert it to a float")
        return [tree]
    if isinstance(tree, Mapping):
        return [leaf for key, part in tree.items() for leaf in leaves(part, f"{where}[{key!r}]")]
    if isinstance(tree, list | tuple):
        return [leaf for i, part in enumerate(tree) for leaf in leaves(part, f"{where}[{i}]")]
    raise UserError(f"{where} must be a tensor, or a dict, list or tuple of tensors, got {type(tree).__name__}")


def one_kind(tensors: Sequence[Tensor], owner: str) -> None:
    """Raise unless there are numbers, all of one dtype on one device, which a flat vector needs."""
    if sum(t.numel() for t in tensors) == 0:
        raise UserError(f"{owner}: there is nothing to optimize")
    kinds = {(t.dtype, t.device) for t in tensors}
    if len(kinds) > 1:
        named = " and ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise UserError(f"{owner} sees all parameters as one vector, which must be of one dtype on one device: {named}")


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers one after another, [d]: a copy."""
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views of a flat vector with the shapes of ``like``; autograd runs through them."""
    parts = flat.split([t.numel() for t in like])
    return [part.view(t.shape) for part, t in zip(parts, like, strict=True)]


def rebuilder(tree: Tree) -> Callable[[Tensor], Tree]:
    """The function that turns a flat vector into a tree of this form."""
    like = leaves(tree)

    def rebuild(flat: Tensor) -> Tree:
        parts = iter(split(flat, like))
        return _filled(tree, parts)

    return rebuild


def _filled(tree: Tree, parts: Any) -> Tree:
    if isinstance(tree, Tensor):
        return next(parts)
    if isinstance(tree, Mapping):
        return {key: _filled(part, parts) for key, part in tree.items()}
    made = [_filled(part, parts) for part in tree]
    return type(tree)(*made) if hasattr(tree, "_fields") else type(tree)(made)
