"""Lines of equal height of a function on a grid, by marching squares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Edge: TypeAlias = tuple[int, int, int]  # row, column, 0: to the next column, 1: to the next row
Point: TypeAlias = tuple[float, float]  # column, row; fractions lie between the grid's points

# The edges that a line joins, by which corners are above (1: top left, 2: top right, 4: bottom right, 8: bottom left);
# of the two ambiguous cases one choice serves, since a fine grid hardly has any
TOP, RIGHT, BOTTOM, LEFT = range(4)
JOINED: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((LEFT, TOP),), 2: ((TOP, RIGHT),), 3: ((LEFT, RIGHT),), 4: ((RIGHT, BOTTOM),),
    5: ((LEFT, TOP), (RIGHT, BOTTOM)), 6: ((TOP, BOTTOM),), 7: ((LEFT, BOTTOM),), 8: ((LEFT, BOTTOM),),
    9: ((TOP, BOTTOM),), 10: ((TOP, RIGHT), (LEFT, BOTTOM)), 11: ((RIGHT, BOTTOM),), 12: ((LEFT, RIGHT),),
    13: ((TOP, RIGHT),), 14: ((LEFT, TOP),),
}  # fmt: skip


def contour(heights: Floats, level: float) -> list[list[Point]]:
    """The lines on which the heights [rows, columns] cross a level; closed ones end where they begin.

    >>> contour(np.array([[0.0, 0.0], [2.0, 2.0]]), 1.0)
    [[(0.0, 0.5), (1.0, 0.5)]]
    """
    lines: list[list[Point]] = []
    for edges in _chains(_neighbours(heights > level)):
        lines.append([_crossing(heights, level, edge) for edge in edges])
    return lines


def _neighbours(above: NDArray[np.bool_]) -> dict[Edge, list[Edge]]:
    """Each crossed edge with the edges that a line goes on to from it."""
    corners = above[:-1, :-1] + 2 * above[:-1, 1:] + 4 * above[1:, 1:] + 8 * above[1:, :-1]
    found: dict[Edge, list[Edge]] = defaultdict(list)
    for i, j in np.argwhere((corners > 0) & (corners < 15)).tolist():
        sides: tuple[Edge, ...] = ((i, j, 0), (i, j + 1, 1), (i + 1, j, 0), (i, j, 1))
        for one, other in JOINED[int(corners[i, j])]:
            found[sides[one]].append(sides[other])
            found[sides[other]].append(sides[one])
    return found


def _chains(near: dict[Edge, list[Edge]]) -> Iterator[list[Edge]]:
    """Edges in the order of the lines through them: open lines first, from an end."""
    left = set(near)
    for first in sorted(near, key=lambda edge: (len(near[edge]), edge)):
        if first not in left:
            continue
        left.remove(first)
        line = [first]
        while True:
            onward = next((edge for edge in near[line[-1]] if edge in left), None)
            if onward is None:
                break
            left.remove(onward)
            line.append(onward)
        if len(line) > 2 and first in near[line[-1]]:
            line.append(first)
        yield line


def _crossing(heights: Floats, level: float, edge: Edge) -> Point:
    """Where between the edge's two ends the level lies."""
    i, j, down = edge
    here = heights[i, j]
    there = heights[i + 1, j] if down else heights[i, j + 1]
    part = float((level - here) / (there - here))
    return (float(j), i + part) if down else (j + part, float(i))
