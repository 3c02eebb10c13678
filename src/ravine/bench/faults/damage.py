"""F3: checkpoints cut, flipped, swapped, emptied, forged: all found out, the one before read, nothing mixed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from ravine.bench.faults.scenes import SCENES
from ravine.bench.faults.trial import Part, Trial
from ravine.checkpoints import Checkpoints, Found
from ravine.checkpoints.sound import MANIFEST, numbers, path_of
from ravine.errors import UserError
from ravine.files import digest
from ravine.problems import load
from ravine.recipe import Recipe
from ravine.training import checkpoint
from ravine.training.train import Training

STATE = "state.safetensors"
SCENE = "schedule, plateau, early stopping"
Harm: TypeAlias = Callable[[Path, Path, random.Random], str]  # the newest, the one before, a draw -> what was done


def cut(newest: Path, before: Path, draw: random.Random) -> str:
    """A file ends too early."""
    path = newest / draw.choice((STATE, MANIFEST))
    content = path.read_bytes()
    length = draw.randrange(len(content))
    path.write_bytes(content[:length])
    return f"{path.name} cut to {length} of {len(content)} bytes"


def flip(newest: Path, before: Path, draw: random.Random) -> str:
    """One bit is another."""
    path = newest / draw.choice((STATE, MANIFEST))
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content))
    content[at] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"a bit of byte {at} of {path.name} flipped"


def blank(newest: Path, before: Path, draw: random.Random) -> str:
    """A block of the disk is zeros."""
    path = newest / draw.choice((STATE, MANIFEST))
    content = bytearray(path.read_bytes())
    at = 512 * draw.randrange(len(content) // 512 + 1)
    block = content[at : at + 512]
    content[at : at + 512] = bytes(len(block)) if any(block) else b"\1" * max(1, len(block))
    path.write_bytes(content)
    return f"block at {at} of {path.name} zeroed"


def lengthen(newest: Path, before: Path, draw: random.Random) -> str:
    """A file has more at its end."""
    path = newest / draw.choice((STATE, MANIFEST))
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randrange(1, 100)))
    return f"{path.name} lengthened"


def swap(newest: Path, before: Path, draw: random.Random) -> str:
    """A file is that of the checkpoint before."""
    name = draw.choice((STATE, MANIFEST))
    shutil.copy(before / name, newest / name)
    return f"{name} of the one before"


def lose(newest: Path, before: Path, draw: random.Random) -> str:
    """A file is not there."""
    path = newest / draw.choice((STATE, MANIFEST))
    path.unlink()
    return f"{path.name} lost"


def empty(newest: Path, before: Path, draw: random.Random) -> str:
    """A file is empty, as after a loss of power on some file systems."""
    path = newest / draw.choice((STATE, MANIFEST))
    path.write_bytes(b"")
    return f"{path.name} empty"


def forge(newest: Path, before: Path, draw: random.Random) -> str:
    """Tensors with a hostile header, and a manifest with the hashes that belong to them."""
    kind, content = draw.choice(HEADERS)
    (newest / STATE).write_bytes(content)
    facts = json.loads((newest / MANIFEST).read_text())
    del facts["sha256"]
    facts["files"] = {STATE: {"bytes": len(content), "sha256": digest(content)}}
    body = json.dumps(facts).encode()
    (newest / MANIFEST).write_bytes(b'{"sha256":"' + digest(body).encode() + b'",' + body[1:])
    return f"forged: {kind}"


def _headed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


HEADERS = (
    ("a header of 2^62 bytes", (1 << 62).to_bytes(8, "little") + b"{}"),
    ("a header past the end", (1 << 26).to_bytes(8, "little") + b"{}"),
    ("a tensor of 4 TiB", _headed(b'{"w":{"dtype":"F64","shape":[549755813888],"data_offsets":[0,4398046511104]}}')),
    ("a tensor of less than nothing", _headed(b'{"w":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}', b"1234")),
    ("an unknown type", _headed(b'{"w":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,4]}}', b"1234")),
    ("a header nested 100,000 deep", _headed(b"[" * 100_000)),
    ("no header", _headed(b"\xff\xfe")),
)
HARMS: tuple[Harm, ...] = (cut, cut, cut, flip, flip, flip, blank, lengthen, swap, lose, empty, forge)


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a copy of three real checkpoints, of which one or two are harmed."""
    recipe = SCENES[SCENE]
    assert isinstance(recipe, Recipe)
    origin = place / "origin"
    shutil.rmtree(origin, ignore_errors=True)
    _make(recipe, origin)
    sound = {n: Checkpoints(_only(origin, n, place / "only")).newest() for n in numbers(origin)}
    for index in indices:
        folder = place / f"damaged-{index}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(origin, folder)
        yield Trial(index, _tried(index, folder, sound, recipe), {"checkpoints": 1})
        shutil.rmtree(folder)


def _make(recipe: Recipe, folder: Path) -> None:
    """Three checkpoints of a run, one a tick."""
    running = Training(recipe, load(recipe.problem), folder)
    running.saving.keep = 3
    due, checkpoint.due = checkpoint.due, lambda saved, saving: True
    try:
        for measured, _ in enumerate(running.run()):
            if measured == 6:
                break
    finally:
        checkpoint.due = due


def _only(origin: Path, number: int, folder: Path) -> Path:
    """A folder with only that checkpoint of another."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(path_of(origin, number), path_of(folder, number))
    return folder


def _tried(index: int, folder: Path, sound: dict[int, Found], recipe: Recipe) -> str:
    draw = random.Random(f"damage {index}")
    *_, oldest, before, newest = sorted(sound)
    harmed = [newest] if index % 5 else [newest, before]
    kept = [path_of(folder, number) for number in (newest, before, oldest)]
    what = [HARMS[index % len(HARMS)](kept[k], kept[k + 1], draw) for k in range(len(harmed))]
    if len(harmed) == 2 and what[0].endswith("of the one before"):
        what.append("which is harmed itself")
    want = before if len(harmed) == 1 else oldest
    running = Training(recipe, load(recipe.problem), folder)
    try:
        running.restore(folder)
    except UserError as error:
        return f"{what}: refused ({error})"
    expected = checkpoint.runs_of(sound[want])[0]
    found = running.state
    if len(running.saving.troubles) != len(harmed):
        return f"{what}: {len(running.saving.troubles)} problems told, not {len(harmed)}"
    if found.lane is None or expected.lane is None or found.curve != expected.curve:
        return f"{what}: the state is not that of checkpoint {want}"
    ours, theirs = found.lane, expected.lane
    same = torch.equal(ours.weights, theirs.weights) and ours.slots.keys() == theirs.slots.keys()
    if not same or not all(torch.equal(ours.slots[name], slot) for name, slot in theirs.slots.items()):
        return f"{what}: tensors are not those of checkpoint {want}"
    return ""


PART = Part(
    "damage",
    "F3",
    "checkpoints cut, flipped, zeroed, lengthened, swapped, lost, emptied, or forged with hostile headers",
    "found out, told, and the one before is read to the bit",
    1000,
    trials,
)
