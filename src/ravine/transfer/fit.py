"""Loading weights into a model: by name, with a new head where the file's does not fit; or not at all, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from ravine.engines.noise import KEY
from ravine.errors import UserError
from ravine.transfer.weights import read_weights

SHOWN = 5  # names in a sentence
KEEP, NEW = "keep", "new"


@dataclass(frozen=True)
class Loaded:
    """What loading did: names that came from the file, those that keep their own draw, and those left in the file."""

    taken: tuple[str, ...]
    new: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.taken)} tensors from the file"]
        parts += [f"drawn anew: {listed(self.new)}"] * bool(self.new)
        parts += [f"left in the file: {listed(self.left)}"] * bool(self.left)
        return "; ".join(parts)


def load_into(
    model: nn.Module,
    file: str | Path,
    *,
    head: str = KEEP,
    prefix: str = "",
    names: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a file's weights and buffers into a model of anybody's, in place.

    Args:
        model: gets them; what the file does not give keeps its values.
        file: safetensors, or a torch state_dict.
        head: "keep": everything must fit. "new": the last layer keeps its own draw, and so do the layers below it
            whose shapes differ, without a gap. A pattern, such as "fc.*": what it names keeps its own draw.
        prefix: taken off the file's names, such as "module." of a model that was trained in parallel.
        names: beginnings of the file's names and what stands for them here: {"encoder.": "body."}.

    Raises:
        UserError: names each tensor that does not fit; nothing is changed then.
    """
    return fit(model, read_weights(file), str(file), head, prefix, names)


@torch.no_grad()
def fit(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    source: str,
    head: str = KEEP,
    prefix: str = "",
    names: Mapping[str, str] | None = None,
) -> Loaded:
    """`load_into` for weights that have been read; ``source`` is their name in a sentence."""
    given = renamed(weights, source, prefix, names or {})
    own = {name: t for name, t in model.state_dict(keep_vars=True).items() if name.rpartition(".")[2] != KEY}
    new = _anew(model, own, given, head)
    wrong = [_mismatch(name, own[name], given) for name in own if name not in new]
    wrong = [words for words in wrong if words]
    left = tuple(name for name in given if name not in own)
    if head == KEEP:
        wrong += [f"{name} is in the file alone" for name in left]
    if wrong:
        cure = ' (head = "new" draws the last layer anew)' if head == KEEP else ""
        raise UserError(f"{source} does not fit the model: {'; '.join(wrong[:SHOWN])}{_more(wrong)}{cure}")
    taken = [name for name in own if name not in new]
    if not taken:
        why = [words for words in (_mismatch(name, own[name], given) for name in own) if words]
        said = f": {'; '.join(why[:SHOWN])}{_more(why)}" if why else ""
        raise UserError(f"{source} gives this model nothing beside head = {head!r}{said}")
    for name in taken:
        own[name].detach().copy_(given[name])
    return Loaded(tuple(taken), tuple(name for name in own if name in new), left)


def renamed(weights: Mapping[str, Tensor], source: str, prefix: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The file's tensors by the names that they have here."""
    if prefix and not any(name.startswith(prefix) for name in weights):
        raise UserError(f"{source}: no name begins with {prefix!r}; the first is {next(iter(weights))!r}")
    found = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    for old, new in names.items():
        if not any(name.startswith(old) for name in found):
            raise UserError(f"{source}: no name begins with {old!r}; the first is {next(iter(found))!r}")
        found = {new + name.removeprefix(old) if name.startswith(old) else name: t for name, t in found.items()}
    if len(found) < len(weights):
        raise UserError(f"{source}: two tensors would have one name after renaming")
    return found


def listed(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    return ", ".join(names[:SHOWN]) + _more(names)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""


def _anew(model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor], head: str) -> set[str]:
    """The names that keep their own draw."""
    if head == KEEP:
        return set()
    if head != NEW:
        found = {name for name in own if fnmatchcase(name, head)}
        if not found:
            raise UserError(f"head = {head!r}: no tensor of the model has such a name; it has {listed([*own])}")
        return found
    layers: dict[str, list[str]] = {}
    for name in own:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    ordered = [layers[name] for name, _ in model.named_modules() if name in layers]
    found: set[str] = set()
    for place, layer in enumerate(reversed(ordered)):
        if place and not any(_mismatch(name, own[name], given) for name in layer):
            break
        found |= set(layer)
    return found


def _mismatch(name: str, own: Tensor, given: Mapping[str, Tensor]) -> str:
    """What is wrong with one tensor, in a clause; empty if it fits."""
    if name not in given:
        return f"{name} is not in the file"
    found = given[name]
    if found.shape != own.shape:
        return f"{name} is {list(found.shape)} in the file and {list(own.shape)} in the model"
    if found.is_floating_point() != own.is_floating_point() or found.is_complex() != own.is_complex():
        return f"{name} is {str(found.dtype).removeprefix('torch.')} in the file"
    if found.is_floating_point() and not bool(torch.isfinite(found).all()):
        return f"{name} holds values that are not finite"
    return ""
