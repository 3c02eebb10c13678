"""What the printed kernels call: reads and writes by address, and branch-free choices, as Numba intrinsics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

F32, F64, F16 = ir.FloatType(), ir.DoubleType(), ir.HalfType()
I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _place(b: Any, address: Any, index: Any, kind: Any) -> Any:
    return b.gep(b.inttoptr(address, ir.PointerType(kind)), [index], source_etype=kind)


def _loader(result: Any, kind: Any, widen: Callable[[Any, Any], Any]) -> Any:
    def load(typing: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
            return widen(b, b.load(_place(b, args[0], args[1], kind), typ=kind))

        return result(types.int64, types.int64), generate

    return intrinsic(load)


def _storer(given: Any, kind: Any, narrow: Callable[[Any, Any], Any]) -> Any:
    def store(typing: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
            b.store(narrow(b, args[2]), _place(b, args[0], args[1], kind))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, given), generate

    return intrinsic(store)


def _upper(b: Any, value: Any, added: Any) -> Any:
    """The upper half of a float32's bits after adding to the lower; NaN stays NaN, and Inf stays Inf by itself."""
    bits = b.bitcast(value, I32)
    nan = b.fcmp_unordered("uno", value, value)
    return b.trunc(b.lshr(b.select(nan, b.or_(bits, I32(0x00400000)), b.add(bits, added)), I32(16)), I16)


def _to_bfloat16(b: Any, value: Any) -> Any:
    even = b.and_(b.lshr(b.bitcast(value, I32), I32(16)), I32(1))
    return _upper(b, value, b.add(even, I32(0x7FFF)))


def _half(shift: int) -> Any:
    """The lower or the upper 32 bits of an integer, taken outside of the loop that uses them."""

    def half(typing: Any, x: Any) -> Any:
        def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
            return b.trunc(b.lshr(args[0], I64(shift)), I32)

        return types.uint32(types.int64), generate

    return intrinsic(half)


@intrinsic
def chances(typing: Any, first: Any, second: Any, index: Any) -> Any:
    """32 random bits for an entry: a multiplicative hash of its number, keyed before and within."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        x = b.mul(b.add(b.trunc(args[2], I32), args[0]), I32(0x9E3779B1))
        x = b.mul(b.xor(b.xor(x, b.lshr(x, I32(15))), args[1]), I32(0x85EBCA6B))
        return b.xor(x, b.lshr(x, I32(16)))

    return types.uint32(types.uint32, types.uint32, types.int64), generate


def _randomly(shift: int) -> Any:
    """Write a float32 as one of its two bfloat16 neighbours, by 16 chances, so that the mean is right."""

    def store(typing: Any, address: Any, index: Any, value: Any, chance: Any) -> Any:
        def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
            added = b.and_(b.lshr(args[3], I32(shift)), I32(0xFFFF))
            b.store(_upper(b, args[2], added), _place(b, args[0], args[1], I16))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float32, types.uint32), generate

    return intrinsic(store)


@intrinsic
def choose(typing: Any, condition: Any, x: Any, y: Any) -> Any:
    """One of two without a branch, so that the loop stays a vector's."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        return b.select(*args)

    return x(types.boolean, x, y), generate


@intrinsic
def larger(typing: Any, x: Any, y: Any) -> Any:
    """The larger of two; NaN stays NaN."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        first = b.or_(b.fcmp_ordered(">", *args), b.fcmp_unordered("uno", args[0], args[0]))
        return b.select(first, *args)

    return x(x, y), generate


@intrinsic
def sign(typing: Any, x: Any) -> Any:
    """-1, 0 or 1; NaN stays NaN."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        (value,) = args
        zero, one, minus = (ir.Constant(value.type, number) for number in (0.0, 1.0, -1.0))
        below = b.select(b.fcmp_ordered("<", value, zero), minus, value)
        return b.select(b.fcmp_ordered(">", value, zero), one, below)

    return x(x), generate


@intrinsic
def root(typing: Any, x: Any) -> Any:
    """Square root in the argument's own precision."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        function = b.module.declare_intrinsic("llvm.sqrt", [args[0].type])
        return b.call(function, args)

    return x(x), generate


NAMES: Mapping[str, Any] = {
    "load_int64": _loader(types.int64, I64, lambda b, x: x),
    "load_float64": _loader(types.float64, F64, lambda b, x: x),
    "load_float32": _loader(types.float32, F32, lambda b, x: x),
    "load_float16": _loader(types.float32, F16, lambda b, x: b.fpext(x, F32)),
    "load_bfloat16": _loader(types.float32, I16, lambda b, x: b.bitcast(b.shl(b.zext(x, I32), I32(16)), F32)),
    "store_float64": _storer(types.float64, F64, lambda b, x: x),
    "store_float32": _storer(types.float32, F32, lambda b, x: x),
    "store_float16": _storer(types.float32, F16, lambda b, x: b.fptrunc(x, F16)),
    "store_bfloat16": _storer(types.float32, I16, _to_bfloat16),
    "store_bfloat16_by_low": _randomly(0),
    "store_bfloat16_by_high": _randomly(16),
    "chances": chances,
    "low": _half(0),
    "high": _half(32),
    "choose": choose,
    "larger": larger,
    "sign": sign,
    "root": root,
    "float64": types.float64,
    "float32": types.float32,
}
