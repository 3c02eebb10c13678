"""Parameter groups made for the user: decay where it belongs, rates by layer, name or kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from ravine.errors import UserError, unknown
from ravine.optim.depth import layers_of

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
Options = Mapping[str, Any]


@dataclass
class Owned:
    """One parameter with all its names and the modules that hold it: more than one where it is shared (tied)."""

    parameter: nn.Parameter
    names: list[str] = field(default_factory=list[str])
    owners: list[nn.Module] = field(default_factory=list[nn.Module])

    @property
    def is_norm(self) -> bool:
        """Held by a normalisation layer; one of the user's own is known by its name and its flat parameters."""
        own = any(isinstance(m, NORMS) for m in self.owners)
        named = any("norm" in type(m).__name__.lower() for m in self.owners)
        return own or (named and self.parameter.dim() < 2)

    @property
    def is_bias(self) -> bool:
        """Called a bias: "bias", "in_proj_bias"."""
        return any(name.rpartition(".")[2].endswith("bias") for name in self.names)


class Groups(list[dict[str, Any]]):
    """Parameter groups for any torch optimizer; printed, they are a table."""

    def __str__(self) -> str:
        rows = [("group", "tensors", "numbers", "options", "parameters")]
        rows += [(str(place), *_cells(group)) for place, group in enumerate(self)]
        wide = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join("  ".join([*map(str.ljust, row[:4], wide), row[4]]) for row in rows)

    __repr__ = __str__


