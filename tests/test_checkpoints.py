"""Checkpoints: whole or not there, the newest sound one is used, older ones go by the policy, one writer a folder."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ravine.checkpoints import Checkpoints, claimed, newest
from ravine.checkpoints.sound import numbers
from ravine.checkpoints.tensors import NAMES, in_parts, read_tensors
from ravine.errors import UserError
from ravine.files import digest, write_whole

TENSORS = {
    "w": torch.arange(12.0).reshape(3, 4),
    "half": torch.randn(5, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
    "none": torch.zeros(0, 3),
    "one": torch.tensor(7),
    "mask": torch.tensor([True, False]),
}
FACTS = {"step": 3, "loss": 0.1, "nan": float("nan"), "name": "ä"}


def made(folder: Path, count: int = 3, keep: int = 9) -> Checkpoints:
    kept = Checkpoints(folder, keep)
    for number in range(1, count + 1):
        assert kept.save({**FACTS, "step": number}, {**TENSORS, "at": torch.full((2,), float(number))}) == number
    return kept


def state(folder: Path, number: int) -> Path:
    return folder / "checkpoints" / f"{number:06}" / "state.safetensors"


def manifest(folder: Path, number: int) -> Path:
    return state(folder, number).with_name("manifest.json")


def test_what_was_saved_is_found_to_the_bit_in_memory_of_its_own(tmp_path: Path) -> None:
    made(tmp_path, 1)
    found = newest(tmp_path)
    assert found.number == 1 and found.problems == () and found.facts["step"] == 1 and found.facts["name"] == "ä"
    assert found.tensors.keys() == {*TENSORS, "at"}
    for name, tensor in TENSORS.items():
        read = found.tensors[name]
        assert (
            read.dtype == tensor.dtype
            and torch.equal(read, tensor)
            and torch.equal(read, load_file(state(tmp_path, 1))[name])
        )
    state(tmp_path, 1).write_bytes(b"")  # what was read does not hang on the file
    assert torch.equal(found.tensors["w"], TENSORS["w"])
    assert json.loads(manifest(tmp_path, 1).read_text())["files"].keys() == {"state.safetensors"}


@pytest.mark.parametrize("dtype", list(NAMES), ids=str)
def test_every_type_goes_both_ways_with_the_formats_own_library(tmp_path: Path, dtype: torch.dtype) -> None:
    given = {"a": torch.ones(3, 2).to(dtype), "b": torch.zeros((), dtype=dtype), "c": torch.ones(0).to(dtype)}
    write_whole(tmp_path / "ours", in_parts(given))
    (tmp_path / "theirs").write_bytes(save(given, {"about": "metadata are allowed"}))
    for name, tensor in given.items():
        assert torch.equal(load_file(tmp_path / "ours")[name], tensor)
        for file in ("ours", "theirs"):
            assert torch.equal(read_tensors(tmp_path / file, hashlib.sha256())[name], tensor)


# --- What is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_n_are_kept(tmp_path: Path, keep: int) -> None:
    made(tmp_path, 5, keep)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5][-keep:]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {f"{n:06}" for n in numbers(tmp_path)}


def test_the_best_is_kept_however_old_and_over_processes(tmp_path: Path) -> None:
    for score in (3.0, 1.0, float("nan"), 2.0, None, 5.0, 1.0, 4.0, 4.0, 4.0):
        Checkpoints(tmp_path, keep=2).save({}, {}, score)  # a new object each time, as after a kill
    assert numbers(tmp_path) == [7, 9, 10]  # of equals the newer one


def test_a_torn_one_is_not_counted_and_goes(tmp_path: Path) -> None:
    made(tmp_path, 3)
    state(tmp_path, 3).write_bytes(b"torn")
    assert Checkpoints(tmp_path, 2).save({}, {}) == 4
    assert numbers(tmp_path) == [2, 4]


def test_a_rotten_one_that_was_met_on_reading_is_not_counted_and_goes(tmp_path: Path) -> None:
    made(tmp_path, 3)
    rotten = bytearray(state(tmp_path, 3).read_bytes())
    rotten[-1] ^= 4
    state(tmp_path, 3).write_bytes(rotten)
    kept = Checkpoints(tmp_path, 2)
    assert kept.newest().number == 2
    assert numbers(tmp_path) == [1, 2, 3]  # reading removes nothing
    kept.save({}, {})
    assert numbers(tmp_path) == [2, 4]


def test_files_of_other_names_are_left_alone_and_leftovers_go(tmp_path: Path) -> None:
    made(tmp_path, 1)
    place = tmp_path / "checkpoints"
    for name in ("notes", "000001-copy", ".draft-000002", ".gone-000001"):
        (place / name).mkdir()
        (place / name / "file").write_text("x")
    assert newest(tmp_path).number == 1
    Checkpoints(tmp_path).save({}, {})
    assert {path.name for path in place.iterdir()} == {"000001", "000002", "notes", "000001-copy"}


# --- What is damaged -------------------------------------------------------------------------------------------------


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest with other contents and the hash that belongs to them."""
    facts = json.loads(path.read_text())
    del facts["sha256"]
    change(facts)
    body = json.dumps(facts).encode()
    path.write_bytes(b'{"sha256":"' + digest(body).encode() + b'",' + body[1:])


