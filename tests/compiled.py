"""Compiles printed Triton kernels to machine code of a GPU that need not be there: for tests/test_triton.py.

A program of its own, because Triton must be imported without TRITON_INTERPRET.
"""

from __future__ import annotations

import importlib
from typing import Any

from ravine.emit.split import split
from ravine.emit.trace import trace
from ravine.emit.triton import source
from ravine.engines.gpu import BLOCK, compiled
from ravine.rules.adam import Adam
from ravine.rules.rule import Rule, slots_of
from tests.interpreted import every_rule

HOPPER = ("cuda", 90, 32)  # H100 and H200
TYPES: list[list[Any]] = [
    ["float64"] * 4,
    ["bfloat16", "bfloat16", "float32", "float32"],
    ["float16", "float16", "float32", "float32"],
    ["float32", "bfloat16", "bfloat16", "bfloat16"],
]


def machine_code(rule: Rule, stored: list[Any], function: str) -> bytes:
    """The cubin of one kernel."""
    compiler, backends = (importlib.import_module(f"triton.{name}") for name in ("compiler", "backends.compiler"))
    exact = "*fp64" if stored[0] == "float64" else "*fp32"
    own = {"coefficients": exact, "seed": "i32"} if function == "kernel" else {"sums": "*fp64"}
    module = compiled(source(split(trace(rule)), stored))
    signature = {"table": "*i64", **own, "BLOCK": "constexpr"}
    made = compiler.ASTSource(fn=module[function], signature=signature, constexprs={"BLOCK": BLOCK})
    return compiler.compile(made, target=backends.GPUTarget(*HOPPER)).asm["cubin"]


def main() -> None:
    """Print the size of every kernel; the last line is their number."""
    cases = [(rule, ["float32"] * (2 + len(slots_of(rule))), "kernel") for rule in every_rule()[::12]]
    cases += [(Adam(), stored, function) for stored in TYPES for function in ("kernel", "squares")]
    sizes = [len(machine_code(*case)) for case in cases]
    print(*sizes, sep="\n")
    print(sum(size > 0 for size in sizes), "of", len(cases))


if __name__ == "__main__":
    main()
