"""Recording what torch does in one call, below autograd and vmap, as a plain function of the tensors given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
NOTHING = {ATEN.detach.default, ATEN.alias.default}  # where there is no autograd
VIEWS = {ATEN.expand.default, ATEN.view.default, ATEN.permute.default, ATEN._unsafe_view.default}
TELLS = {ATEN._local_scalar_dense.default, ATEN.equal.default}  # give Python a number, which may be another next time


class CannotRecord(Exception):
    """The call asked for the value of a tensor."""


@dataclass
class Call:
    """One operation: what was called, with what, and the tensors that came of it."""

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Tensor]  # every tensor in the result, in order
    is_one: bool  # the result is a tensor, not a tuple of them


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler at the first call, which takes longer than many a race

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in TELLS:
            raise CannotRecord(str(func))
        result = func(*args, **(kwargs or {}))
        results = [x for x in _leaves(result) if isinstance(x, Tensor)]
        self.calls.append(Call(func, args, kwargs or {}, results, isinstance(result, Tensor)))
        return result


@dataclass
class Recording:
    """A function of tensors as straight Python source over torch's operations."""

    source: str
    names: dict[str, Any] = field(repr=False)  # operations and constants
    work: Callable[..., list[Tensor]] = field(repr=False)

    @property
    def constants(self) -> list[Tensor]:
        """Tensors that the call took from elsewhere."""
        return [x for x in self.names.values() if isinstance(x, Tensor)]

    def is_like(self, other: Recording) -> bool:
        """Whether the two do the same."""
        pairs = zip(self.constants, other.constants, strict=False)
        return self.source == other.source and all(a.shape == b.shape and a.equal(b) for a, b in pairs)


def record(work: Callable[..., Sequence[Tensor]], given: Sequence[Tensor]) -> Recording:
    """Call ``work(*given)``, which may change the given tensors, and record every operation on the way.

    Raises:
        CannotRecord: if the call asks for a number out of a tensor.
    """
    recorder = _Recorder()
    with recorder:
        out = work(*given)
    return _printed(recorder.calls, given, out)


def _printed(calls: list[Call], given: Sequence[Tensor], out: Sequence[Tensor]) -> Recording:
    """The calls as source: without what is not needed, each tensor let go after its last use."""
    pure = not any(call.op._schema.is_mutable for call in calls)
    printer = _Printer(given, pure)
    for call in calls:
        printer.take(call)
    outputs = [printer.tensor(x) for x in out]
    return printer.finish(outputs)


class _Printer:
    def __init__(self, given: Sequence[Tensor], pure: bool) -> None:
        self.pure = pure  # nothing is changed in place, so equal calls give equal tensors
        self.inputs = [f"a{i}" for i in range(len(given))]
        self.keep: list[Any] = [given]  # ids stay those of these tensors
        self.known = {id(x): name for x, name in zip(given, self.inputs, strict=True)}
        self.lines: list[tuple[list[str], str, list[str], bool]] = []  # results, text, operands, has an effect
        self.same: dict[str, list[str]] = {}
        self.names: dict[str, Any] = {}
        self.by_id: dict[int, str] = {}
        self.count = itertools.count()

    def take(self, call: Call) -> None:
        self.keep.append(call)
        mutable = call.op._schema.is_mutable
        if call.is_one and not mutable and self._is_nothing(call):
            self.known[id(call.results[0])] = self.tensor(call.args[0])
            return
        operands: list[str] = []
        parts = [self._text(x, operands) for x in call.args]
        parts += [f"{name}={self._text(x, operands)}" for name, x in call.kwargs.items()]
        text = f"{self._named(call.op, 'f')}({', '.join(parts)})"
        random = torch.Tag.nondeterministic_seeded in call.op.tags
        if self.pure and not random and text in self.same:
            self._know(call, self.same[text])
            return
        if all(id(x) in self.known for x in call.results) and mutable and call.results:
            self.lines.append(([], text, operands, True))
            return
        results = [f"t{next(self.count)}" for _ in call.results]
        self._know(call, results)
        shown = results if call.is_one else [f"({', '.join(results)},)"] if results else []
        self.lines.append((results, f"{' '.join(shown)} = {text}" if shown else text, operands, mutable or random))
        self.same[text] = results

    def tensor(self, x: Tensor) -> str:
        """The name of a tensor; of one from elsewhere, a constant's."""
        if id(x) not in self.known:
            self.keep.append(x)
            self.known[id(x)] = self._named(x, "k")
        return self.known[id(x)]

    def finish(self, outputs: list[str]) -> Recording:
        """The function: lines that lead to the outputs or have an effect."""
        needed, kept = set(outputs), list[tuple[list[str], str, list[str]]]()
        for results, text, operands, acts in reversed(self.lines):
            if acts or needed.intersection(results):
                gone = [name for name in dict.fromkeys((*operands, *results)) if name[0] == "t" and name not in needed]
                kept.append((results, text, gone))
                needed.update(operands)
        body = "".join(f"    {text}\n" + (f"    del {', '.join(gone)}\n" if gone else "") for _, text, gone in kept[::-1])
        source = f"def program({', '.join(self.inputs)}):\n{body}    return [{', '.join(outputs)}]\n"
        names = dict(self.names)
        exec(compile(source, "<ravine recording>", "exec"), names)
        return Recording(source, self.names, names["program"])

    def _is_nothing(self, call: Call) -> bool:
        if call.op in NOTHING:
            return True
        before, after = call.args[0] if call.args else None, call.results[0]
        alike = isinstance(before, Tensor) and before.shape == after.shape and before.stride() == after.stride()
        return alike and call.op in VIEWS

    def _know(self, call: Call, results: list[str]) -> None:
        self.known.update({id(x): name for x, name in zip(call.results, results, strict=True)})

    def _named(self, value: Any, kind: str) -> str:
        if id(value) not in self.by_id:
            self.by_id[id(value)] = name = f"{kind}{len(self.by_id)}"
            self.names[name] = value
        return self.by_id[id(value)]

    def _text(self, x: Any, operands: list[str]) -> str:
        if isinstance(x, Tensor):
            operands.append(self.tensor(x))
            return operands[-1]
        if isinstance(x, list | tuple) and type(x) in (list, tuple, torch.Size):
            inside = ", ".join(self._text(one, operands) for one in x)
            return f"[{inside}]"
        if x is None or isinstance(x, bool | int | str):
            return repr(x)
        if isinstance(x, float):
            return repr(x) if x - x == 0 else f"float({str(x)!r})"
        return self._named(x, "c")


def _leaves(x: Any) -> Iterable[Any]:
    if isinstance(x, list | tuple):
        for one in x:
            yield from _leaves(one)
    else:
        yield x