def _cells(group: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A group's number of tensors and of numbers, its options and its first names, as text."""
    names = [name for name, _ in group["params"]]
    first = names if len(names) < 5 else [*names[:3], f"... {names[-1]}"]
    own = {key: value for key, value in group.items() if key != "params"}
    options = [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in own.items()]
    size = sum(p.numel() for _, p in group["params"])
    return str(len(names)), f"{size:,}", " ".join(options) or "-", ", ".join(first)


def groups_for(
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    no_decay: str = "norm,bias",
    layer_decay: float | None = None,
    layers: Sequence[str] | None = None,
    by_kind: Mapping[type[nn.Module], Options] | None = None,
    by: Mapping[str, Options] | None = None,
) -> Groups:
    """Groups of a model's trained parameters, each parameter once, with its name.

    Each step may overrule the one before: ``weight_decay`` for all; 0 for what ``no_decay`` names; ``lr`` times
    ``layer_decay`` to the number of layers above; ``by_kind`` of module; ``by`` pattern of name, in the order given.
    A shared parameter has its first name, and any of its names or modules may match.

    Args:
        model: its parameters that require a gradient are taken.
        lr: learning rate of the top layer; needed for layer_decay, else the optimizer's own holds.
        weight_decay: None leaves it to the optimizer, and no_decay without effect.
        no_decay: words of "norm" (normalisation layers), "bias", "flat" (fewer than two axes), joined by commas.
        layer_decay: ratio of the rates of a layer and the one above, in (0, 1].
        layers: patterns of names from the bottom to the top, where the order of the modules is not that of depth.
        by_kind: options for the own parameters of modules of a class.
        by: options for names by shell pattern, such as {"head.*": {"lr": 1e-2}}.

    Raises:
        UserError: for a pattern or kind that matches nothing, an unknown word, or a rate missing for layer_decay.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    >>> [(g["weight_decay"], [name for name, _ in g["params"]]) for g in groups_for(net, weight_decay=0.1)]
    [(0.1, ['0.weight', '2.weight']), (0.0, ['0.bias', '1.weight', '1.bias', '2.bias'])]
    """
    owned = _owned(model)
    options: list[dict[str, Any]] = [{} for _ in owned]
    if lr is not None:
        _apply(options, {"lr": float(lr)})
    if weight_decay is not None:
        _apply(options, {"weight_decay": float(weight_decay)})
        spared = _spared(no_decay, owned)
        _apply([options[i] for i in spared], {"weight_decay": 0.0})
    if layer_decay is not None:
        _decay_by_layer(model, owned, options, lr, layer_decay, layers)
    elif layers is not None:
        raise UserError("layers is for layer_decay: give layer_decay=0.75, or leave layers out")
    for kind, own in (by_kind or {}).items():
        found = [i for i, each in enumerate(owned) if any(isinstance(m, kind) for m in each.owners)]
        if not found:
            raise UserError(f"by_kind: no {kind.__name__} with parameters to train is in the model")
        _apply([options[i] for i in found], _checked("by_kind", kind.__name__, own))
    for pattern, own in (by or {}).items():
        _apply([options[i] for i in _matching("by", pattern, owned)], _checked("by", pattern, own))
    return _grouped(owned, options)


def _owned(model: nn.Module) -> list[Owned]:
    found: dict[int, Owned] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, p in module.named_parameters(recurse=False):
            if p.requires_grad:
                each = found.setdefault(id(p), Owned(p))
                each.names.append(f"{prefix}.{name}" if prefix else name)
                each.owners.append(module)
    if not found:
        raise UserError(f"{type(model).__name__} has no parameters to train")
    order = {id(p): place for place, p in enumerate(model.parameters())}
    return sorted(found.values(), key=lambda each: order[id(each.parameter)])


def _spared(words: str, owned: Sequence[Owned]) -> list[int]:
    tests = {"norm": lambda e: e.is_norm, "bias": lambda e: e.is_bias, "flat": lambda e: e.parameter.dim() < 2}
    chosen = [word.strip() for word in words.split(",") if word.strip()]
    for word in chosen:
        if word not in tests:
            raise unknown("word of no_decay", word, tests)
    return [i for i, each in enumerate(owned) if any(tests[word](each) for word in chosen)]


def _decay_by_layer(
    model: nn.Module, owned: Sequence[Owned], options: Sequence[dict[str, Any]], lr: float | None, ratio: float,
    layers: Sequence[str] | None,
) -> None:  # fmt: skip
    if lr is None:
        raise UserError("layer_decay needs lr, the learning rate of the top layer")
    if not 0 < ratio <= 1:
        raise UserError(f"layer_decay={ratio!r}: give a ratio in (0, 1]")
    depth = layers_of(model) if layers is None else _given_depth(layers, owned)
    top = max(depth[id(each.parameter)] for each in owned)
    for each, own in zip(owned, options, strict=True):
        own["lr"] = lr * ratio ** (top - depth[id(each.parameter)])


def _given_depth(layers: Sequence[str], owned: Sequence[Owned]) -> dict[int, int]:
    depth: dict[int, int] = {}
    for place, pattern in enumerate(layers):
        for i in _matching("layers", pattern, owned):
            depth.setdefault(id(owned[i].parameter), place)
    left = [each.names[0] for each in owned if id(each.parameter) not in depth]
    if left:
        raise UserError(f"layers: no pattern matches {left[0]}: name every layer, from the bottom to the top")
    return depth


def _matching(option: str, pattern: str, owned: Sequence[Owned]) -> list[int]:
    found = [i for i, each in enumerate(owned) if any(fnmatchcase(name, pattern) for name in each.names)]
    if not found:
        names = [name for each in owned for name in each.names]
        near = sorted({".".join(name.split(".")[: pattern.count(".") or 1]) + ".*" for name in names if "." in name})
        raise unknown(f"pattern of {option}", pattern, near or names)
    return found


def _checked(option: str, name: str, own: Any) -> Options:
    if not isinstance(own, Mapping) or "params" in own:
        raise UserError(f'{option}: give options for {name} by name, as in {{"lr": 1e-3}}, got {own!r}')
    return own


def _apply(options: Sequence[dict[str, Any]], new: Options) -> None:
    for own in options:
        own.update(new)


def _grouped(owned: Sequence[Owned], options: Sequence[dict[str, Any]]) -> Groups:
    """Parameters of the same options together, in the order in which the options first appear."""
    made: list[tuple[dict[str, Any], list[tuple[str, Tensor]]]] = []
    for each, own in zip(owned, options, strict=True):
        found = next((params for known, params in made if known == own), None)
        if found is None:
            found = []
            made.append((own, found))
        found.append((each.names[0], each.parameter))
    return Groups({"params": params, **own} for own, params in made)
