"""Whether code does the same at every call, as far as its bytecode shows."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

LIBRARIES = ("torch", "ravine", "math", "typing", "einops")  # whose functions of tensors do the same at each call
REMEMBERS = {"STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_SUBSCR", "DELETE_SUBSCR"}
CONSTANT = (int, float, complex, str, bytes, bool, tuple, frozenset, type(None), torch.dtype, torch.device)
CODE = (FunctionType, staticmethod, classmethod, property, partial)
ACTS = {"print", "input", "open", "next", "iter", "id", "exec", "eval", "setattr", "delattr", "globals", "vars"}


def is_repeatable(code: Any) -> bool:
    """Whether a module or a function keeps nothing from one call for the next, and draws and tells nothing.

    Conservative: code that cannot be looked into, or that reaches a library not known here, is not. What a module
    of torch keeps (the statistics of batch normalisation) lies in its buffers, which are no secret.
    """
    if isinstance(code, nn.Module):
        return all(_is_plain(module) for module in code.modules())
    return _is_steady(code)


def _is_plain(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    if any(hooks) or "forward" in vars(module):
        return False
    own = [kind for kind in type(module).__mro__ if kind is not nn.Module and issubclass(kind, nn.Module)]
    methods = (f for kind in own if not _is_known(kind.__module__) for n, f in vars(kind).items() if n != "__init__")
    return all(_is_steady(f.fget if isinstance(f, property) else f) for f in methods if isinstance(f, CODE))


def _is_known(module: str | None) -> bool:
    return (module or "").partition(".")[0] in LIBRARIES


def _is_steady(work: Any) -> bool:
    if isinstance(work, partial):
        return _is_steady(work.func)
    if isinstance(work, MethodType):
        return isinstance(work.__self__, nn.Module) and _is_plain(work.__self__) and _is_steady(work.__func__)
    if isinstance(work, staticmethod | classmethod):
        return _is_steady(work.__func__)
    if isinstance(work, nn.Module):
        return is_repeatable(work)
    if _is_known(getattr(work, "__module__", None)):
        return True
    return isinstance(work, FunctionType) and _reads(work)


def _reads(work: FunctionType) -> bool:
    """Whether the function only reads: no store that outlives it, and no call of what might keep or draw."""
    _reads_now.add(work)
    try:
        seen = list(_instructions(work.__code__))
        if any(step.opname in REMEMBERS or (step.opname == "STORE_DEREF" and _is_outer(work, step)) for step in seen):
            return False
        names = {step.argval for step in seen if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        inside = [cell.cell_contents for cell in work.__closure__ or ()]
        return not names & ACTS and all(map(_is_constant, inside)) and all(_is_steady_name(work, n) for n in names)
    finally:
        _reads_now.discard(work)


_reads_now: set[FunctionType] = set()  # being looked at: a function may call itself


def _is_outer(work: FunctionType, step: dis.Instruction) -> bool:
    return step.argval in work.__code__.co_freevars


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


def _is_steady_name(work: FunctionType, name: str) -> bool:
    if name not in work.__globals__:
        return True  # a builtin, or a name that fails at the call
    return _is_constant(work.__globals__[name])


def _is_constant(found: Any) -> bool:
    """Whether what a function reads from outside will be the same at its next call."""
    if isinstance(found, ModuleType):
        return _is_known(found.__name__)
    if inspect.isfunction(found):
        return found in _reads_now or _is_steady(found)
    if isinstance(found, nn.Module):
        return is_repeatable(found)
    if isinstance(found, type):
        return issubclass(found, nn.Module) or _is_known(found.__module__)
    return isinstance(found, CONSTANT) or (callable(found) and _is_known(getattr(found, "__module__", None)))
