"""What a parameter group says: its parameters checked, and its options made into a rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ravine.errors import UserError, unknown
from ravine.rules.combine import (
    ASAM,
    SAM,
    Averaged,
    Cautious,
    Centralized,
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    CoupledDecay,
    CoupledDecayFull,
    DecoupledDecay,
    GradientNoise,
    IndependentDecay,
    Lookahead,
    Swa,
)
from ravine.rules.rule import Hyper, Rule, catalogue, chain, hypers, values, with_values

Group: TypeAlias = dict[str, Any]

DECAYS: Mapping[str, Callable[[Rule, Any], Rule]] = {
    "coupled": CoupledDecay,
    "coupled-full": CoupledDecayFull,
    "decoupled": DecoupledDecay,
    "independent": IndependentDecay,
}
CLIPS: Mapping[str, Callable[[Rule, Any], Rule]] = {
    "clip_value": ClipValue,
    "clip_norm": ClipNorm,
    "clip_global_norm": ClipGlobalNorm,
}
CLIMBS: Mapping[str, Callable[[Rule, Any], Rule]] = {"sam": SAM, "asam": ASAM}
AVERAGES: Mapping[str, Callable[[Rule, Any], Rule]] = {"ema": Averaged, "swa_start": Swa}
EXTRA = ("gradient_noise", "centralize", "cautious", "lookahead", *CLIMBS, *AVERAGES)
OURS = ("dialect", "decay", *CLIPS, *EXTRA, "state_dtype", "schedules")  # options that torch's groups do not have
PLAIN = (float, int, bool, str, type(None))
ALMOST = 0.85  # so like a known option that it is a slip of the pen; keys that schedulers write are less like


def number(x: Any) -> Any:
    """A hyperparameter as the rule takes it: a tensor's number, unless autograd is to run through it."""
    if not isinstance(x, Tensor) or x.requires_grad:
        return x
    if x.numel() != 1:
        raise UserError(f"a hyperparameter as a tensor must have 1 element, got shape {list(x.shape)}: give a number")
    return x.item()


def resolved(option: Any) -> Any:
    """An option with its tensors read: what it is now, to be compared later."""
    if option.__class__ in PLAIN:
        return option
    return tuple(map(number, option)) if isinstance(option, tuple | list) else number(option)


