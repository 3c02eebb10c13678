"""Runs as bytes, which a row of the store holds: what is a number as JSON, then the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load

from ravine.checkpoints.sound import Found
from ravine.checkpoints.tensors import in_parts
from ravine.training.checkpoint import rows_of, runs_of
from ravine.training.run import Run

WIDTH = 8  # bytes of the number that says how long the JSON is


def packed(facts: Mapping[str, Any], runs: Sequence[Run]) -> bytes:
    """The state of runs, with facts beside it."""
    rows, tensors = rows_of(runs)
    text = json.dumps({**facts, "runs": rows}).encode()
    return b"".join([len(text).to_bytes(WIDTH, "little"), text, *in_parts(tensors)])


def unpacked(content: bytes) -> tuple[dict[str, Any], list[Run]]:
    """The facts and the runs again."""
    end = WIDTH + int.from_bytes(content[:WIDTH], "little")
    facts: dict[str, Any] = json.loads(content[WIDTH:end])
    return facts, runs_of(Found(facts, load(content[end:]), 0, Path("store")))
