"""A rule printed as torch's own operations on lists of flat tensors: what torch.compile makes one program of."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.emit.numba import Storage
from ravine.emit.split import Split

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
CALLS = {"sqrt": "torch.sqrt", "abs": "torch.abs", "sign": "torch.sign", "max": "torch.maximum", "neg": "-"}


def source(split: Split, stored: Sequence[Storage], name: str = "a rule") -> str:
    """The text of ``step(c, w, g, *slots)``, which changes w and the slots in place.

    c [tensors, coefficients] has a row for each tensor; w, g and each slot are lists of tensors [n], n another for each
    place in the lists. ``stored`` are their types. It needs ``torch`` in its namespace. Arithmetic is float64 where w
    is, else float32.
    """
    exact = "float64" if stored[0] == "float64" else "float32"
    arrays = ["w", "g", *split.slots]
    kept = dict(zip(arrays, stored, strict=True))
    lists = ", ".join(f"all_{array}" for array in arrays)
    lines = [f"# {name}, for {', '.join(stored)}", f"def step(c, {lists}):"]
    lines.append(f"    for i, ({', '.join(f'at_{array}' for array in arrays)}) in enumerate(zip({lists})):")
    names = {index: f"c[i, {place}]" for place, index in enumerate(split.coefficients)}
    names |= {index: f"x{index}" for index in split.entries}
    for index in split.entries:
        op = split.ops[index]
        if op.args:
            text = _operation(split, index, names)
        else:
            array = op.name or op.kind
            text = f"at_{array}" if kept[array] == exact else f"at_{array}.to(torch.{exact})"
        lines.append(f"        x{index} = {text}")
    moved = [
        (array, index)
        for array, index in [("w", split.weights), *split.slots.items()]
        if (split.ops[index].name or split.ops[index].kind) != array
    ]
    for _, index in moved:  # kept before it is overwritten; torch.compile would leave out a clone()
        lines += [f"        x{index} = x{index} - 0"] * (index in split.entries and not split.ops[index].args)
    lines += [f"        at_{array}.copy_({names[index]})" for array, index in moved]
    return "\n".join(lines) + "\n"


def _operation(split: Split, index: int, names: dict[int, str]) -> str:
    op = split.ops[index]
    args = [names[arg] for arg in op.args]
    if op.kind in INFIX:
        return f"{args[0]} {INFIX[op.kind]} {args[1]}"
    if op.kind == "where":
        condition = f"{args[0]} != 0" if split.ops[op.args[0]].host else args[0]
        return f"torch.where({condition}, {args[1]}, {args[2]})"
    return f"{CALLS[op.kind]}({', '.join(args)})"
