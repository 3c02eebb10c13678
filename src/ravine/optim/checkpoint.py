"""What an optimizer's state looks like in a checkpoint, and how it finds its parameters again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.engines.eager import as_real, init_state
from ravine.errors import UserError
from ravine.optim.groups import Group, kept_type, label
from ravine.rules.rule import Rule, name_of, scalars_of, slots_of
from ravine.types import State

if TYPE_CHECKING:
    from ravine.optim.base import RuleOptimizer

FORMAT = 1
NOT_SAVED = ("params", "schedules")


def pack(optimizer: RuleOptimizer) -> dict[str, Any]:
    """State by index and groups as torch lays them out, every tensor a copy."""
    packed: list[Group] = []
    state: dict[int, State] = {}
    for group in optimizer.param_groups:
        first = sum(len(each["params"]) for each in packed)
        named = _names(optimizer, group)
        for index, p in enumerate(group["params"], first):
            if optimizer.state.get(p):
                state[index] = _saved(optimizer, optimizer.state[p], named, p)
        kept = {key: deepcopy(value) for key, value in group.items() if key not in NOT_SAVED}
        indices = list(range(first, first + len(group["params"])))
        packed.append({**kept, "rule": name_of(optimizer.rule_of(group)), "format": FORMAT, "params": indices})
    return {"state": state, "param_groups": packed}


def _names(optimizer: RuleOptimizer, group: Group) -> Mapping[str, str]:
    """Torch's names, where the group asks for torch's own form of the rule."""
    return {} if group.get("dialect") else optimizer.torch_names


def _saved(optimizer: RuleOptimizer, state: State, named: Mapping[str, str], p: Tensor) -> State:
    entry = {named.get(key, key): value for key, value in state.items()}
    if named:
        optimizer.to_torch(entry)
    return {key: _copy(value, p) if isinstance(value, Tensor) else value for key, value in entry.items()}


def _copy(slot: Tensor, p: Tensor) -> Tensor:
    copy = slot.detach().clone()
    own = p.is_complex() and copy.shape == as_real(p).shape
    return torch.view_as_complex(copy.contiguous()) if own else copy


def unpack(optimizer: RuleOptimizer, saved: Mapping[str, Any]) -> tuple[list[Group], defaultdict[Tensor, State]]:
    """The groups and the state that a checkpoint stands for; everything is checked, nothing of it shared."""
    owner = type(optimizer).__name__
    if not isinstance(saved.get("param_groups"), list) or not isinstance(saved.get("state"), Mapping):
        raise UserError(f"{owner}: not an optimizer's state: give what state_dict() returned")
    groups: list[Group] = []
    state: defaultdict[Tensor, State] = defaultdict(dict)
    for which, (own, theirs, indices) in enumerate(_matched(owner, optimizer.param_groups, saved["param_groups"])):
        meant = {key: deepcopy(value) for key, value in theirs.items() if key not in (*NOT_SAVED, "param_names")}
        rule_name, form = meant.pop("rule", None), meant.pop("format", FORMAT)
        if form != FORMAT:
            raise UserError(f"{owner}: the checkpoint has format {form}, this ravine reads {FORMAT}: use the other's")
        group = {**own, **meant}
        rule, kept = optimizer.rule_of(group), kept_type(owner, group)
        if rule_name is not None and rule_name != name_of(rule):
            raise UserError(f"{owner}: the checkpoint is of {rule_name}, this is {name_of(rule)}: make the same rule")
        groups.append(group)
        for index, (p, place) in enumerate(zip(own["params"], indices, strict=True)):
            if saved["state"].get(place):
                name = f"{owner}: {label(own, index, which)}"
                state[p] = _loaded(optimizer, saved["state"][place], _names(optimizer, group), p, rule, kept, name)
    return groups, state


def _matched(owner: str, ours: Sequence[Group], theirs: Sequence[Group]) -> list[tuple[Group, Group, list[int]]]:
    """Each of our groups, the saved group of the same parameters, and where each parameter's state lies."""
    if all("param_names" in group for group in (*ours, *theirs)):
        return [_by_name(owner, group, theirs) for group in ours]
    if len(ours) != len(theirs):
        raise UserError(f"{owner}: the checkpoint has {len(theirs)} groups, this optimizer has {len(ours)}")
    for which, (own, saved) in enumerate(zip(ours, theirs, strict=True)):
        have, want = len(saved["params"]), len(own["params"])
        if have != want:
            raise UserError(f"{owner}: group {which} of the checkpoint has {have} parameters, this optimizer's {want}")
    return [(own, saved, list(saved["params"])) for own, saved in zip(ours, theirs, strict=True)]


def _by_name(owner: str, own: Group, theirs: Sequence[Group]) -> tuple[Group, Group, list[int]]:
    wanted = set(own["param_names"])
    for saved in theirs:
        if set(saved["param_names"]) == wanted:
            places = dict(zip(saved["param_names"], saved["params"], strict=True))
            return own, saved, [places[name] for name in own["param_names"]]
    known = {name for saved in theirs for name in saved["param_names"]}
    missing = sorted(wanted - known)
    if missing:
        raise UserError(f"{owner}: the checkpoint has no parameter '{missing[0]}': it is of another model")
    extra = sorted(known - wanted)
    raise UserError(f"{owner}: the checkpoint groups its parameters otherwise, '{extra[0]}' for one: make equal groups")


def _loaded(
    optimizer: RuleOptimizer,
    entry: State,
    named: Mapping[str, str],
    p: Tensor,
    rule: Rule,
    kept: torch.dtype | None,
    name: str,
) -> State:
    found = {k: as_real(v.detach()) if isinstance(v, Tensor) else v for k, v in entry.items() if v is not None}
    if named:
        optimizer.from_torch(found)
    slots, scalars = slots_of(rule), scalars_of(rule)
    known = {"step", *slots, *scalars, *optimizer.torch_names, *optimizer.torch_names.values()}
    alien = sorted(found.keys() - known)
    lacking = sorted(slot for slot in slots if slot not in found and named.get(slot) not in found)
    if alien or (lacking and len(lacking) < len(slots)):
        raise UserError(f"{name} has the state of another rule ({', '.join(sorted(entry))}): this is {name_of(rule)}")
    if lacking:
        return {}
    begun = init_state(rule, p, kept)
    state: State = {"step": int(found.get("step", 1 if slots else 0))}
    for slot in slots:
        value = found.get(slot, found.get(named.get(slot, slot)))
        if not isinstance(value, Tensor) or value.shape != begun[slot].shape:
            home, shape = list(as_real(p).shape), list(getattr(value, "shape", ()))
            wanted = "" if list(begun[slot].shape) == home else f", not {list(begun[slot].shape)}"
            raise UserError(f"{name} has shape {home}, its {slot} in the checkpoint {shape}{wanted}")
        state[slot] = begun[slot].copy_(value)
    for scalar, start in scalars.items():
        state[scalar] = float(found.get(scalar, found.get(named.get(scalar, scalar), start)))
    return state
