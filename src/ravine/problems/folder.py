"""Problems from a folder of images, one sub-folder a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from ravine.errors import UserError
from ravine.problems.arrays import describe, from_arrays
from ravine.problems.decode import COLOUR, GREY, BadImage, header
from ravine.problems.pictures import Pictures
from ravine.problems.problem import Problem
from ravine.problems.reading import RESIDENT, Reading
from ravine.problems.split import Draw, check_rows, split
from ravine.problems.stream import placeholder, streamed
from ravine.problems.target import understand

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
NAMED = 3  # damaged files that are named; more are counted

Files = list[tuple[int, Path]]  # class and file, in the order of the names


def from_folder(path: Path, *, split_seed: Draw = 0, rows: int | None = None, reading: Reading = RESIDENT) -> Problem:
    """A problem from images of one size: their sub-folder is their class."""
    classes, files, said = find(path)
    files, images, clauses = inspected(path, files, reading)
    name = path.resolve().name
    labels = np.array([label for label, _ in files])
    large, why = reading.streams(4 * prod(images.shape))
    said = (*said, *clauses, *why)
    if not large:
        return from_arrays(
            images.all(), labels, name=name, classes=classes, split_seed=split_seed, rows=rows, understood=said
        )
    check_rows(name, len(files), rows)
    target = understand(f"{name}: y", labels, classes=tuple(classes))
    parts = split(name, len(files), target.y, seed=split_seed, rows=rows, classes=target.classes)
    said = (describe(placeholder(images.shape)), *said)
    return streamed(name, images, target, parts, understood=said, everything=bool(reading.stream))


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


def inspected(path: Path, files: Files, reading: Reading) -> tuple[Files, Pictures, tuple[str, ...]]:
    """The files that are images, these images, and what was made of them; all sizes are equal.

    Headers are read of all. Where damaged images are to be left out, each is decoded once, before the parts are drawn:
    so which samples there are depends on the data alone.
    """
    heads, bad = _headers(files, reading)
    good = [file for place, file in enumerate(files) if place not in bad]
    if not heads:
        raise UserError(f"{path}: every image is damaged: give images that can be opened")
    colour = [mode in COLOUR for _, mode in heads]
    said: tuple[str, ...] = ()
    if 0 < sum(colour) < len(colour):
        said = (f"{len(colour) - sum(colour):,} grey images turned to colour",)

    def images(files: Files) -> Pictures:
        return Pictures([file for _, file in files], "RGB" if any(colour) else "L", heads[0][0])

    found = images(good)
    if reading.skips and (worse := found.damaged()):
        if len(worse) == len(good):
            raise UserError(f"{path}: every image is damaged: give images that can be opened")
        bad = {**bad, **{files.index(good[place]): text for place, text in worse.items()}}
        good = [file for place, file in enumerate(good) if place not in worse]
        found = images(good)
    return good, found, (*said, *_left_out(path, files, bad))


def _headers(files: Files, reading: Reading) -> tuple[list[tuple[tuple[int, int], str]], Mapping[int, str]]:
    """Size and mode of each image that can be opened, and what is wrong with the others."""
    found: list[tuple[tuple[int, int], str]] = []
    bad: dict[int, str] = {}
    first = files[0][1]
    for place, (_, file) in enumerate(files):
        try:
            size, mode = header(str(file))
        except BadImage as error:
            if not reading.skips:
                raise UserError(f"{error}; replace it, or leave such images out with bad_images skip") from error
            bad[place] = str(error)
            continue
        first = first if found else file
        if found and size != found[0][0]:
            (width, height), _ = found[0]
            raise UserError(
                f"images differ in size: {first} is {width}x{height} and {file} is {size[0]}x{size[1]}, "
                "resize them to one size"
            )
        if mode not in GREY + COLOUR:
            raise UserError(f"{file} has pixels of mode {mode}: save it with 8 bits a channel")
        found.append((size, mode))
    return found, bad


def _left_out(path: Path, files: Sequence[tuple[int, Path]], bad: Mapping[int, str]) -> tuple[str, ...]:
    if not bad:
        return ()
    names = [str(files[place][1].relative_to(path)) for place in sorted(bad)]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    images = "image" if len(names) == 1 else "images"
    return (f"{len(names):,} damaged {images} left out: {', '.join(names[:NAMED])}{more}",)
