"""The handbook's drawings: paths on a surface, answers to a signal, schedules; each line can be switched off."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Container, Mapping, Sequence
from html import escape
from itertools import accumulate

import numpy as np
import torch
from PIL import Image

from ravine.handbook.contour import Floats, contour
from ravine.handbook.draw import DASHES, Frame, axes, line, stroke, svg, text, thinned, ticks, trail
from ravine.handbook.response import PHASES
from ravine.handbook.walk import Path
from ravine.report.palette import COLOURS, look
from ravine.surfaces import Surface

GRID, BANDS = 120, 12
SHADE = (40, 121, 201)  # of the lowest ground; higher ground fades into the page
MAP = Frame((0.0, 1.0), (0.0, 1.0))  # the size of a map
Style = tuple[str, str]  # colour and dash


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Colour and dash of each of a family's forms: its own has the family's colour, each other one the next."""
    own = COLOURS.index(look(names[0]).colour)
    count = len(COLOURS)
    return {name: (COLOURS[(own + i) % count], DASHES[min(i, 1) + i // count]) for i, name in enumerate(names)}


def frame_of(surface: Surface) -> Frame:
    """The map of a surface."""
    return Frame(surface.bounds[0], surface.bounds[1], MAP.width, MAP.height)


@functools.cache
def ground(surface: Surface) -> str:
    """The map itself: bands of height, the deepest the darkest, and the lines between them."""
    frame = frame_of(surface)
    (left, right), (low, high) = surface.bounds
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(high, low, GRID))
    heights = surface.f(torch.from_numpy(np.stack([x, y], axis=-1))).numpy()
    levels = np.quantile(heights, [(k / BANDS) ** 1.35 for k in range(1, BANDS)])
    across, down = frame.width / (GRID - 1), frame.height / (GRID - 1)
    lines = [
        "".join(line(thinned((px * across, py * down) for px, py in one)) for one in contour(heights, level))
        for level in levels
    ]
    drawn = "".join(f'<path d="{data}"/>' for data in lines)
    stars = "".join(_star(*frame.at(*minimum)) for minimum in surface.minima)
    return (
        f'<image href="{_shade(heights, levels)}" width="{frame.width}" height="{frame.height}" '
        f'preserveAspectRatio="none"/><g class="rv-contour">{drawn}</g><g class="rv-minimum">{stars}</g>'
    )


def _shade(heights: Floats, levels: Floats) -> str:
    """The bands as a small picture with only a transparency, so that it suits a light and a dark page."""
    band = np.searchsorted(levels, heights).astype(np.uint8)
    picture = Image.fromarray(band, "P")
    picture.putpalette(SHADE * BANDS)
    opacity = bytes(int(150 * (1 - k / BANDS) ** 1.6) for k in range(BANDS))
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=opacity, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _star(x: float, y: float) -> str:
    return f'<path d="M{x - 6:.1f} {y:.1f}h12M{x:.1f} {y - 6:.1f}v12"/>'


def paths(surface: Surface, walks: Sequence[Path], how: Mapping[str, Style], title: str, again: bool = False) -> str:
    """A map with walks on it, the first one on top; ``again`` where the page has the same map already."""
    frame = frame_of(surface)
    drawn = [_walk(frame, walk, how[walk.rule], list(how).index(walk.rule)) for walk in reversed(walks)]
    start = '{:.1f}" cy="{:.1f}'.format(*frame.at(*surface.start))
    mark = f"ground-{surface.name}"
    below = f'<use href="#{mark}"/>' if again else f'<g id="{mark}">{ground(surface)}</g>'
    body = f'{below}{"".join(drawn)}<circle class="rv-start" cx="{start}" r="5"/>'
    return svg(frame.width, frame.height, body, title, "rv-map")


def _walk(frame: Frame, walk: Path, style: Style, place: int) -> str:
    pixels = trail(frame, walk.points)
    x, y = pixels[-1]
    colour, dash = style
    rate = "" if walk.rate is None else f", rate {walk.rate:g}"
    end = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="none"/>'
    about = f"<title>{escape(walk.rule)}{rate}</title>"
    return f'<g class="rv-line k{place}">{about}{stroke(line(pixels), colour, 2.2, dash)}{end}</g>'


def answer(curves: Mapping[str, Floats], how: Mapping[str, Style], title: str) -> str:
    """Each form's step after each gradient of the signal; the axis is that of all but the wildest steps."""
    every = np.concatenate(list(curves.values()))
    high = 1.15 * max(float(np.quantile(every, 0.985)), 1e-12)
    low = min(1.15 * float(np.quantile(every, 0.015)), -0.15 * high)
    ends = list(accumulate(phase.steps for phase in PHASES))
    frame = Frame((0, ends[-1]), (low, high), 640, 230, 52, 34)
    parts = [axes(frame, "step", "step downhill ÷ rate", [0, *ends], ticks(low, high))]
    for phase, end in zip(PHASES, ends, strict=True):
        x, _ = frame.at(end - phase.steps / 2, 0)
        parts.append(f'<g class="rv-axes">{text(x, frame.top + 14, phase.words, "middle")}</g>')
        x, _ = frame.at(end, 0)
        parts.append(f'<path class="rv-phase" d="M{x:g} {frame.top}v{frame.height}"/>')
    for name, curve in reversed(list(curves.items())):
        at = [frame.at(step + 1, min(max(float(u), low), high)) for step, u in enumerate(curve)]
        colour, dash = how[name]
        about = f"<title>{escape(name)}</title>"
        data = stroke(line(at), colour, 2.4, dash)
        parts.append(f'<g class="rv-line k{list(how).index(name)}">{about}{data}</g>')
    return svg(704, 310, "".join(parts), title)


def schedule(values: Sequence[float], title: str, colour: str = COLOURS[0]) -> str:
    """The factor of a schedule over one run."""
    top = 1.05 * max(*values, 1.0)
    frame = Frame((0, 1), (0.0, top), 520, 150, 44, 26)
    last = len(values) - 1
    curve = stroke(line(frame.at(i / last, value) for i, value in enumerate(values)), colour, 2.4)
    marks = axes(frame, "share of the run", "factor on the base value", [0, 0.25, 0.5, 0.75, 1], ticks(0, top, 4))
    return svg(580, 220, f'{marks}<g class="rv-line">{curve}</g>', title)


def legend(how: Mapping[str, Style], on: Container[str] | None = None, shown: Container[str] | None = None) -> str:
    """A switch for each line of the drawings in the same block: all there are and all on, unless it is said."""
    rows = [
        f'<label class="rv-switch"><input type="checkbox" class="t{place}"'
        f'{" checked" if on is None or name in on else ""}><svg viewBox="0 0 26 10" aria-hidden="true">'
        f'<path d="M1 5H25" stroke="{colour}" stroke-width="3"{f""" stroke-dasharray="{dash}" """ if dash else ""}/>'
        f"</svg>{escape(name)}</label>"
        for place, (name, (colour, dash)) in enumerate(how.items())
        if shown is None or name in shown
    ]
    return f'<div class="rv-legend" data-search-exclude>{"".join(rows)}</div>'


def switches(most: int) -> str:
    """The style sheet that makes the switches work for up to ``most`` lines in a block."""
    return "\n".join(f".rv-block:has(.t{i}:not(:checked)) .k{i}{{display:none}}" for i in range(most))
