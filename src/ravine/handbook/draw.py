"""Small drawings as SVG that stand in a page: they follow its light or dark, and need nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ravine.handbook.contour import Point

DASHES = ("", "7 4", "2 4", "9 4 2 4", "12 5", "5 3 2 3 2 3")
FAR = 3.0  # how many frames beyond its edge a line is still followed


@dataclass(frozen=True)
class Frame:
    """A box of pixels and the numbers at its ends; y grows upwards."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 400
    height: int = 300
    left: int = 0
    top: int = 0

    def at(self, x: float, y: float) -> Point:
        """The pixel of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + self.width * across, self.top + self.height * (1 - up)

    def holds(self, pixel: Point) -> bool:
        """Whether a pixel is near enough to the box to be drawn."""
        x, y = pixel
        near = abs(x - self.left) <= FAR * self.width and abs(y - self.top) <= FAR * self.height
        return math.isfinite(x) and math.isfinite(y) and near


def line(points: Iterable[Point]) -> str:
    """The data of a path through pixels, to half a pixel and in differences, which is short."""
    text: list[str] = []
    here = (0, 0)
    for x, y in points:
        to = (round(2 * x), round(2 * y))
        if not text:
            text.append(f"M{_half(to[0])} {_half(to[1])}")
        elif to != here:
            text.append(f"l{_half(to[0] - here[0])} {_half(to[1] - here[1])}")
        here = to
    return "".join(text)


def thinned(points: Iterable[Point], apart: float = 5) -> list[Point]:
    """The points without those that lie close to the last one kept; both ends stay."""
    found: list[Point] = []
    last: Point | None = None
    for last in points:
        if not found or math.dist(found[-1], last) >= apart:
            found.append(last)
    if last is not None and found[-1] != last:
        found.append(last)
    return found


def trail(frame: Frame, points: Iterable[Sequence[float]]) -> list[Point]:
    """The pixels of a walk, up to where it leaves for good."""
    found: list[Point] = []
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            break
        found.append(frame.at(x, y))
        if not frame.holds(found[-1]):
            break
    return found


def _half(double: int) -> str:
    return str(double // 2) if double % 2 == 0 else f"{double / 2:g}"


def svg(width: int, height: int, body: str, title: str, kind: str = "") -> str:
    """A whole drawing, as wide as the page lets it be; its title is what a screen reader says."""
    name = f"rv-svg {kind}".strip()
    return (
        f'<svg class="{name}" role="img" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """A label."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{place}>{escape(words)}</text>'


def stroke(data: str, colour: str, width: float = 2, dash: str = "", extra: str = "") -> str:
    """A line of one colour."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{data}" stroke="{colour}" stroke-width="{width:g}"{dashes}{extra}/>'


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two ends, at most ``most``.

    >>> ticks(0, 100), ticks(-1.2, 1.2)
    ([0.0, 25.0, 50.0, 75.0, 100.0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    """
    raw = (high - low) / (most - 1)
    power = 10 ** math.floor(math.log10(raw))
    for step in (1, 2, 2.5, 5, 10):
        first = math.ceil(low / (step * power) - 1e-9)
        last = math.floor(high / (step * power) + 1e-9)
        if last - first < most:
            return [round(k * step * power, 12) + 0.0 for k in range(first, last + 1)]
    return [low, high]


def axes(frame: Frame, x_title: str, y_title: str, x_marks: Sequence[float], y_marks: Sequence[float]) -> str:
    """Grid lines with their numbers, and the two titles."""
    right, bottom = frame.left + frame.width, frame.top + frame.height
    parts = ['<g class="rv-axes">']
    for mark in y_marks:
        _, y = frame.at(frame.x[0], mark)
        parts.append(f'<path d="M{frame.left} {y:g}H{right}"/>{text(frame.left - 6, y + 4, f"{mark:g}", "end")}')
    for mark in x_marks:
        x, _ = frame.at(mark, frame.y[0])
        parts.append(f'<path d="M{x:g} {bottom}v5"/>{text(x, bottom + 18, f"{mark:g}", "middle")}')
    parts.append(text(frame.left + frame.width / 2, bottom + 36, x_title, "middle"))
    parts.append(text(frame.left, frame.top - 8, y_title))
    return "".join([*parts, "</g>"])
