"""Problems from a folder of images, one sub-folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ravine.errors import UserError
from ravine.problems.arrays import from_arrays
from ravine.problems.problem import Problem

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
GREY = ("1", "L", "LA", "I;16")
COLOUR = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")


def from_folder(path: Path, *, split_seed: int = 0, rows: int | None = None) -> Problem:
    """A problem from images of one size: their sub-folder is their class."""
    classes, files, said = find(path)
    colour = _inspect([file for _, file in files])
    if 0 < sum(colour) < len(colour):
        said += (f"{len(colour) - sum(colour):,} grey images turned to colour",)
    mode = "RGB" if any(colour) else "L"
    first = _read(files[0][1], mode)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for index, (_, file) in enumerate(files):
        images[index] = _read(file, mode)
    labels = np.array([label for label, _ in files])
    name = path.resolve().name
    return from_arrays(images, labels, name=name, classes=classes, split_seed=split_seed, rows=rows, understood=said)


def find(path: Path) -> tuple[list[str], list[tuple[int, Path]], tuple[str, ...]]:
    """Classes by name, (class, file) in the order of the names, and what was passed over."""
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    found = {folder: sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES) for folder in folders}
    nested = [folder for folder in folders if not found[folder] and any(child.is_dir() for child in folder.iterdir())]
    if nested:
        raise UserError(f"{nested[0]} holds folders, not images: give the folder whose sub-folders are the classes")
    full = [folder for folder in folders if found[folder]]
    if len(full) < 2:
        count = "no sub-folder" if not full else "only one sub-folder"
        raise UserError(f"{path} has {count} with images: give at least two, one sub-folder a class")
    files = [(label, file) for label, folder in enumerate(full) for file in found[folder]]
    said = tuple(f"folder '{folder.name}' left out, it has no images" for folder in folders if folder not in full)
    return [folder.name for folder in full], files, said


def _inspect(files: list[Path]) -> list[bool]:
    """Whether each image has colour, once all sizes are found equal."""
    colour: list[bool] = []
    with _open(files[0]) as image:
        size = image.size
    for file in files:
        with _open(file) as image:
            if image.size != size:
                raise UserError(
                    f"images differ in size: {files[0]} is {size[0]}x{size[1]} and {file} is "
                    f"{image.size[0]}x{image.size[1]}, resize them to one size"
                )
            if image.mode not in GREY + COLOUR:
                raise UserError(f"{file} has pixels of mode {image.mode}: save it with 8 bits a channel")
            colour.append(image.mode in COLOUR)
    return colour


def _read(file: Path, mode: str) -> NDArray[np.uint8]:
    """The pixels, uint8 [channels, height, width]."""
    with _open(file) as image:
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{file} is a damaged image: {error}") from error
        if image.mode == "I;16":  # Pillow clips instead of scaling when it converts these
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        pixels: NDArray[Any] = np.asarray(image.convert(mode), dtype=np.uint8)
    return pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0)


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{file} is a damaged image, or none") from error
