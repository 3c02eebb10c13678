"""MNIST, Fashion-MNIST and CIFAR-10: where their files are found, and damaged ones named."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ravine import problems
from ravine.errors import UserError
from ravine.problems import vision
from ravine.problems.idx import read_cifar, read_idx


def idx(array: np.ndarray[Any, Any]) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def small_mnist(folder: Path) -> Path:
    """A tiny data set in MNIST's form: label k has pixels near 20 k."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part, count in (("train", 120), ("t10k", 30)):
        y = np.arange(count) % 10
        x = 20 * y[:, None, None] + random.integers(0, 20, (count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(x))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(y))
    return folder


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_from_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    small_mnist(tmp_path / name)
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path))
    problem = problems.load(name, download=False)
    assert (len(problem.train), len(problem.valid), len(problem.test)) == (100, 20, 30)
    assert torch.equal(problem.test.y, torch.arange(30) % 10)
    means = torch.stack([problem.test.x[problem.test.y == label].mean() for label in range(10)])
    assert (means.diff() > 0).all()
    assert "with its own test part" in problem.understood


def test_from_the_cache_when_the_folder_lacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_mnist(tmp_path / "cache" / "mnist")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path / "cache"))
    assert len(problems.load("mnist", download=False).test) == 30
    with pytest.raises(UserError, match="fashion-mnist is not on this machine: allow the download, or set RAVINE_DATA"):
        problems.load("fashion-mnist", download=False)
    with pytest.raises(UserError, match="cifar10 is not on this machine"):
        problems.load("cifar10", download=False)


def test_downloaded_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(urls: list[str], path: Path, *, sha256: str, size: int) -> Path:
        asked.append((urls, path, sha256, size))
        return path

    asked: list[Any] = []
    monkeypatch.delenv("RAVINE_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path))
    monkeypatch.setattr("ravine.problems.vision.fetch", fetch)
    mirrors = ("http://one/", "http://two/")
    path = vision.locate("mnist", vision.Remote("file", 7, "abc"), mirrors, download=True)
    assert path == tmp_path / "mnist" / "file"
    assert asked == [(["http://one/file", "http://two/file"], path, "abc", 7)]


def test_data_folder_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_DATA", "/nowhere/at/all")
    with pytest.raises(UserError, match="RAVINE_DATA is /nowhere/at/all, which is no folder"):
        problems.load("mnist")


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("damage", ["empty", "cut", "cut inside", "long", "no gzip", "other magic", "flipped"])
def test_damaged_idx_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, damage: str) -> None:
    path = small_mnist(tmp_path / "mnist") / file
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "cut inside": gzip.compress(plain[:-1]),
            "long": gzip.compress(plain + b"1"),
            "no gzip": plain,
            "other magic": gzip.compress(b"\0\0\x0d" + plain[3:]),
            "flipped": whole[:30] + bytes([whole[30] ^ 0xFF]) + whole[31:],
        }[damage]
    )
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path))
    with pytest.raises(UserError) as caught:
        problems.load("mnist", download=False)
    assert str(caught.value).startswith(str(path))
    assert "delete it to download it again" in str(caught.value)


def test_lying_header_reserves_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + b"\xff" * 12 + b"few"))
    with pytest.raises(UserError, match="is damaged"):
        read_idx(path, 3)


def cifar(path: Path, records: int = 10, leave_out: str = "") -> Path:
    """An archive in the form of CIFAR-10: red, green and blue of each image are its label, twice and thrice it."""
    with tarfile.open(path, "w:gz") as archive:
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            if name == leave_out:
                continue
            labels = np.arange(records, dtype=np.uint8)
            planes = np.concatenate([np.repeat(k * labels[:, None], 1024, axis=1) for k in (1, 2, 3)], axis=1)
            content = np.concatenate([labels[:, None], planes], axis=1).astype(np.uint8).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_cifar_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10").mkdir()
    x, y, held_x, held_y = read_cifar(cifar(tmp_path / "cifar10" / "cifar-10-binary.tar.gz"))
    assert (x.shape, held_x.shape) == ((50, 3, 32, 32), (10, 3, 32, 32))
    assert np.array_equal(y, np.tile(np.arange(10), 5))
    assert np.array_equal(held_x[:, 2, 5, 7], 3 * held_y)
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path))
    problem = problems.load("cifar10", download=False)
    assert (problem.shape, problem.classes[3], len(problem.test)) == ((3, 32, 32), "cat", 10)


def test_damaged_cifar_archive(tmp_path: Path) -> None:
    path = cifar(tmp_path / "c.tar.gz", leave_out="data_batch_4")
    with pytest.raises(UserError, match=r"lacks data_batch_4.bin"):
        read_cifar(path)
    whole = cifar(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"c.tar.gz is damaged or truncated"):
        read_cifar(path)


FOLDER = os.environ.get("RAVINE_DATA")


@pytest.mark.skipif(not FOLDER, reason="RAVINE_DATA names no folder with mnist, fashion-mnist and cifar10-subset.npz")
@pytest.mark.parametrize(
    ("name", "shape", "sizes", "said"),
    [
        ("mnist", (1, 28, 28), (50_000, 10_000, 10_000), "70,000 images 28x28"),
        ("fashion-mnist", (1, 28, 28), (50_000, 10_000, 10_000), "70,000 images 28x28"),
        ("cifar10", (3, 32, 32), (8_000, 2_000, 2_000), "12,000 colour images 32x32"),
    ],
)
def test_pictures(name: str, shape: tuple[int, ...], sizes: tuple[int, ...], said: str) -> None:
    problem = problems.load(name, download=False)
    assert (problem.shape, problem.outputs) == (shape, 10)
    assert (len(problem.train), len(problem.valid), len(problem.test)) == sizes
    assert problem.understood[0] == said
    assert torch.allclose(problem.train.x.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-4)
    counts = torch.bincount(problem.valid.y, minlength=10) / len(problem.valid)
    assert (counts - torch.bincount(problem.train.y, minlength=10) / len(problem.train)).abs().max() < 1e-3
