"""Images as pixels. Run as a program it is a worker: it imports Pillow alone, and decodes what it is told to.

A worker reads lines of JSON, {"files": [...], "mode": "RGB", "size": [width, height]}, and answers each with one byte:
0, then the pixels of all, one after another, or 1, then the length (8 bytes) of a JSON list [place, sentence].
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY = ("1", "L", "LA", "I;16")
COLOUR = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class BadImage(Exception):
    """One sentence on a file that is no image, or not the one that is needed."""


def header(file: str) -> tuple[tuple[int, int], str]:
    """Size and mode, without decoding."""
    try:
        with Image.open(file) as image:
            return image.size, image.mode
    except DAMAGE as error:
        raise BadImage(f"{file} is a damaged image, or none") from error


def pixels(file: str, mode: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels, uint8 [channels, height, width]."""
    try:
        image = Image.open(file)
    except DAMAGE as error:
        raise BadImage(f"{file} is a damaged image, or none") from error
    with image:
        if size is not None and image.size != size:
            raise BadImage(f"{file} is {image.size[0]}x{image.size[1]} now, and was {size[0]}x{size[1]} before")
        try:
            image.load()
        except DAMAGE as error:
            raise BadImage(f"{file} is a damaged image: {error}") from error
        if image.mode == "I;16":  # Pillow clips instead of scaling when it converts these
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        found: NDArray[Any] = np.asarray(image.convert(mode), dtype=np.uint8)
    return found[None] if mode == "L" else np.moveaxis(found, -1, 0)


def answer(order: dict[str, Any]) -> bytes:
    """What a worker says to one line."""
    parts: list[bytes] = []
    width, height = order["size"]
    for place, file in enumerate(order["files"]):
        try:
            parts.append(pixels(file, order["mode"], (width, height)).tobytes())
        except BadImage as error:
            text = json.dumps([place, str(error)]).encode()
            return b"\1" + len(text).to_bytes(8, "little") + text
    return b"\0" + b"".join(parts)


def work() -> None:
    """Answer until there is nobody to ask: the end of the program that began this one closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other program's, which will close the pipe
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answer(json.loads(line)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        work()
    except BrokenPipeError:
        sys.stdout = None
