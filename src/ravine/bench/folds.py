"""Folds as lanes against folds one after another: whole evaluations in turns, by the process's time and by the clock.

Run it with ``python -m ravine.bench.folds [--rounds 5] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ravine.bench import common
from ravine.evaluation import evaluate
from ravine.files import write_whole
from ravine.recipe import Recipe

CASES: dict[str, tuple[dict[str, Any], int, int]] = {  # recipe, folds, repeats
    "digits, mlp:128,128, 5 folds": ({"problem": "digits", "epochs": 30}, 5, 1),
    "digits, mlp:128,128, 5 folds, 4 times over": ({"problem": "digits", "epochs": 30}, 5, 4),
    "wine, mlp:32, 10 folds": ({"problem": "wine", "model": "mlp:32", "epochs": 30, "batch": 16}, 10, 1),
    "digits, cnn:8,16, 5 folds": ({"problem": "digits", "model": "cnn:8,16", "epochs": 3}, 5, 1),
}


def measure(recipe: Recipe, folds: int, repeats: int, rounds: int) -> dict[str, Any]:
    """The ratios one after another / lanes and one after another / measured, by both clocks, with what was measured."""
    many = folds * repeats
    ways: dict[str, dict[str, Any]] = {
        "one after another": {"lanes": 1, "workers": 1},
        "lanes": {"lanes": many, "workers": 1},
        "chosen": {},
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time(), time.perf_counter()
            evaluate(recipe, folds, repeats=repeats, **way)
            spent[name].append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
    base = spent["one after another"]
    found: dict[str, Any] = {"seconds, one after another": statistics.median(wall for _, wall in base)}
    for name in ("lanes", "chosen"):
        for place, clock in enumerate(("process", "wall")):
            pairs = [(one[place], other[place]) for one, other in zip(base, spent[name], strict=True)]
            found[f"{name}, {clock}"] = str(common.ratio([a for a, _ in pairs], [b for _, b in pairs]))
    return found


def main() -> None:
    """Measure every case and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    known = {"threads": torch.get_num_threads(), **common.machine()}
    rows = {
        name: measure(Recipe.model_validate(changes), folds, repeats, given.rounds)
        for name, (changes, folds, repeats) in CASES.items()
    }
    print(json.dumps({"machine": known, "rows": rows}, indent=1))
    if given.json is not None:
        write_whole(given.json, json.dumps({"machine": known, "rows": rows}, indent=1).encode())


if __name__ == "__main__":
    main()
