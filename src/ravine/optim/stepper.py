"""Which engine takes a step: the one place where an engine is chosen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ravine.engines import eager
from ravine.engines.together import apply_together, fits
from ravine.errors import UserError
from ravine.optim.made import Form
from ravine.optim.sweep import PLAIN, Sweep, local
from ravine.rules.rule import Rule, chain, name_of
from ravine.types import State

if TYPE_CHECKING:
    from ravine.engines.kernel import KernelStep

Engine: TypeAlias = Literal["auto", "kernel", "eager"]
ENGINES: tuple[Engine, ...] = ("auto", "kernel", "eager")
READ = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
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

    def advance(self, items: Sequence[Item]) -> list[tuple[Sweep, list[int]]]:
        """Change weights and state of every item; "kernel" raises before the first change if one is not for it.

        The sweeps that kernels took, each with the numbers of its items.
        """
        _add_totals(items)
        launches: dict[Form, list[int]] = {}
        rest: list[Item] = []
        forms: dict[int, Form] = {}
        for number, item in enumerate(items):
            form = forms.setdefault(id(item.rule), ()) or tuple(type(part) for part in chain(item.rule))
            forms[id(item.rule)] = form
            if self.engine != "eager" and _suits(item) and self._kernel(form, item.rule) is not None:
                launches.setdefault(form, []).append(number)
            else:
                rest.append(item)
        if rest and self.engine == "kernel":
            raise _no_kernel(rest[0])
        swept: list[tuple[Sweep, list[int]]] = []
        for form, members in launches.items():
            group = [items[i] for i in members]
            kernel = self._kernels[form]
            assert kernel is not None
            try:
                sweep = Sweep(kernel, group)
                sweep.take(group)
                swept.append((sweep, members))
            except (UserError, ImportError) as error:  # raised where the kernel is made, before anything changes
                self._do_without(form, error)
                rest += group
        for alike in _alike(rest):
            first = alike[0]
            if len(alike) == 1:
                eager.apply(first.rule, first.w, first.g, first.state, first.t, first.facts, track=first.track)
            else:
                columns = ([x.w for x in alike], [x.g for x in alike], [x.state for x in alike])
                apply_together(first.rule, *columns, first.t, [x.facts for x in alike])
            for item in alike:
                item.state["step"] = item.t
        return swept

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


def _add_totals(items: Sequence[Item]) -> None:
    """Put the sums over all tensors that step now, of all groups whose rule needs them, into the facts of each."""
    parts = [[part for part in chain(item.rule) if part.sums] for item in items]
    added: dict[tuple[type[Rule], str], list[float]] = {}
    for item, summed in zip(items, parts, strict=True):
        for name, term in (
            eager.totals(item.rule, item.w, item.g, item.state, item.t, item.facts).items() if summed else ()
        ):
            added.setdefault((type(summed[0]), name), []).append(term)
    for item, summed in zip(items, parts, strict=True):
        for part in summed:
            item.facts = {**item.facts, **{name: math.fsum(added[type(part), name]) for name in part.sums}}


def _alike(items: Sequence[Item]) -> list[list[Item]]:
    """The items that had better step together, and each of the others by itself."""
    found: dict[Any, list[Item]] = {}
    for number, item in enumerate(items):
        real = item.g.layout is torch.strided and not item.w.is_complex()
        plain = type(item.w) in PLAIN and type(item.g) in PLAIN and not item.track
        key: Any = number
        if real and plain and fits(item.rule, item.w):
            key = (id(item.rule), item.t, item.w.shape, item.w.dtype, item.w.device)
        found.setdefault(key, []).append(item)
    return list(found.values())


def _no_kernel(item: Item) -> UserError:
    w, name = item.w, name_of(item.rule)
    if any(part.scope == "tensor" for part in chain(item.rule)):
        return UserError(f"engine='kernel' cannot step {name}, which sees whole tensors: use engine='auto'")
    return UserError(
        f"engine='kernel' cannot step {name} on {w.dtype} on {w.device}, layout {item.g.layout}: "
        "it serves dense CPU tensors of floating point; use engine='auto'"
    )


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
        w, g = local(w), local(g)
        if type(w) not in PLAIN or type(g) not in PLAIN:
            return False
    real = eager.as_real(w)
    return real.dtype in READ and eager.as_real(g).dtype in READ and (real.is_contiguous() or is_gapless(real))


def is_gapless(x: Tensor) -> bool:
    """Whether the entries fill their memory without gaps or overlaps, in whatever order of dimensions."""
    return torch.empty_like(x).stride() == x.stride()
