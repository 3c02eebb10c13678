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
from ravine.engines.rounding import Rounding
from ravine.engines.together import apply_together, fits
from ravine.errors import UserError
from ravine.optim.made import Form
from ravine.optim.sweep import PLAIN, Sweep, local
from ravine.rules.rule import Rule, chain, name_of
from ravine.types import State

if TYPE_CHECKING:
    from ravine.engines.kernel import KernelStep

Engine: TypeAlias = Literal["auto", "kernel", "compile", "eager"]
ENGINES: tuple[Engine, ...] = ("auto", "kernel", "compile", "eager")
DEVICES = ("cpu", "cuda")
Where: TypeAlias = tuple[Form, str]  # a form of rule, and the kind of device
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
    kept: torch.dtype | None = None  # the type of the slots, where it is not the one that the rule computes in
    number: int = 0  # of the tensor among all of the optimizer's


class Stepper:
    """Takes steps, each with the fastest engine that may and can; all give the same numbers up to rounding."""

    def __init__(self, engine: Engine) -> None:
        self.engine: Engine = engine
        self._kernels: dict[Where, KernelStep | None] = {}  # None: no kernel can be made of this rule there
        self._told: set[str] = set()

    def advance(self, items: Sequence[Item]) -> list[tuple[Sweep, list[int]]]:
        """Change weights and state of every item; "kernel" raises before the first change if one is not for it.

        The sweeps that kernels took, each with the numbers of its items.
        """
        _add_totals(items)
        moment = max((item.t for item in items), default=0)
        launches: dict[Where, list[int]] = {}
        rest: list[Item] = []
        forms: dict[int, Form] = {}
        for number, item in enumerate(items):
            form = forms.setdefault(id(item.rule), ()) or tuple(type(part) for part in chain(item.rule))
            forms[id(item.rule)] = form
            where = form, item.w.device.type
            if self.engine != "eager" and _suits(item) and self._kernel(where, item.rule) is not None:
                launches.setdefault(where, []).append(number)
            else:
                rest.append(item)
        if rest and self.engine == "kernel":
            raise _no_kernel(rest[0])
        if rest and self.engine == "compile" and not self._told:
            what = f"{name_of(rest[0].rule)} on {rest[0].w.dtype} on {rest[0].w.device}, layout {rest[0].g.layout}"
            self._tell(f"engine='compile' cannot step {what}: plain torch steps instead")
        swept: list[tuple[Sweep, list[int]]] = []
        for where, members in launches.items():
            group = [items[i] for i in members]
            kernel = self._kernels[where]
            assert kernel is not None
            try:
                sweep = Sweep(kernel, group)
                sweep.take(group, moment)
                swept.append((sweep, members))
            except (UserError, ImportError) as error:  # raised where the kernel is made, before anything changes
                self._do_without(where, error)
                rest += group
        for alike in _alike(rest):
            _apply(alike, moment)
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

    def _kernel(self, where: Where, rule: Rule) -> KernelStep | None:
        """The kernel of that form of rule on that device; None where there is none."""
        if where not in self._kernels:
            self._kernels[where] = None
            form, device = where
            if all(part.scope != "tensor" for part in form):
                try:
                    from ravine.engines.kernel import serves

                    if serves(rule):
                        self._kernels[where] = kernel_for(self.engine, device)(rule)
                except ImportError as error:
                    self._do_without(where, error)
        return self._kernels[where]

    def _do_without(self, where: Where, error: Exception) -> None:
        """Plain torch takes this rule's steps there from now on; a machine without a compiler is worth one warning."""
        self._kernels[where] = None
        needed = "Numba" if where[1] == "cpu" else "Triton (the extra 'gpu')"
        if self.engine == "kernel" and isinstance(error, ImportError):
            raise UserError(f"engine='kernel' needs {needed}: {error}; install it or use engine='auto'") from error
        if self.engine == "kernel":
            raise error
        if isinstance(error, ImportError):
            self._tell(f"kernels need {needed} ({error}): plain torch steps instead")
        elif self.engine == "compile":
            self._tell(f"{error}; plain torch steps instead")

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def kernel_for(engine: Engine, device: str) -> type[KernelStep]:
    """The class whose objects step tensors on that kind of device."""
    if engine == "compile":
        from ravine.engines.compiled import CompiledStep

        return CompiledStep
    if device == "cuda":
        from ravine.engines.gpu import TritonStep

        return TritonStep
    from ravine.engines.kernel import KernelStep

    return KernelStep


def _apply(alike: Sequence[Item], moment: int) -> None:
    """The step of one item, or of several that step together, by plain torch."""
    first, roundings = alike[0], [Rounding(item.number, moment) for item in alike]
    if len(alike) == 1:
        how: Any = {"track": first.track, "kept": first.kept, "rounding": roundings[0]}
        eager.apply(first.rule, first.w, first.g, first.state, first.t, first.facts, **how)
    else:
        columns = ([x.w for x in alike], [x.g for x in alike], [x.state for x in alike])
        apply_together(first.rule, *columns, first.t, [x.facts for x in alike], first.kept, roundings)
    for item in alike:
        item.state["step"] = item.t


def _add_totals(items: Sequence[Item]) -> None:
    """Put the sums over all tensors that step now, of all groups whose rule needs them, into the facts of each."""
    parts = [[part for part in chain(item.rule) if part.sums] for item in items]
    added: dict[tuple[type[Rule], str], list[float]] = {}
    for item, summed in zip(items, parts, strict=True):
        if summed:
            own = eager.totals(item.rule, item.w, item.g, item.state, item.t, item.facts, item.kept)
            for name, term in own.items():
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
            key = (id(item.rule), item.t, item.w.shape, item.w.dtype, item.w.device, item.kept)
        found.setdefault(key, []).append(item)
    return list(found.values())


def _no_kernel(item: Item) -> UserError:
    w, name = item.w, name_of(item.rule)
    if any(part.scope == "tensor" for part in chain(item.rule)):
        return UserError(f"engine='kernel' cannot step {name}, which sees whole tensors: use engine='auto'")
    return UserError(
        f"engine='kernel' cannot step {name} on {w.dtype} on {w.device}, layout {item.g.layout}: "
        "it serves dense CPU and CUDA tensors of floating point; use engine='auto'"
    )


def _suits(item: Item) -> bool:
    """Whether a kernel can read and write this tensor where it lies."""
    w, g = item.w, item.g
    if item.track or g.layout is not torch.strided or w.device.type not in DEVICES:
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
