"""The eager engine: a rule called on plain tensors, out of place, and its result written back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from ravine.engines.rounding import Rounding, Writer, shrinkable
from ravine.errors import UserError
from ravine.rules.combine import ClipGlobalNorm, ClipNorm, ClipValue
from ravine.rules.rule import Rule, chain, name_of, needs_of, scalars_of, slots_of, sums_of
from ravine.rules.sharpness import ascent_of
from ravine.types import Scalar, State

HALF = (torch.float16, torch.bfloat16)
UNTOUCHED = ("sgd", "adagrad")  # families that leave an entry as it is while its gradient is zero
REMEMBERING = ("momentum", "nesterov")  # families that torch.optim.SGD gives sparse gradients to as well
CPU = torch.device("cpu")
CLIPS = (ClipValue, ClipNorm, ClipGlobalNorm)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type that a rule computes and keeps its slots in: half precision is widened to float32."""
    return torch.float32 if dtype in HALF else dtype


def as_real(x: Tensor) -> Tensor:
    """A complex tensor as its two real parts, sharing memory; any other as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def kinds(rule: Rule, w: Tensor, kept: torch.dtype | None) -> dict[str, torch.dtype]:
    """The type of each slot: as wide as the rule computes, or ``kept`` where that is asked for and may be."""
    small = shrinkable(rule) if kept else ()
    return {slot: kept if kept and slot in small else wide(w.dtype) for slot in slots_of(rule)}


def init_state(rule: Rule, w: Tensor, kept: torch.dtype | None = None) -> State:
    """The slots and scalars before the first step; slots of half-precision weights are float32.

    With ``kept`` slots are of that type, bfloat16, whatever the weights are.
    """
    with torch.no_grad():
        real = as_real(w.detach())
        slots, types = rule.init(real.to(wide(real.dtype))), kinds(rule, real, kept)
        return {**{name: _laid_out(slot, real, types[name]) for name, slot in slots.items()}, **scalars_of(rule)}


def apply(
    rule: Rule,
    w: Tensor,
    g: Tensor,
    state: State,
    t: Scalar,
    facts: State,
    *,
    track: bool = False,
    kept: torch.dtype | None = None,
    rounding: Rounding | None = None,
) -> None:
    """One step: changes w, and the slots and scalars in ``state``, in place.

    Shapes: g is like w (like ``view_as_real(w)`` where w is complex), each slot as `Rule.init` makes it. With
    ``track`` autograd records the step, and the slots are replaced instead of overwritten (torch's
    ``differentiable``). Slots are of the type ``kept``, as in `init_state`; ``rounding`` keys their rounding.
    """
    with torch.set_grad_enabled(track):
        follow(rule, state, as_real(w), kept)
        if g.layout is torch.sparse_coo:
            _apply_sparse(rule, w, g, state, t, facts, Writer(rounding))
        else:
            _apply_dense(rule, as_real(w), as_real(g), state, t, facts, None if track else Writer(rounding))


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


def totals(
    rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State, kept: torch.dtype | None = None
) -> dict[str, float]:
    """What one tensor adds to each sum that the rule needs, in float64; of a sharded one, all of its shards."""
    with torch.no_grad():
        w, g = as_real(w.detach()), as_real(g)
        follow(rule, state, w, kept)
        kind = wide(w.dtype)
        terms = rule.terms(g.to(kind), {**_exact(state, kind), **known}, w.to(kind), t)
        return {name: _number(terms[name].sum(dtype=torch.float64)) for name in sums_of(rule)}


def norms(gradients: Sequence[Tensor]) -> list[float]:
    """The Euclidean norm of each gradient, summed in at least float32; of sharded ones, that of the whole."""
    devices = {g.device for g in gradients}
    if len(devices) == 1 and not devices & {CPU} and all(type(g) is Tensor for g in gradients):
        return torch.stack([_norm(g).double() for g in gradients]).tolist()  # one wait for the device, not one each
    return [_number(_norm(g)) for g in gradients]


def climbing(moving: Sequence[tuple[Rule, Tensor, State]], gradients: Sequence[Tensor | None]) -> None:
    """Tell the rules that take two gradients a step the first one, and the norm that they measure it by over all.

    ``gradients`` are those of descent; the states are changed, and a parameter without a gradient does not climb.
    """
    climbed: list[Tensor] = []
    for (rule, w, state), g in zip(moving, gradients, strict=True):
        part, real = ascent_of(rule), as_real(w.detach())
        if part is not None:
            kind = wide(real.dtype)
            dense = g.to_dense() if g is not None and g.layout is not torch.strided else g
            first = torch.zeros_like(real, dtype=kind) if dense is None else as_real(dense.detach()).to(kind).clone()
            state["first_gradient"] = first
            climbed.append(part.climbed(first, real.to(kind)))
    total = math.hypot(*norms(climbed))
    for rule, _, state in moving:
        if ascent_of(rule) is not None:
            state["first_norm"] = total


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


def follow(rule: Rule, state: State, w: Tensor, kept: torch.dtype | None = None) -> None:
    """Bring the slots to where the weights are now: ``model.to(...)`` moves only the weights."""
    for name, kind in kinds(rule, w, kept).items():
        state[name] = _laid_out(state[name], w, kind)


def _laid_out(slot: Tensor, w: Tensor, kind: torch.dtype) -> Tensor:
    """The slot on the weights' device, in that type, in the weights' order of memory where it has their shape."""
    if slot.shape != w.shape:
        return slot.to(w.device, kind)
    if slot.dtype == kind and slot.device == w.device and slot.stride() == w.stride():
        return slot
    wanted = torch.empty_like(w, dtype=kind)
    alike = slot.dtype == kind and slot.device == w.device and slot.stride() == wanted.stride()
    return slot if alike else wanted.copy_(slot)  # alike: the weights have gaps, which a slot leaves out


def _apply_dense(
    rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State, writer: Writer | None
) -> None:
    """Without a writer the slots are replaced."""
    kind = wide(w.dtype)
    before = w.to(kind)
    exact = _exact(state, kind)
    u, new = rule.update(g.to(kind), {**exact, **known}, before, t)
    for name in [*slots_of(rule), *scalars_of(rule)]:  # before w changes: a rule may keep w itself
        value = new[name]
        if not isinstance(value, Tensor):
            state[name] = value
        elif writer is None:
            state[name] = value.clone()
        elif value is not state[name]:
            writer.write(state[name], value)
    if w.dtype == kind:
        w.add_(u)
    else:
        w.copy_(before + u)


def _exact(state: State, kind: torch.dtype) -> State:
    """The state as a rule computes with it."""
    return {name: value.to(kind) if isinstance(value, Tensor) else value for name, value in state.items()}


def _apply_sparse(rule: Rule, w: Tensor, g: Tensor, state: State, t: Scalar, known: State, writer: Writer) -> None:
    """A step of the rows that the gradient names; rules with memory take the whole gradient, as torch's do."""
    check_sparse(rule)
    *_, equation = chain(rule)
    if equation.family in REMEMBERING:
        _apply_dense(rule, as_real(w), as_real(g.to_dense()), state, t, known, writer)
        return
    g = g.coalesce()
    rows = tuple(g.indices())
    part: State = {name: value[rows] if isinstance(value, Tensor) else value for name, value in state.items()}
    touched = w[rows]
    _apply_dense(rule, as_real(touched), as_real(g.values()), part, t, known, writer)
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
