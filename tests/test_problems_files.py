"""NPZ files and folders of images: read, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ravine import problems
from ravine.errors import UserError


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


X = np.random.default_rng(1).normal(size=(40, 3))
Y = np.arange(40) % 2


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("data", "target"), ("images", "labels"), ("x_train", "y_train")]
)
def test_npz(tmp_path: Path, names: tuple[str, str]) -> None:
    problem = problems.load(npz(tmp_path / "mine.npz", **{names[0]: X, names[1]: Y}))
    assert (problem.name, problem.shape, problem.classes) == ("mine", (3,), ("0", "1"))


def test_npz_with_a_test_part(tmp_path: Path) -> None:
    problem = problems.load(npz(tmp_path / "t.npz", x_train=X, y_train=Y, x_test=X[:12] + 9, y_test=Y[:12]))
    assert (len(problem.train), len(problem.valid), len(problem.test)) == (32, 8, 12)
    assert float(problem.test.x.mean()) > 5


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": X, "b": Y}, "holds a, b: name the arrays x and y"),
        ({}, "holds nothing: name the arrays x and y"),
        ({"x": X, "y": Y[:5]}, "x has 40 samples and y has 5"),
        ({"x": X, "y": np.array([{}] * 40)}, "pickled objects, which could run code"),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, "NaN or infinite"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.load(npz(tmp_path / "t.npz", **arrays))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 10, 100, 0.5, 0.99])
def test_truncated_npz(tmp_path: Path, kept: float) -> None:
    path = Path(npz(tmp_path / "t.npz", x=X, y=Y))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept >= 1 or not kept else kept * len(whole))])
    with pytest.raises(UserError, match=r"t.npz is damaged or no NPZ file"):
        problems.load(str(path))


def test_flipped_bytes_of_npz_are_refused_or_harmless(tmp_path: Path) -> None:
    path = Path(npz(tmp_path / "t.npz", x=X, y=Y))
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 23):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            problems.load(str(path))
        except UserError:
            refused += 1
    assert refused > len(whole) // 23 // 2


def test_bare_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", X)
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    with pytest.raises(UserError, match="is a single array, not an NPZ file"):
        problems.load(str(tmp_path / "t.npz"))


def pictures(root: Path, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Path:
    """Eight pictures of cats and twelve of dogs."""
    for folder, count in (("cat", 8), ("dog", 12)):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            picture = Image.new("L", size, 10 * i + (100 if folder == "dog" else 0))
            picture.putpixel((0, 0), 255)
            picture.convert(mode).save(root / folder / f"{i:02}.png")
    return root


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("1", 1), ("P", 3)])
def test_folder_of_images(tmp_path: Path, mode: str, channels: int) -> None:
    problem = problems.load(str(pictures(tmp_path / "pets", mode)))
    assert (problem.name, problem.classes) == ("pets", ("cat", "dog"))
    assert problem.shape == (channels, 4, 6)
    assert sum(int((part.y == 1).sum()) for part in (problem.train, problem.valid, problem.test)) == 12
    assert problem.understood[0] == f"20 {'images' if channels == 1 else 'colour images'} 4x6"


def test_grey_among_colour_is_said(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    Image.new("L", (6, 4), 90).save(root / "cat" / "03.png")
    problem = problems.load(str(root))
    assert problem.shape == (3, 4, 6)
    assert "1 grey images turned to colour" in problem.understood


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", "L")
    plain = problems.load(str(root))
    for file in root.rglob("*.png"):
        wide = np.asarray(Image.open(file)).astype(np.uint16) * 257
        Image.fromarray(wide).save(file)
    assert torch.equal(plain.train.x, problems.load(str(root)).train.x)


def test_images_of_two_sizes(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    Image.new("RGB", (5, 5)).save(root / "dog" / "07.png")
    with pytest.raises(UserError) as caught:
        problems.load(str(root))
    assert f"{root / 'cat' / '00.png'} is 6x4 and {root / 'dog' / '07.png'} is 5x5" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 40, 60])
def test_damaged_image_is_named(tmp_path: Path, kept: int) -> None:
    file = pictures(tmp_path / "pets") / "dog" / "05.png"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"05\.png is a damaged image"):
        problems.load(str(tmp_path / "pets"))


def test_folders_without_two_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no sub-folder with images: give at least two"):
        problems.load(str(tmp_path))
    root = pictures(tmp_path / "pets")
    with pytest.raises(UserError, match=r"pets holds folders, not images"):
        problems.load(str(tmp_path))
    for file in (root / "dog").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="has only one sub-folder with images"):
        problems.load(str(root))


def test_other_endings(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_text("x")
    with pytest.raises(UserError, match=r"t.xlsx has the ending '.xlsx': give .csv, .parquet, .npz or a folder"):
        problems.load(str(tmp_path / "t.xlsx"))