def opened(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Group:
    """A group as the optimizer will keep it: its own copy, all options there, no tensor shared with another group."""
    params = given.get("params", ())
    group: Group = {"params": params if isinstance(params, Tensor | set) else list(params)}
    for name, option in {**defaults, **given}.items():
        if name != "params":
            loose = isinstance(option, Tensor) and not option.requires_grad
            group[name] = option.clone() if loose else option
    if "betas" in group:
        group["betas"] = tuple(b.clone().squeeze() if isinstance(b, Tensor) else b for b in pair(group["betas"]))
    return group


def tensors(group: Mapping[str, Any]) -> list[tuple[str | None, Tensor]]:
    """The parameters and their names; what is no tensor is left to torch's own error."""
    params = [group["params"]] if isinstance(group["params"], Tensor) else group["params"]
    named = [each if isinstance(each, tuple) else (None, each) for each in params]
    return [(name, p) for name, p in named if isinstance(p, Tensor)]


def label(group: Mapping[str, Any], index: int, which: int) -> str:
    """What an error calls a parameter: its name where it has one."""
    names = group.get("param_names")
    return f"parameter '{names[index]}'" if names else f"parameter {index} of group {which}"


def check_tensors(owner: str, group: Mapping[str, Any], which: int, taken: Iterable[Tensor]) -> None:
    """Raise one sentence on the first parameter that cannot be optimized, or not together with those taken."""
    seen = {id(p) for p in taken}
    for index, (given, p) in enumerate(tensors(group)):
        name = f"{owner}: parameter '{given}'" if given else f"{owner}: parameter {index} of group {which}"
        if not (p.is_floating_point() or p.is_complex()):
            raise UserError(f"{name} is {p.dtype}: give floating-point or complex tensors only")
        if not (p.is_leaf or p.retains_grad or group.get("differentiable")):
            raise UserError(f"{name} is not a leaf: give the tensor that was made with requires_grad, not a result")
        if id(p) in seen:
            raise UserError(f"{name} is given twice, and some parameters appear in more than one place: give each once")
        seen.add(id(p))


def check_options(owner: str, group: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise one sentence on a misspelt option; keys of other libraries ("initial_lr", "name") may stand beside ours."""
    options = {*allowed, *OURS}
    for key in group.keys() - options - {"params", "param_names"}:
        if get_close_matches(key, options, n=1, cutoff=ALMOST):
            raise unknown(f"option of {owner}", key, options)
    kept_type(owner, group)
    schedules = group.get("schedules") or {}
    if not isinstance(schedules, Mapping) or not all(map(callable, schedules.values())):
        raise UserError(f'{owner}(schedules={schedules!r}): give schedules by hyperparameter, {{"lr": Cosine(1000)}}')


def kept_type(owner: str, group: Mapping[str, Any]) -> torch.dtype | None:
    """The type that the group's slots are kept in; None for the one that the rule computes in."""
    kind = group.get("state_dtype")
    if kind is None:
        return None
    if kind is not torch.bfloat16:
        raise UserError(f"{owner}(state_dtype={kind!r}): give torch.bfloat16, or leave it out for full precision")
    if group.get("differentiable"):
        raise UserError(f"{owner}: rounding to state_dtype has no derivative: leave it or differentiable out")
    if any(p.is_complex() for _, p in tensors(group)):
        raise UserError(f"{owner}: torch has no complex bfloat16: give complex parameters a group without state_dtype")
    return kind


def compose(rule: Rule, group: Mapping[str, Any]) -> Rule:
    """The rule inside the combinators that the group asks for; gradients are clipped before all else."""
    rule = _switch(Cautious, group.get("cautious") or False, "cautious", rule)
    decay = number(group.get("weight_decay", 0))
    if decay != 0 and not any(hasattr(part, "weight_decay") for part in chain(rule)):
        rule = _choose("decay", group.get("decay", "coupled"), DECAYS)(rule, decay)
    if group.get("gradient_noise") is not None:
        rule = GradientNoise(rule, number(group["gradient_noise"]))
    rule = _switch(Centralized, group.get("centralize") or False, "centralize", rule)
    clip = _one(group, CLIPS)
    rule = CLIPS[clip](rule, number(group[clip])) if clip else rule
    if group.get("lookahead") is not None:
        rule = Lookahead(rule, number(group["lookahead"]))
    climb = _one(group, CLIMBS)
    rule = CLIMBS[climb](rule, number(group[climb])) if climb else rule
    if any(isinstance(part, Averaged | Swa) for part in chain(rule)):
        return rule
    average = _one(group, AVERAGES)
    return AVERAGES[average](rule, number(group[average])) if average else rule


def _one(group: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """The one of these options that is given, if any."""
    given = [name for name in options if group.get(name) is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} given together: choose one")
    return given[0] if given else None


def _switch(combinator: Callable[[Rule], Rule], given: Any, name: str, rule: Rule) -> Rule:
    """The rule inside the combinator where a yes-or-no option says yes."""
    if not isinstance(given, bool):
        raise UserError(f"{name}={given!r}: give True or False")
    return combinator(rule) if given else rule


def _choose(kind: str, given: str, known: Mapping[str, Callable[[Rule, Any], Rule]]) -> Callable[[Rule, Any], Rule]:
    if given not in known:
        raise unknown(kind, given, known)
    return known[given]


def scheduled(rule: Rule, schedules: Mapping[str, Callable[[float], float]], step: int) -> Rule:
    """The rule with each scheduled hyperparameter times its schedule's factor; the first step has time 0."""
    if not schedules:
        return rule
    now = values(rule)
    for name in schedules:
        if name not in now:
            raise unknown("scheduled hyperparameter", name, now)
    return with_values(rule, {name: now[name] * factor(step - 1) for name, factor in schedules.items()})


@functools.cache
def _declared(kind: type[Rule]) -> tuple[Hyper, ...]:
    return tuple(hypers(kind).values())


def check_values(owner: str, rule: Rule) -> Rule:
    """Raise one sentence on the first value out of its bounds; the rule itself otherwise."""
    for part in chain(rule):
        for declared in _declared(type(part)):
            value = getattr(part, declared.name)
            if isinstance(value, bool) or not isinstance(value, int | float | Tensor):
                raise UserError(f"{owner}({declared.name}={value!r}): give a number in {declared.bounds.text}")
            if isinstance(value, Tensor) and value.numel() != 1:
                raise UserError(f"{owner}({declared.name}=...): Tensor {declared.name} must be 1-element")
            declared.check(float(value), owner)
    return rule


@functools.cache
def dialect_of(family: str, dialect: str) -> type[Rule]:
    """The rule of a family with that dialect; the family's own with none."""
    known = catalogue()
    name = f"{family}/{dialect}" if dialect else family
    if name not in known:
        kin = [each.partition("/")[2] for each in known if each.startswith(f"{family}/")]
        raise unknown(f"dialect of {family}", dialect, kin) if kin else UserError(f"{family} has no dialects")
    return known[name]


def made(kind: type[Rule], options: Mapping[str, Any]) -> Rule:
    """The rule with those of the options that it has; ``betas`` fill beta1 and beta2."""
    given = dict(options)
    if "betas" in given:
        given["beta1"], given["beta2"] = given["betas"]
    return kind(**{name: number(given[name]) for name in hypers(kind) if name in given})


def form(group: Group, family: str, own: str = "", **options: float) -> Rule:
    """The rule of the family: in the dialect that the group names, else in torch's own."""
    return made(dialect_of(family, group.get("dialect") or own), {**group, **options})


def without_dialect(group: Group, *options: str) -> None:
    """Raise one sentence if an option that chooses torch's form stands beside a dialect, which chooses another."""
    for option in options:
        if group.get("dialect") and group[option]:
            raise UserError(
                f"{option}={group[option]!r} and dialect={group['dialect']!r} both choose the equation: give one"
            )


def pair(betas: Any) -> tuple[Any, Any]:
    """The two betas, or one sentence."""
    if not isinstance(betas, Sequence) or isinstance(betas, str) or len(betas) != 2:
        raise UserError(f"betas={betas!r}: give two numbers, (beta1, beta2)")
    return betas[0], betas[1]
