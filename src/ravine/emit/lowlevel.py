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


def _is_special(b: Any, bits: Any) -> Any:
    """Whether the bits of a float32 are NaN or infinite."""
    exponent = I32(0x7F800000)
    return b.icmp_unsigned("==", b.and_(bits, exponent), exponent)


def _upper(b: Any, bits: Any, added: Any) -> Any:
    """The upper half of a float32's bits after adding to the lower; NaN stays NaN and Inf stays Inf."""
    quiet = b.or_(bits, I32(0x00400000))
    nan = b.icmp_unsigned(">", b.and_(bits, I32(0x7FFFFFFF)), I32(0x7F800000))
    special = b.select(nan, quiet, bits)
    return b.trunc(b.lshr(b.select(_is_special(b, bits), special, b.add(bits, added)), I32(16)), I16)


def _to_bfloat16(b: Any, value: Any) -> Any:
    bits = b.bitcast(value, I32)
    even = b.and_(b.lshr(bits, I32(16)), I32(1))
    return _upper(b, bits, b.add(even, I32(0x7FFF)))


def _hash(b: Any, x: Any) -> Any:
    """The finaliser of MurmurHash3: neighbouring numbers become unrelated ones."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = b.mul(b.xor(x, b.lshr(x, I32(shift))), I32(factor))
    return b.xor(x, b.lshr(x, I32(16)))


@intrinsic
def store_bfloat16_randomly(typing: Any, address: Any, index: Any, value: Any, seed: Any, count: Any) -> Any:
    """Write a float32 as one of its two bfloat16 neighbours, by chance, so that the mean is right."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        mixed = b.xor(_hash(b, b.trunc(args[3], I32)), b.mul(b.trunc(args[4], I32), I32(0x9E3779B1)))
        chance = b.and_(_hash(b, mixed), I32(0xFFFF))
        upper = _upper(b, b.bitcast(args[2], I32), chance)
        b.store(upper, _place(b, args[0], args[1], I16))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, types.int64, types.int64), generate


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
    "store_bfloat16_randomly": store_bfloat16_randomly,
    "choose": choose,
    "larger": larger,
    "sign": sign,
    "root": root,
    "float64": types.float64,
    "float32": types.float32,
}
