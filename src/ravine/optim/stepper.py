"""Which engine takes a step: the one place where an engine is chosen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from ravine.engines import eager
from ravine.errors import UserError
from ravine.rules.rule import Rule, chain, name_of, scalars_of, slots_of, values
from ravine.types import State

if TYPE_CHECKING:
    from ravine.engines.kernel import KernelStep

Engine: TypeAlias = Literal["auto", "kernel", "eager"]
ENGINES: tuple[Engine, ...] = ("auto", "kernel", "eager")
Form: TypeAlias = tuple[type[Rule], ...]  # a rule without its values: what a kernel is made from
READ = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
PLAIN = (Tensor, nn.Parameter)
MANY = 1 << 16  # entries; below, torch starts sooner than a table is written


@dataclass(slots=True)
class Item:
    """One tensor's step: its weights, gradient (of descent), slots and scalars, rule, time and facts."""

    w: Tensor
    g: Tensor
    state: State
    rule: Rule
    t: int
    facts: State
    track: bool = False  # autograd records the step


class Stepper:
    """Takes steps, each with the fastest engine that may and can; all give the same numbers up to rounding."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._kernels: dict[Form, KernelStep | None] = {}  # None: no kernel can be made of this rule here

    def advance(self, items: Sequence[Item]) -> None:
        """Change weights and state of every item; "kernel" raises before the first change if one is not for it."""
        launches: dict[Form, list[Item]] = {}
        rest: list[Item] = []
        forms: dict[int, Form] = {}
        for item in items:
            form = forms.setdefault(id(item.rule), ()) or tuple(type(part) for part in chain(item.rule))
            forms[id(item.rule)] = form
            if self.engine != "eager" and _suits(item) and self._kernel(form, item.rule) is not None:
                launches.setdefault(form, []).append(item)
            else:
                rest.append(item)
        if rest and self.engine == "kernel":
            w = rest[0].w
            raise UserError(
                f"engine='kernel' cannot step {name_of(rest[0].rule)} on {w.dtype} on {w.device}, layout "
                f"{rest[0].g.layout}: it serves dense CPU tensors of floating point; use engine='auto'"
            )
        for form, group in launches.items():
            try:
                self._launch(form, group)
            except (UserError, ImportError) as error:  # raised where the kernel is made, before anything changes
                self._do_without(form, error)
                rest += group
        for item in rest:
            eager.apply(item.rule, item.w, item.g, item.state, item.t, item.facts, track=item.track)

    def norms(self, gradients: Sequence[Tensor]) -> list[float]:
        """`eager.norms`; of many numbers by the kernels' own threads, which wait for nobody as torch's may."""
        plain = all(type(g) in PLAIN and g.layout is torch.strided and g.device.type == "cpu" for g in gradients)
        if self.engine == "eager" or not plain or sum(g.numel() for g in gradients) < MANY:
            return eager.norms(gradients)
        if not all(g.dtype in READ and g.dtype == gradients[0].dtype and is_gapless(g) for g in gradients):
            return eager.norms(gradients)
        try:
            from ravine.engines.norm import squares
            from ravine.engines.table import Table

            both = [gradients, gradients]  # a table's roles begin with weights and gradients
            return [math.sqrt(x) for x in squares(Table(both, np.zeros(len(gradients), dtype=np.int64)))]
        except ImportError:
            return eager.norms(gradients)

    def _kernel(self, form: Form, rule: Rule) -> KernelStep | None:
        """The kernel of that form of rule; None where there is none."""
        if form not in self._kernels:
            self._kernels[form] = None
            if all(part.scope != "tensor" for part in form):
                try:
                    from ravine.engines.kernel import KernelStep, serves

                    self._kernels[form] = KernelStep(rule) if serves(rule) else None
                except ImportError as error:
                    self._do_without(form, error)
        return self._kernels[form]

    def _do_without(self, form: Form, error: Exception) -> None:
        """Plain torch takes this rule's steps from now on; a machine without a compiler is worth one warning."""
        self._kernels[form] = None
        if self.engine == "kernel":
            raise error
        if isinstance(error, ImportError):
            warnings.warn(f"kernels need Numba ({error}): plain torch steps instead", RuntimeWarning, stacklevel=2)

    def _launch(self, form: Form, items: Sequence[Item]) -> None:
        kernel = self._kernels[form]
        assert kernel is not None
        rule = items[0].rule
        slots, scalars = slots_of(rule), tuple(scalars_of(rule))
        homes: list[Tensor] = []
        for item in items:
            homes.append(eager.as_real(_local(item.w)))
            eager.follow(slots, item.state, eager.as_real(item.w))
        rows: dict[tuple[Any, ...], int] = {}
        sources: list[Item] = []
        places: list[int] = []
        for item in items:
            key = (id(item.rule), item.t, *(item.state[name] for name in scalars))
            if key not in rows:
                rows[key] = len(sources)
                sources.append(item)
            places.append(rows[key])
        given = _columns([{**values(it.rule), "t": it.t, **{s: it.state[s] for s in scalars}} for it in sources])
        given |= {name: [it.facts[name] for it in items] for name in items[0].facts if name == "norm"}
        given |= {name: items[0].facts[name] for name in items[0].facts if name == "global_norm"}
        new = kernel.step(
            homes,
            [eager.as_real(_local(item.g)) for item in items],
            {name: [_local(item.state[name]) for item in items] for name in slots},
            given,
            rows=places if len(sources) > 1 else None,
        )
        for name in scalars:
            column = np.ravel(cast(dict[str, Any], new)[name])
            for item, place in zip(items, places, strict=True):
                item.state[name] = float(column[place if column.size > 1 else 0])


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Numbers by name, of one row; arrays by name, of several."""
    return rows[0] if len(rows) == 1 else {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _local(x: Tensor) -> Tensor:
    """The part of a sharded tensor that lies here; any other tensor itself."""
    return x if type(x) in PLAIN else getattr(x, "to_local", lambda: x)()


def _suits(item: Item) -> bool:
    """Whether a kernel can read and write this tensor where it lies."""
    w, g = item.w, item.g
    if item.track or g.layout is not torch.strided or w.device.type != "cpu":
        return False
    if type(w) not in PLAIN or type(g) not in PLAIN:
        placed = getattr(w, "placements", None)
        if placed is None or getattr(g, "placements", None) != placed or any(p.is_partial() for p in placed):
            return False
        if any(part.scope == "row" for part in chain(item.rule)):
            return False  # a row may lie on several machines
        w, g = _local(w), _local(g)
        if type(w) not in PLAIN or type(g) not in PLAIN:
            return False
    real = eager.as_real(w)
    return real.dtype in READ and eager.as_real(g).dtype in READ and (real.is_contiguous() or is_gapless(real))


def is_gapless(x: Tensor) -> bool:
    """Whether the entries fill their memory without gaps or overlaps, in whatever order of dimensions."""
    return torch.empty_like(x).stride() == x.stride()
