"""A picture of what augmentation does: some training images, and what the first epochs make of each."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ravine.augment import Step
from ravine.errors import UserError
from ravine.problems.problem import Part, Problem
from ravine.schedules.schedule import settings

CELL, GAP, MARGIN, LABEL, HEAD = 96, 8, 24, 108, 74  # pixels
INK, DIM, PAPER, LINE = "#1c2330", "#6b7280", "#ffffff", "#d7dbe2"


def preview(problem: Problem, rows: int = 6, columns: int = 8, seed: int = 0) -> bytes:
    """A PNG: a row for each sample, first as it is, then as ``columns`` epochs see it.

    The problem's own augmentation is drawn, with the numbers that a run of that seed draws. Where labels are mixed,
    they stand below. Raises a `UserError` for what is no image.
    """
    if len(problem.shape) != 3 or problem.shape[0] not in (1, 3):
        raise UserError(f"{problem.name} holds no images: a preview needs grey or colour images")
    if problem.augment is None:
        raise UserError("a preview needs steps of augmentation: give some, such as flip,crop:4")
    ids = torch.linspace(0, len(problem.train) - 1, min(rows, len(problem.train))).long()
    plain = replace(problem, augment=None).augmented(ids, seed, 0)
    seen = [problem.augmented(ids, seed, epoch) for epoch in range(columns)]
    mixes = problem.augment.mixing is not None and bool(problem.classes)
    below = 20 if mixes else 0
    wide = 2 * MARGIN + LABEL + (columns + 1) * (CELL + GAP) + GAP
    sheet = Image.new("RGB", (wide, 2 * MARGIN + HEAD + len(ids) * (CELL + GAP + below)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _heading(pen, problem, columns, wide)
    for row in range(len(ids)):
        top = MARGIN + HEAD + row * (CELL + GAP + below)
        pen.text((MARGIN, top + CELL / 2), _label(problem, plain, row), INK, _font(14), anchor="lm")
        for column, part in enumerate([plain, *seen]):
            left = _left(column)
            sheet.paste(_picture(problem, part.x[row]), (left, top))
            pen.rectangle((left - 1, top - 1, left + CELL, top + CELL), outline=LINE)
            if mixes and column:
                words = _shares(problem, part.y[row])
                pen.text((left + CELL / 2, top + CELL + 11), words, DIM, _font(9), anchor="mm")
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _heading(pen: ImageDraw.ImageDraw, problem: Problem, columns: int, wide: int) -> None:
    assert problem.augment is not None
    steps = ",  ".join(_words(step) for step in problem.augment.steps)
    pen.text((MARGIN, MARGIN), problem.name, INK, _font(20))
    size = next((size for size in (14, 12, 10, 9) if _font(size).getlength(steps) < wide - 2 * MARGIN), 8)
    pen.text((MARGIN, MARGIN + 28), steps, DIM, _font(size))
    for column in range(columns + 1):
        words = "original" if column == 0 else f"epoch {column}"
        pen.text((_left(column) + CELL / 2, MARGIN + HEAD - 10), words, DIM, _font(11), anchor="mm")


def _words(step: Step) -> str:
    """A step and its settings: "crop (pad 4)"."""
    own = {name: getattr(step, name) for name in settings(type(step)) if name != "p" or step.p < 1}
    given = [f"{name} {value:g}" for name, value in own.items() if value is not None]
    return f"{step.name} ({', '.join(given)})" if given else step.name


def _left(column: int) -> int:
    """Where a column begins; the originals stand a little apart."""
    return MARGIN + LABEL + column * (CELL + GAP) + (GAP if column else 0)


def _picture(problem: Problem, x: Tensor) -> Image.Image:
    """One sample as a cell; its pixels stay visible where it is small."""
    mean, std = problem.inputs.pixels if problem.inputs is not None else (torch.zeros(1), torch.ones(1))
    pixels = (x.unsqueeze(0) * std + mean)[0].clamp(0, 1).mul(255).round().byte()
    array: NDArray[np.uint8] = pixels.movedim(0, -1).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")
    high, across = array.shape[:2]
    scale = CELL / max(high, across)
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    small = image.resize((max(1, round(across * scale)), max(1, round(high * scale))), way)
    cell = Image.new("RGB", (CELL, CELL), PAPER)
    cell.paste(small, ((CELL - small.width) // 2, (CELL - small.height) // 2))
    return cell


def _label(problem: Problem, part: Part, row: int) -> str:
    if not problem.classes:
        return f"{float(part.y[row].flatten()[0]) * problem.target_scale + problem.target_mean:.4g}"
    name = problem.classes[int(part.y[row])]
    return name if len(name) < 14 else f"{name[:12]}…"


def _shares(problem: Problem, y: Tensor) -> str:
    """The two largest shares of a mixed label, as a cell has room for: "cat .70  dog .30"."""
    share, place = y.topk(2)
    pairs = [(s, problem.classes[c]) for s, c in zip(share.tolist(), place.tolist(), strict=True) if s >= 0.005]
    fitting = ("  ".join(f"{name[:size]} {s:.2f}".replace("0.", ".") for s, name in pairs) for size in (12, 8, 6, 5, 4))
    return next((words for words in fitting if _font(9).getlength(words) <= CELL), "")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
