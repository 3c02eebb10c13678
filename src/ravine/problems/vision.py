"""MNIST, Fashion-MNIST and CIFAR-10: from RAVINE_DATA, else from the cache, else downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from numpy.typing import NDArray

from ravine.errors import UserError
from ravine.problems.arrays import from_arrays
from ravine.problems.download import fetch
from ravine.problems.idx import read_cifar, read_idx
from ravine.problems.npz import read
from ravine.problems.problem import Problem
from ravine.problems.split import Draw

Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]  # x, y and the test part's x, y

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Remote:
    """A published file: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Idx:
    """A data set of four IDX files: train images, train labels, test images, test labels."""

    files: tuple[Remote, Remote, Remote, Remote]
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    every: int  # one training image of so many validates


# Sizes and SHA-256 as TensorFlow Datasets publishes them for the files of these addresses.
IDX = {
    "mnist": Idx(
        (
            Remote(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Remote(
                "train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            Remote(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Remote(
                "t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        ),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        DIGITS,
        6,
    ),
    "fashion-mnist": Idx(
        (
            Remote(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            Remote(
                "train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            Remote(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            Remote(
                "t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        ),
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        CLOTHES,
        6,
    ),
}
CIFAR = Remote(
    "cifar-10-binary.tar.gz", 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
)
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR_SUBSET = "cifar10-subset.npz"


def mnist_like(name: str, *, split_seed: Draw = 0, download: bool = True, rows: int | None = None) -> Problem:
    """MNIST or Fashion-MNIST with its official test part; 10,000 of the training images validate."""
    source = IDX[name]
    paths = [locate(name, file, source.mirrors, download=download) for file in source.files]
    x, y, held_x, held_y = (read_idx(path, 3 if "images" in path.name else 1) for path in paths)
    return _problem(name, (x, y, held_x, held_y), source.classes, source.every, split_seed, rows)


def cifar10(*, split_seed: Draw = 0, download: bool = True, rows: int | None = None) -> Problem:
    """CIFAR-10, or the subset of it in RAVINE_DATA, with its official test part; a fifth of the rest validates."""
    folder = data_folder()
    if folder is not None and (folder / CIFAR_SUBSET).is_file():
        arrays = _subset(folder / CIFAR_SUBSET)
    else:
        arrays = read_cifar(locate("cifar10", CIFAR, CIFAR_MIRRORS, download=download))
    return _problem("cifar10", arrays, THINGS, 5, split_seed, rows)


def _subset(path: Path) -> Arrays:
    """The arrays of the subset, its channels first."""
    arrays = read(path)
    missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks the array {missing[0]}: replace it, or unset RAVINE_DATA to download CIFAR-10")
    x, held_x = (arrays[key].transpose(0, 3, 1, 2) for key in ("x_train", "x_test"))
    return x, arrays["y_train"], held_x, arrays["y_test"]


def locate(name: str, file: Remote, mirrors: tuple[str, ...], *, download: bool) -> Path:
    """The file in RAVINE_DATA, else in the cache, else downloaded into the cache."""
    folder = data_folder()
    cache = Path(platformdirs.user_cache_dir("ravine"))
    for place in (folder, cache):
        if place is not None and (place / name / file.name).is_file():
            return place / name / file.name
    if not download:
        raise UserError(
            f"{name} is not on this machine: allow the download, or set RAVINE_DATA to a folder with {name}/{file.name}"
        )
    return fetch([url + file.name for url in mirrors], cache / name / file.name, sha256=file.sha256, size=file.size)


def data_folder() -> Path | None:
    """The folder that RAVINE_DATA names; a `UserError` where it names none."""
    given = os.environ.get("RAVINE_DATA")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise UserError(f"RAVINE_DATA is {given}, which is no folder: set it to one, or unset it")
    return folder


def _problem(
    name: str,
    arrays: Arrays,
    classes: tuple[str, ...],
    every: int,
    split_seed: Draw,
    rows: int | None,
) -> Problem:
    x, y, held_x, held_y = arrays
    said = ("with its own test part",)
    return from_arrays(
        x,
        y,
        name=name,
        classes=classes,
        test=(held_x, held_y),
        split_seed=split_seed,
        rows=rows,
        every=every,
        understood=said,
    )
