"""Recording what torch does in one call, below autograd and vmap, as a plain function of the tensors given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

ATEN = torch.ops.aten
NOTHING = {ATEN.detach.default, ATEN.alias.default}  # where there is no autograd
VIEWS = {ATEN.expand.default, ATEN.view.default, ATEN.permute.default, ATEN._unsafe_view.default}
TURNED = ATEN.t.default  # twice is nothing
# The same operations as torch binds them by hand, which takes half the time to call; arguments are those of the schema
DIRECT: dict[Any, Any] = {
    ATEN.mm.default: torch.mm,
    ATEN.bmm.default: torch.bmm,
    ATEN.addmm.default: torch.addmm,
    ATEN.baddbmm.default: torch.baddbmm,
    ATEN.t.default: torch.t,
    ATEN.transpose.int: torch.transpose,
    ATEN.unsqueeze.default: torch.unsqueeze,
    ATEN.view.default: Tensor.view,
    ATEN.relu.default: torch.relu,
    ATEN.tanh.default: torch.tanh,
    ATEN.sigmoid.default: torch.sigmoid,
    ATEN.sum.dim_IntList: torch.sum,
    ATEN._log_softmax.default: getattr(torch, "_log_softmax"),  # noqa: B009 (private to type checkers)
}
LOOKS = {  # at a tensor in another way: what they give follows all that happens to it
    ATEN.t.default, ATEN.transpose.int, ATEN.unsqueeze.default, ATEN.view.default, ATEN.permute.default,
    ATEN.expand.default,
}  # fmt: skip
TELLS = {ATEN._local_scalar_dense.default, ATEN.equal.default}  # give Python a number, which may be another next time


class CannotRecord(Exception):
    """The call was made but cannot be repeated: it asked for the value of a tensor."""

    def __init__(self, why: str, results: Sequence[Tensor]) -> None:
        super().__init__(why)
        self.results = results  # of the call


@dataclass
class Recording:
    """A function of tensors as straight Python source over torch's operations, in two parts.

    ``begin`` looks at the tensors that are the same in many calls, as transposes; ``rest`` is given what it returned
    and all tensors.
    """

    source: str
    fixed: int
    begin: Callable[..., list[Tensor]] = field(repr=False)
    rest: Callable[..., list[Tensor]] = field(repr=False)

    def work(self, *given: Tensor) -> list[Tensor]:
        """The whole function."""
        return self.rest(*self.begin(*given[: self.fixed]), *given)


def record(
    work: Callable[..., Sequence[Tensor]], given: Sequence[Tensor], fixed: int = 0
) -> tuple[Recording, Sequence[Tensor]]:
    """Call ``work(*given)`` and record every operation on the way; the recording, and what the call returned.

    No tensor lives longer for being recorded. The first ``fixed`` tensors are the same in many calls.

    Raises:
        CannotRecord: after the call, with its results, if it asked for a number out of a tensor.
    """
    recorder = _Recorder(_Text(given))
    with recorder:
        results = work(*given)
    if recorder.told:
        raise CannotRecord(f"{recorder.told} was called", results)
    return recorder.text.finish(results, fixed), results


class _Recorder(TorchDispatchMode):
    def __init__(self, text: _Text) -> None:
        super().__init__()
        self.text = text
        self.told = ""  # the operation that gave Python a number

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler at the first call, which takes longer than many a race

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in TELLS:
            self.told = str(func)
        result = func(*args, **(kwargs or {}))
        self.text.take(func, args, kwargs or {}, result)
        return result


@dataclass
class _Line:
    results: list[str]
    text: str
    operands: list[str]
    acts: bool  # changes something, or draws: stays even if nobody reads its results
    looks: bool = False  # is a view of its operands


class _Text:
    """The source of a recording as it grows: a name for every tensor, a line for every operation."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        self._inputs = [f"a{i}" for i in range(len(given))]
        self._known = WeakTensorKeyDictionary(dict(zip(given, self._inputs, strict=True)))
        self._turned: dict[str, str] = {}  # the name of a matrix by that of its transpose
        self._row_sums: set[str] = set()  # sums over the first dimension that keep it as one
        self._lines: list[_Line] = []
        self._names: dict[str, Any] = {}  # operations and constants
        self._by_id: dict[int, str] = {}
        self._count = itertools.count()

    def take(self, op: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """One operation that was called."""
        results = list(_tensors(result))
        changes = op._schema.is_mutable
        if isinstance(result, Tensor) and not changes and _is_nothing(op, args, result):
            self._known[result] = self._tensor(args[0])
            return
        if op is TURNED and (before := self._turned.get(self._tensor(args[0]))):
            self._known[result] = before
            return
        if op is ATEN.view.default and self._is_sum_of_rows(args[0], result):
            (summed,), name = self._lines[-1].operands, f"t{next(self._count)}"
            self._known[result] = name
            text = f"{name} = {self._named(ATEN.sum.dim_IntList, 'f')}({summed}, [0])"
            self._lines.append(_Line([name], text, [summed], acts=False))
            return
        if op is ATEN.ones_like.default and result.numel() == 1:  # what a loss's gradient begins with: a constant
            self._known[result] = self._named(result, "k")
            return
        operands: list[str] = []
        parts = [self._value(x, operands) for x in args]
        parts += [f"{name}={self._value(x, operands)}" for name, x in kwargs.items()]
        text = f"{self._named(op, 'f')}({', '.join(parts)})"
        acts = changes or torch.Tag.nondeterministic_seeded in op.tags
        if changes and all(x in self._known for x in results):
            self._lines.append(_Line([], text, operands, acts))
            return
        names = [f"t{next(self._count)}" for _ in results]
        for x, name in zip(results, names, strict=True):
            self._known[x] = name
        if op is TURNED:
            self._turned[names[0]] = self._tensor(args[0])
        if op is ATEN.sum.dim_IntList and len(args) == 3 and (list(args[1]), args[2]) == ([0], True):
            self._row_sums.add(names[0])
        if names:
            text = f"{_pattern(result, iter(names))} = {text}"
        self._lines.append(_Line(names, text, operands, acts, looks=op in LOOKS))

    def finish(self, outputs: Sequence[Tensor], fixed: int) -> Recording:
        """The function: the lines that lead to the outputs or act, each tensor let go after its last use."""
        wanted = [self._tensor(x) for x in outputs]
        needed, lines = set(wanted), list[tuple[_Line, list[str]]]()
        for line in reversed(self._lines):
            if line.acts or needed.intersection(line.results):
                names = dict.fromkeys((*line.operands, *line.results))
                lines.append((line, [name for name in names if name[0] == "t" and name not in needed]))
                needed.update(line.operands)
        same, begun = set(self._inputs[:fixed]), list[str]()
        first, rest = list[str](), list[str]()
        for line, gone in reversed(lines):
            if line.looks and same.issuperset(line.operands):
                same.update(line.results)
                begun += line.results
                first.append(f"    {line.text}\n")
            else:
                gone = [name for name in gone if name not in same]
                rest += [f"    {line.text}\n", *([f"    del {', '.join(gone)}\n"] if gone else [])]
        source = (
            f"def begin({', '.join(self._inputs[:fixed])}):\n{''.join(first)}    return [{', '.join(begun)}]\n"
            f"def rest({', '.join((*begun, *self._inputs))}):\n{''.join(rest)}    return [{', '.join(wanted)}]\n"
        )
        exec(compile(source, "<ravine recording>", "exec"), self._names)
        return Recording(source, fixed, self._names["begin"], self._names["rest"])

    def _is_sum_of_rows(self, x: Tensor, after: Tensor) -> bool:
        """Whether x was the last thing made, a sum that kept the dimension which this view leaves out."""
        name = self._tensor(x)
        return name in self._row_sums and self._lines[-1].results == [name] and x.shape[1:] == after.shape

    def _tensor(self, x: Tensor) -> str:
        """The name of a tensor; of one from elsewhere, a constant's."""
        if x not in self._known:
            self._known[x] = self._named(x, "k")
        return self._known[x]

    def _named(self, value: Any, kind: str) -> str:
        if id(value) not in self._by_id:
            self._by_id[id(value)] = name = f"{kind}{len(self._by_id)}"
            # the operation itself, without the frame of Python around it
            plain: Any = DIRECT.get(value, getattr(value, "_op", value)) if isinstance(value, OpOverload) else value
            self._names[name] = plain
        return self._by_id[id(value)]

    def _value(self, x: Any, operands: list[str]) -> str:
        if isinstance(x, Tensor):
            operands.append(self._tensor(x))
            return operands[-1]
        if type(x) in (list, tuple, torch.Size):
            return f"[{', '.join(self._value(one, operands) for one in x)}]"
        if x is None or isinstance(x, bool | int | str) or (isinstance(x, float) and math.isfinite(x)):
            return repr(x)
        return self._named(x, "c")


def _is_nothing(op: Any, args: Sequence[Any], after: Tensor) -> bool:
    """Whether the operation gives what it was given."""
    if op in NOTHING:
        return True
    before = args[0] if args else None
    alike = isinstance(before, Tensor) and before.shape == after.shape and before.stride() == after.stride()
    return alike and op in VIEWS


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, list | tuple):
        for one in x:
            yield from _tensors(one)


def _pattern(x: Any, names: Iterator[str]) -> str:
    """What a result is taken apart into; what is no tensor (a gradient nobody asked for) has no name."""
    if isinstance(x, Tensor):
        return next(names)
    if isinstance(x, list | tuple):
        return f"({''.join(_pattern(one, names) + ', ' for one in x)})"
    return "_"
