"""F4: a disk that is full, fails, or may not be written, at some call of a run: the run ends right, and says it."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ravine.bench.faults.hooks import Call, hooked
from ravine.bench.faults.kills import LONGEST, server
from ravine.bench.faults.scenes import END, SCENES, session
from ravine.bench.faults.trial import Part, Told, Trial, each
from ravine.checkpoints import newest
from ravine.errors import UserError

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
CALLS = ("open", "write", "fsync", "mkdir", "rename")  # of a checkpoint; what else writes has other names
SCENE_NAMES = ("dropout, batch norm, augmentation", "a method on the whole data", "a race of single runs, dropout")


def refused_session(scene: str, folder: str, seed: int, error: str) -> None:
    """A session whose checkpoints meet a disk that refuses at some call, and for some calls after it."""
    draw = random.Random(f"disk {seed}")
    first, count = draw.randrange(120), (1, 3, 40, 10**9)[seed // 4 % 4]
    with hooked(CALLS, _refusing(f"{os.sep}checkpoints", first, count, getattr(errno, error))):
        session(scene, folder)


def _refusing(below: str, first: int, count: int, number: int) -> Callable[[str, Call], Call]:
    """Let the calls ``first`` to ``first + count`` of the file system fail, of those under that folder's names."""
    seen, handles = 0, set[int]()

    def wrapped(name: str, call: Call) -> Call:
        def refusing(*given: Any, **options: Any) -> Any:
            nonlocal seen
            ours = given[0] in handles if isinstance(given[0], int) else below in os.fspath(given[0])
            if not ours:
                return call(*given, **options)
            seen += 1
            if first < seen <= first + count:
                raise OSError(number, os.strerror(number))
            made = call(*given, **options)
            if name == "open":
                handles.add(made)
            return made

        return refusing

    return wrapped


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a run whose saves are refused for a while or for good; then it is gone on with on a sound disk."""
    context = server()
    whole: dict[str, dict[str, Any]] = {}

    def tried(index: int, folder: Path) -> Told:
        scene, error = SCENE_NAMES[index % len(SCENE_NAMES)], ERRORS[index % len(ERRORS)]
        if scene not in whole:
            whole[scene] = _end(context, session, scene, str(place / f"whole-{index}"))
        return _tried(context, scene, folder, index, error, whole[scene])

    return each(indices, place, tried)


def _end(context: Any, work: Callable[..., None], *given: str | int) -> dict[str, Any]:
    """What a session told at its end, in the folder that it is given second; or how it ended otherwise."""
    process = context.Process(target=work, args=given)
    process.start()
    process.join(LONGEST)
    if process.exitcode != 0:
        return {"code": process.exitcode}
    return json.loads((Path(str(given[1])) / END).read_text())


def _tried(context: Any, scene: str, folder: Path, index: int, error: str, want: dict[str, Any]) -> Told:
    found = _end(context, refused_session, scene, str(folder), index, error)
    troubles = found.get("troubles", [])
    counts = {"sentences": float(len(troubles))}
    if any(found.get(name) != value for name, value in want.items() if name != "troubles"):
        return f"{scene}, {error}: the run did not end as the one on a sound disk ({found})", counts
    if not all("cannot be written: " in told and "\n" not in told for told in troubles):
        return f"{scene}, {error}: {troubles}", counts
    try:
        if (kept := newest(folder)).problems:
            return f"{scene}, {error}: {kept.problems}", counts
    except UserError as nothing:
        if "no checkpoint is there" not in str(nothing) or not troubles:
            return f"{scene}, {error}: {nothing}", counts
    (folder / END).unlink()
    again = _end(context, session, scene, str(folder))
    wrong = [name for name, value in want.items() if again.get(name) != value]
    return (f"{scene}, {error}: resumed, {wrong} differ" if wrong else ""), counts


def tmpfs_trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """The same with a real full disk: a file system in memory, of a size that no checkpoint fits, or one, or two."""
    context = server()

    def tried(index: int, folder: Path) -> Told:
        mount, size = folder / "disk", 16 + 8 * (index % 25)
        mount.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(mount)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            return "", {"not mounted": 1}
        try:
            return _on_full(context, SCENE_NAMES[index % 2], mount / "run", folder / "end")
        finally:
            subprocess.run(["umount", str(mount)], check=True)

    return each(indices, place, tried)


def small_session(scene: str, end: str, folder: str) -> None:
    """A session whose end is told elsewhere, since its own disk may be full."""
    from ravine.bench.faults import scenes

    told = Path(end)
    told.mkdir(exist_ok=True)
    write = scenes.write_whole
    scenes.write_whole = lambda path, content: write(told / path.name, content)
    try:
        session(scene, folder)
    except UserError as error:  # the log of samples has a hole then: the run stops, and can be gone on with
        write(told / END, json.dumps({"troubles": [str(error)]}).encode())


def _on_full(context: Any, scene: str, folder: Path, end: Path) -> Told:
    found = _end(context, small_session, scene, str(end), str(folder))
    if "code" in found:
        return f"{scene} on a full disk ended with code {found['code']}", {}
    counts = {"sentences": float(len(found["troubles"])), "full": float(bool(found["troubles"]))}
    if not all("no space left on the disk" in told for told in found["troubles"]):
        return f"{scene}: {found['troubles']}", counts
    try:
        problems = newest(folder).problems
    except UserError as nothing:
        problems = () if "no checkpoint is there" in str(nothing) else (str(nothing),)
    return "; ".join(problems), counts


assert set(SCENE_NAMES) <= set(SCENES)
PART = Part(
    "disk",
    "F4",
    "calls of a save refused once, for a while or for good: full, quota, failing, read-only",
    "the run ends as on a sound disk, each failure is a sentence, no checkpoint is torn, the run can be gone on with",
    200,
    trials,
)
FULL = Part(
    "full",
    "F4",
    "a run in a small file system that is really full (as root; left out otherwise)",
    "the run ends or stops, says that no space is left, and no checkpoint is torn",
    50,
    tmpfs_trials,
)
