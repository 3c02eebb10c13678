"""A rule's kernel printed as Numba source: a loop over chunks of memory, and in it the equation for one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from ravine.emit.split import Split
from ravine.errors import UserError

Storage: TypeAlias = Literal["float64", "float32", "bfloat16", "float16"]

COLUMNS = 3  # of a chunk's row in the table, after the addresses: length, coefficient row, number of its first entry
GOLDEN = 0x1E3779B97F4A7C15  # an odd number without pattern: tells the random words of one entry apart
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
CALLS = {"sqrt": "root", "abs": "abs", "sign": "sign", "max": "larger", "neg": "-"}

HEAD = """\
def kernel(table, coefficients, first, last, seed):
    for k in range(first, last):
        row = k * {width}
        n, c = load_int64(table, row + {arrays}), coefficients + load_int64(table, row + {arrays} + 1) * {stride}
        start = load_int64(table, row + {arrays} + 2)
"""


def source(split: Split, stored: Sequence[Storage], name: str = "a rule") -> str:
    """The kernel's text; ``stored`` are the types of w, g and each slot in memory.

    The table has a row of int64 for each chunk: the addresses of w, g and the slots, then `COLUMNS`. Arithmetic is
    float64 where w is, else float32; bfloat16 slots are rounded at random, so that small changes are not lost.
    """
    exact: Storage = "float64" if stored[0] == "float64" else "float32"
    arrays = ["w", "g", *split.slots]
    stride = len(split.coefficients) * (8 if exact == "float64" else 4)
    text = HEAD.format(width=len(arrays) + COLUMNS, arrays=len(arrays), stride=stride)
    lines = [f"        at_{array} = load_int64(table, row + {i})" for i, array in enumerate(arrays)]
    lines += [f"        c{i} = load_{exact}(c, {i})" for i in range(len(split.coefficients))]
    for word in range(draws(dict(zip(arrays, stored, strict=True)))):
        lines.append(f"        key = seed ^ {word_key(word)}")
        lines.append(f"        first{word}, second{word} = low(key + start), high(key)")
    lines += ["        for i in range(n):"]
    lines += [f"            {line}" for line in _entry(split, dict(zip(arrays, stored, strict=True)), exact)]
    return f"# {name}, for {', '.join(stored)}\n" + text + "\n".join(lines) + "\n"


def draws(stored: Mapping[str, Storage]) -> int:
    """How many random words an entry needs: a word has 32 bits, rounding a slot to bfloat16 takes 16 of them."""
    return -(-sum(kind == "bfloat16" for array, kind in stored.items() if array not in ("w", "g")) // 2)


def word_key(word: int) -> int:
    """What sets the random words of one entry apart, in 63 bits."""
    return word * GOLDEN & (1 << 63) - 1


def _entry(split: Split, stored: dict[str, Storage], exact: Storage) -> list[str]:
    names = {index: f"c{i}" for i, index in enumerate(split.coefficients)}
    names |= {index: f"x{index}" for index in split.entries}
    lines: list[str] = []
    for index in split.entries:
        op = split.ops[index]
        if op.args:
            lines.append(f"x{index} = {_operation(split, index, names)}")
        else:
            array = op.name or op.kind
            loaded = f"load_{stored[array]}(at_{array}, i)"
            lines.append(
                f"x{index} = " + (loaded if stored[array] == exact or exact == "float32" else f"{exact}({loaded})")
            )
    drawn = 0
    for array, index in [("w", split.weights), *split.slots.items()]:
        if stored[array] == "bfloat16" and array != "w":
            word, half = divmod(drawn, 2)
            lines += [f"r{word} = chances(first{word}, second{word}, i)"] * (half == 0)
            lines.append(f"store_bfloat16_by_{('low', 'high')[half]}(at_{array}, i, float32({names[index]}), r{word})")
            drawn += 1
        elif (split.ops[index].name or split.ops[index].kind) != array:
            lines.append(f"store_{stored[array]}(at_{array}, i, {names[index]})")
    return lines


def _operation(split: Split, index: int, names: dict[int, str]) -> str:
    op = split.ops[index]
    args = [names[arg] for arg in op.args]
    if op.kind in INFIX:
        return f"{args[0]} {INFIX[op.kind]} {args[1]}"
    if op.kind == "where":
        condition = f"{args[0]} != 0" if split.ops[op.args[0]].host else args[0]
        return f"choose({condition}, {args[1]}, {args[2]})"
    if op.kind == "pow":
        exponent = split.ops[op.args[1]].number
        if exponent not in (2.0, 3.0, 4.0):
            raise UserError("a kernel knows only the powers 2, 3 and 4 of an entry: use engine='eager'")
        return " * ".join(args[:1] * int(exponent))
    return f"{CALLS[op.kind]}({', '.join(args)})"