def entry(facts: dict[str, Any], content: bytes, name: str = "state.safetensors") -> None:
    facts["files"] = {name: {"bytes": len(content), "sha256": digest(content)}}


HUGE = (1 << 62).to_bytes(8, "little")
LONG = (99_999_999).to_bytes(8, "little") + b"{}"
WIDE = b'{"w":{"dtype":"F64","shape":[549755813888],"data_offsets":[0,4398046511104]}}'
NEGATIVE = b'{"w":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}'
OVERLAP = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
DEEP = b"[" * 100_000


def headed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def swap(folder: Path) -> None:
    one, other = state(folder, 2), state(folder, 3)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def spaced(folder: Path) -> None:
    path = manifest(folder, 3)
    path.write_bytes(path.read_bytes().replace(b": 3", b":  3", 1))


def rename(folder: Path) -> None:
    (folder / "checkpoints" / "000003").rename(folder / "checkpoints" / "000004")


def forged(content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        state(folder, 3).write_bytes(content)
        forge(manifest(folder, 3), lambda facts: entry(facts, content))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tensors": (lambda f: state(f, 3).unlink(), "state.safetensors cannot be read: no such file"),
    "no manifest": (lambda f: manifest(f, 3).unlink(), "manifest.json cannot be read: no such file"),
    "empty tensors": (lambda f: state(f, 3).write_bytes(b""), "has 0 bytes, not"),
    "empty manifest": (lambda f: manifest(f, 3).write_bytes(b""), "SHA-256 of manifest.json differs"),
    "a folder for a file": (lambda f: (state(f, 3).unlink(), state(f, 3).mkdir()), "state.safetensors"),
    "longer": (lambda f: state(f, 3).open("ab").write(b"\0"), "bytes, not"),
    "a space": (spaced, "SHA-256 of manifest.json differs"),
    "a line": (lambda f: manifest(f, 3).open("ab").write(b"\n"), "SHA-256 of manifest.json differs"),
    "swapped": (swap, "the SHA-256 of state.safetensors differs"),
    "renamed": (rename, "manifest.json is that of number 3"),
    "another's manifest": (lambda f: manifest(f, 3).write_bytes(manifest(f, 2).read_bytes()), "is that of number 2"),
    "a huge header": (forged(HUGE + b"{}"), "a header of 4611686018427387904 bytes"),
    "a header past the end": (forged(LONG), "it ends too early"),
    "a few bytes": (forged(b"abc"), "it ends too early"),
    "a huge tensor": (forged(headed(WIDE)), "its data have 0 bytes"),
    "a tensor of less than nothing": (forged(headed(NEGATIVE, b"1234")), "is not that of its shape"),
    "tensors over each other": (forged(headed(OVERLAP, b"1234")), "is not that of its shape"),
    "no header": (forged(headed(b"\xff{}")), "its header is not one of tensors"),
    "a deep header": (forged(headed(DEEP)), "its header is not one of tensors"),
    "a list for a header": (forged(headed(b"[1]")), "its header is not one of tensors"),
    "another folder's file": (lambda f: forge(manifest(f, 3), lambda m: entry(m, b"", "../w.safetensors")), "is not"),
    "no files": (lambda f: forge(manifest(f, 3), lambda m: m.pop("files")), "is not one of a checkpoint"),
    "no facts": (lambda f: forge(manifest(f, 3), lambda m: m.pop("facts")), "is not one of a checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_in_a_sentence_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    made(tmp_path, 3)
    change, sentence = DAMAGES[damage]
    change(tmp_path)
    found = newest(tmp_path)
    if damage == "swapped":
        assert found.number == 1 and len(found.problems) == 2
    else:
        assert found.number == 2 and len(found.problems) == 1
    assert sentence in found.problems[0] and "\n" not in found.problems[0]
    assert found.problems[0].endswith(f"checkpoint 00000{found.number} is used instead")
    assert float(found.tensors["at"][0]) == found.facts["step"] == found.number


def test_every_byte_that_is_altered_is_found_out(tmp_path: Path) -> None:
    made(tmp_path, 2)
    for path in (manifest(tmp_path, 2), state(tmp_path, 2)):
        content = path.read_bytes()
        for at in range(0, len(content), 2):
            path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
            assert newest(tmp_path).number == 1, (path.name, at)
        for length in range(0, len(content), 11):
            path.write_bytes(content[:length])
            assert newest(tmp_path).number == 1, (path.name, length)
        path.write_bytes(content)
    assert newest(tmp_path).number == 2


def test_no_sound_one_is_refused_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint is there to resume; start without --resume"):
        newest(tmp_path)
    made(tmp_path, 2)
    for number in (1, 2):
        state(tmp_path, number).write_bytes(b"")
    with pytest.raises(UserError, match=r"000002: .*none of the 2 checkpoints can be used: start again"):
        newest(tmp_path)


@pytest.mark.parametrize(("format", "age"), [(3, "a newer"), (1, "another"), ("x", "another")])
def test_another_versions_checkpoint_is_refused_not_passed_over(tmp_path: Path, format: Any, age: str) -> None:
    made(tmp_path, 2)
    forge(manifest(tmp_path, 2), lambda facts: facts.update(format=format))
    with pytest.raises(
        UserError, match=f"made by {age} ravine .format {format}, this one reads 2.: go on with that one"
    ):
        newest(tmp_path)


def test_a_run_of_the_format_before_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(UserError, match="made by an earlier ravine"):
        newest(tmp_path)


# --- What cannot be written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["write", "fsync", "mkdir", "rename", "open"])
@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EROFS"])
def test_a_disk_that_refuses_at_any_call_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    import errno

    kept = made(tmp_path, 1)
    real: Any = getattr(os, name)
    number = getattr(errno, code)
    refused = left = 0
    for count in range(1, 99):
        left = count

        def refusing(*given: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(number, os.strerror(number))
            return real(*given, **options)

        last = numbers(tmp_path)[-1]
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refusing)
            try:
                kept.save({"step": last + 1}, TENSORS)
            except UserError as error:
                refused += 1
                assert "cannot be written: " in str(error) and "\n" not in str(error)
        assert newest(tmp_path).number in (last, last + 1)
        assert newest(tmp_path).problems == ()
        if left > 0:
            break
    assert refused > 0 and left > 0
    kept.save({}, {})
    assert all(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


# --- One at a time ---------------------------------------------------------------------------------------------------


def forked(work: Callable[[int], object]) -> int:
    """A child process that does the work, tells so, and sleeps; its id, once it has told."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            with claimed(Path(os.environ["FOLDER"])):
                work(writer)
                os.write(writer, b"in")
                os.close(writer)
                time.sleep(60)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read() == b"in"
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_folder_belongs_to_one_process_until_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setenv("FOLDER", str(folder))
    holder = forked(lambda _: None)
    with (
        pytest.raises(UserError, match=rf"process {holder} on .* has worked there since .*; wait until"),
        claimed(folder),
    ):
        pass
    end(holder)
    with claimed(folder), pytest.raises(UserError, match=f"process {os.getpid()} "), claimed(folder):
        pass
    with claimed(folder):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_the_owner_does_not_hold_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    orphan = tmp_path / "orphan"

    def bear(writer: int) -> None:
        child = os.fork()
        if child == 0:
            os.close(writer)
            time.sleep(60)
            os._exit(0)
        orphan.write_text(str(child))

    end(forked(bear))
    try:
        with claimed(tmp_path):
            pass
    finally:
        os.kill(int(orphan.read_text()), signal.SIGKILL)


def test_a_claim_sweeps_what_killed_writers_left(tmp_path: Path) -> None:
    (tmp_path / ".best.safetensors.abcd.part").write_text("half")
    (tmp_path / "notes.part").write_text("mine")
    with claimed(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "notes.part"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), claimed(tmp_path / "file" / "run"):
        pass


def sharded(name: str, tensors: dict[str, Tensor], kept: Checkpoints) -> None:
    draft = kept.begin()
    files = {
        f"rank-{rank}.safetensors": draft.write(f"rank-{rank}.safetensors", {f"{name}/{rank}": tensor})
        for rank, tensor in enumerate(tensors.values())
    }
    kept.commit(draft, {"world": len(tensors)}, files)


def test_a_checkpoint_of_several_files_is_sound_only_with_all_of_them(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for _ in range(2):
        sharded("w", {"a": torch.ones(2), "b": torch.zeros(3)}, kept)
    assert newest(tmp_path).tensors.keys() == {"w/0", "w/1"}
    (tmp_path / "checkpoints" / "000002" / "rank-1.safetensors").unlink()
    assert newest(tmp_path).number == 1
