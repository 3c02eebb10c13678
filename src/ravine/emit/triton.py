"""A rule's kernel printed as Triton source: one program a chunk of memory, the same equation for a block of entries."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.emit.numba import COLUMNS, Storage, draws, word_key
from ravine.emit.split import Split
from ravine.errors import UserError

INFIX = {"add": "+", "sub": "-", "mul": "*", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
CALLS = {"abs": "tl.abs", "sign": "sign", "max": "larger", "neg": "-"}

# What the kernels call. Quotients and roots of float32 are asked for as IEEE 754 rounds them, since a GPU's own are
# rougher; bfloat16 is rounded by hand, since Triton's interpreter cuts it off.
LIBRARY = """\
@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x)).to(x.dtype)


@triton.jit
def larger(x, y):
    return tl.where((x > y) | (x != x), x, y)


@triton.jit
def chances(first, second, i):
    x = (i.to(tl.uint32) + first) * 0x9E3779B1
    x = (x ^ (x >> 15) ^ second) * 0x85EBCA6B
    return x ^ (x >> 16)


@triton.jit
def upper(x, added):
    bits = x.to(tl.uint32, bitcast=True)
    kept = tl.where(x != x, bits | 0x00400000, bits + added) & 0xFFFF0000
    return kept.to(tl.float32, bitcast=True).to(tl.bfloat16)


@triton.jit
def rounded(x):
    return upper(x, ((x.to(tl.uint32, bitcast=True) >> 16) & 1) + 0x7FFF)


@triton.jit
def rounded_by_low(x, chance):
    return upper(x, chance & 0xFFFF)


@triton.jit
def rounded_by_high(x, chance):
    return upper(x, chance >> 16)
"""

HEAD = """\
@triton.jit(do_not_specialize=["seed"])
def kernel(table, coefficients, seed, BLOCK: tl.constexpr):
    row = table + tl.program_id(0) * {width}
    n, c = tl.load(row + {arrays}), coefficients + tl.load(row + {arrays} + 1) * {columns}
    start = tl.load(row + {arrays} + 2)
"""

SQUARES = """\
@triton.jit
def squares(table, sums, BLOCK: tl.constexpr):
    row = table + tl.program_id(0) * {width}
    n = tl.load(row + {arrays})
    at = tl.load(row + 1).to(tl.pointer_type(tl.{stored}))
    total = tl.zeros([BLOCK], tl.float64)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        x = tl.load(at + i, mask=i < n, other=0.0).to(tl.float64)
        total += x * x
    tl.store(sums + tl.program_id(0), tl.sum(total, axis=0))
"""


def source(split: Split, stored: Sequence[Storage], name: str = "a rule") -> str:
    """The text of a module with two kernels, ``kernel`` and ``squares`` (of each chunk's gradient).

    It needs ``triton`` and ``tl`` in its namespace. ``stored`` are the types of w, g and each slot in memory; the
    table is that of the Numba kernel, in int64 on the device, and the arithmetic has the same types.
    """
    exact: Storage = "float64" if stored[0] == "float64" else "float32"
    arrays = ["w", "g", *split.slots]
    sizes = {"width": len(arrays) + COLUMNS, "arrays": len(arrays), "columns": len(split.coefficients)}
    lines = [
        f"    at_{array} = tl.load(row + {i}).to(tl.pointer_type(tl.{kind}))"
        for i, (array, kind) in enumerate(zip(arrays, stored, strict=True))
    ]
    lines += [f"    c{i} = tl.load(c + {i})" for i in range(len(split.coefficients))]
    for word in range(draws(dict(zip(arrays, stored, strict=True)))):
        lines.append(f"    key = seed.to(tl.int64) ^ {word_key(word)}")
        lines.append(f"    first{word}, second{word} = (key + start).to(tl.uint32), (key >> 32).to(tl.uint32)")
    lines += ["    for first in range(0, n, BLOCK):", "        i = first + tl.arange(0, BLOCK)"]
    lines += [f"        {line}" for line in _block(split, dict(zip(arrays, stored, strict=True)), exact)]
    text = HEAD.format(**sizes) + "\n".join(lines) + "\n"
    squares = SQUARES.format(**sizes, stored=stored[1])
    return f"# {name}, for {', '.join(stored)}\n{LIBRARY}\n\n{text}\n\n{squares}"


def _block(split: Split, stored: dict[str, Storage], exact: Storage) -> list[str]:
    names = {index: f"c{i}" for i, index in enumerate(split.coefficients)}
    names |= {index: f"x{index}" for index in split.entries}
    lines: list[str] = []
    for index in split.entries:
        op = split.ops[index]
        if op.args:
            lines.append(f"x{index} = {_operation(split, index, names, exact)}")
        else:
            array = op.name or op.kind
            lines.append(f"x{index} = tl.load(at_{array} + i, mask=i < n, other=0.0).to(tl.{exact})")
    drawn = 0
    for array, index in [("w", split.weights), *split.slots.items()]:
        by_chance = stored[array] == "bfloat16" and array != "w"
        if by_chance:
            word, half = divmod(drawn, 2)
            lines += [f"r{word} = chances(first{word}, second{word}, i)"] * (half == 0)
            value = f"rounded_by_{('low', 'high')[half]}({names[index]}.to(tl.float32), r{word})"
            drawn += 1
        elif stored[array] == "bfloat16":
            value = f"rounded({names[index]})"
        else:
            value = f"{names[index]}.to(tl.{stored[array]})"
        if by_chance or (split.ops[index].name or split.ops[index].kind) != array:
            lines.append(f"tl.store(at_{array} + i, {value}, mask=i < n)")
    return lines


def _operation(split: Split, index: int, names: dict[int, str], exact: Storage) -> str:
    op = split.ops[index]
    args = [names[arg] for arg in op.args]
    if op.kind in INFIX:
        return f"{args[0]} {INFIX[op.kind]} {args[1]}"
    if op.kind == "div":
        return f"{args[0]} / {args[1]}" if exact == "float64" else f"tl.div_rn({args[0]}, {args[1]})"
    if op.kind == "sqrt":
        return f"{'tl.sqrt' if exact == 'float64' else 'tl.sqrt_rn'}({args[0]})"
    if op.kind == "where":
        condition = f"{args[0]} != 0" if split.ops[op.args[0]].host else args[0]
        return f"tl.where({condition}, {args[1]}, {args[2]})"
    if op.kind == "pow":
        exponent = split.ops[op.args[1]].number
        if exponent not in (2.0, 3.0, 4.0):
            raise UserError("a kernel knows only the powers 2, 3 and 4 of an entry: use engine='eager'")
        return " * ".join(args[:1] * int(exponent))
    return f"{CALLS[op.kind]}({', '.join(args)})"
