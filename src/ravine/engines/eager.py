"""The eager engine: a rule called on plain tensors, out of place, and its result written back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.rules.combine import ClipGlobalNorm, ClipNorm, ClipValue
from ravine.rules.rule import Rule, chain, name_of, needs_of, scalars_of, slots_of, sums_of
from ravine.types import Scalar, State

HALF = (torch.float16, torch.bfloat16)
UNTOUCHED = ("sgd", "adagrad")  # families that leave an entry as it is while its gradient is zero
REMEMBERING = ("momentum", "nesterov")  # families that torch.optim.SGD gives sparse gradients to as well
CLIPS = (ClipValue, ClipNorm, ClipGlobalNorm)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type that a rule computes and keeps its slots in: half precision is widened to float32."""
    return torch.float32 if dtype in HALF else dtype


def as_real(x: Tensor) -> Tensor:
    """A complex tensor as its two real parts, sharing memory; any other as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def init_state(rule: Rule, w: Tensor) -> State:
    """The slots and scalars before the first step; slots of half-precision weights are float32."""
    with torch.no_grad():
        real = as_real(w.detach())
        slots = rule.init(real.to(wide(real.dtype)))
        return {**{name: _laid_out(slot, real) for name, slot in slots.items()}, **scalars_of(rule)}


def apply(rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, facts: State, *, track: bool = False) -> None:
    """One step: changes w, and the slots and scalars in ``state``, in place.

    Shapes: g is like w (like ``view_as_real(w)`` where w is complex), each slot as `Rule.init` makes it. With
    ``track`` autograd records the step, and the slots are replaced instead of overwritten (torch's ``differentiable``).
    """
    with torch.set_grad_enabled(track):
        follow(slots_of(rule), state, as_real(w))
        if g.layout is torch.sparse_coo:
            _apply_sparse(rule, w, g, state, t, facts)
        else:
            _apply_dense(rule, as_real(w), as_real(g), state, t, facts, track)


def facts(rules: Sequence[Rule], gradients: Sequence[Tensor], sizes: Sequence[float] | None = None) -> list[State]:
    """What each rule needs to know of its gradient; the global norm is that of all gradients given.

    ``sizes`` are the gradients' norms where they are known already.
    """
    needs_by_rule = {id(rule): needs_of(rule) for rule in {id(rule): rule for rule in rules}.values()}
    needs = [needs_by_rule[id(rule)] for rule in rules]
    if not any({"norm", "global_norm"} & need for need in needs_by_rule.values()):
        return [{} for _ in rules]
    sizes = norms(gradients) if sizes is None else sizes
    known: list[State] = [{"norm": size, "global_norm": math.hypot(*sizes)} for size in sizes]
    return [{name: fact[name] for name in fact if name in need} for fact, need in zip(known, needs, strict=True)]


def totals(rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State) -> dict[str, float]:
    """What one tensor adds to each sum that the rule needs, in float64; of a sharded one, all of its shards."""
    with torch.no_grad():
        w, g = as_real(w.detach()), as_real(g)
        follow(slots_of(rule), state, w)
        kind = wide(w.dtype)
        terms = rule.terms(g.to(kind), {**state, **known}, w.to(kind), t)
        return {name: _number(terms[name].sum(dtype=torch.float64)) for name in sums_of(rule)}


def norms(gradients: Sequence[Tensor]) -> list[float]:
    """The Euclidean norm of each gradient, summed in at least float32; of sharded ones, that of the whole."""
    return [_number(_norm(g)) for g in gradients]


@contextlib.contextmanager
def looking_ahead(moving: Sequence[tuple[Rule, Tensor, State]]) -> Generator[None]:
    """Within it the weights lie where their rules want the gradient; after it, where they were, to the bit."""
    homes = [w.detach().clone() for _, w, _ in moving]
    try:
        with torch.no_grad():
            for rule, w, state in moving:
                real = as_real(w)
                real.copy_(rule.ahead(state, real.to(wide(real.dtype))))
        yield
    finally:
        with torch.no_grad():
            for (_, w, _), home in zip(moving, homes, strict=True):
                w.copy_(home)


def _norm(g: Tensor) -> Tensor:
    if g.layout is torch.sparse_coo:
        g = g.coalesce().values()
    return torch.linalg.vector_norm(g.detach(), dtype=torch.float32 if g.dtype in HALF else None)


def _number(x: Tensor) -> float:
    whole: Callable[[], Tensor] | None = getattr(x, "full_tensor", None)  # of a DTensor: the sum over all shards
    return (whole() if whole else x).item()


def follow(slots: Sequence[str], state: State, w: Tensor) -> None:
    """Bring the slots to where the weights are now: ``model.to(...)`` moves only the weights."""
    for name in slots:
        state[name] = _laid_out(state[name], w)


def _laid_out(slot: Tensor, w: Tensor) -> Tensor:
    """The slot on the weights' device, in the type that a rule computes in, in the weights' order of memory."""
    kind = wide(w.dtype)
    if slot.shape != w.shape:
        return slot.to(w.device, kind)
    if slot.dtype == kind and slot.device == w.device and slot.stride() == w.stride():
        return slot
    wanted = torch.empty_like(w, dtype=kind)
    alike = slot.dtype == kind and slot.device == w.device and slot.stride() == wanted.stride()
    return slot if alike else wanted.copy_(slot)  # alike: the weights have gaps, which a slot leaves out


def _apply_dense(rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State, track: bool) -> None:
    kind = wide(w.dtype)
    before = w.to(kind)
    u, new = rule.update(g.to(kind), {**state, **known}, before, t)
    for name, value in new.items():  # before w changes: a rule may keep w itself
        if not isinstance(value, Tensor):
            state[name] = value
        elif track:
            state[name] = value.clone()
        elif value is not state[name]:
            state[name].copy_(value)
    if w.dtype == kind:
        w.add_(u)
    else:
        w.copy_(before + u)


def _apply_sparse(rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State) -> None:
    """A step of the rows that the gradient names; rules with memory take the whole gradient, as torch's do."""
    check_sparse(rule)
    *_, equation = chain(rule)
    if equation.family in REMEMBERING:
        _apply_dense(rule, as_real(w), as_real(g.to_dense()), state, t, known, track=False)
        return
    g = g.coalesce()
    rows = tuple(g.indices())
    part: State = {name: value[rows] if isinstance(value, Tensor) else value for name, value in state.items()}
    touched = w[rows]
    _apply_dense(rule, as_real(touched), as_real(g.values()), part, t, known, track=False)
    w[rows] = touched
    for name in slots_of(rule):
        state[name][rows] = part[name]


def check_whole(rule: Rule, w: Tensor) -> None:
    """Raise one sentence if the rule must see a whole tensor of which only a part lies here."""
    if getattr(w, "placements", None) and any(part.scope == "tensor" for part in chain(rule)):
        raise UserError(
            f"{name_of(rule)} sees whole tensors, this one is sharded over machines: use a rule that sees one entry at "
            "a time, such as adamw or prodigy, or parameters that are whole on every machine"
        )


def check_sparse(rule: Rule) -> None:
    """Raise one sentence if the rule takes no sparse gradients."""
    *around, equation = chain(rule)
    if equation.family not in UNTOUCHED + REMEMBERING:
        raise UserError(
            f"{name_of(rule)} got a sparse gradient: only SGD and Adagrad take those; use one of them or sparse=False"
        )
    if any(hasattr(part, "weight_decay") for part in around):
        raise UserError("weight decay got a sparse gradient: it would touch every entry; set weight_decay=0")
    if not all(isinstance(part, CLIPS) for part in around):
        names = ", ".join(type(part).__name__ for part in around if not isinstance(part, CLIPS))
        raise UserError(f"{names} got a sparse gradient: it would touch every entry; leave it out or use sparse=False")
