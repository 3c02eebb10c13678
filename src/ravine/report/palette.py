"""The look of each rule: one colour, dash and marker per name, the same in every figure of every race."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

# Each colour has a contrast of at least 3 on white and on near-black, so that one figure serves both.
COLOURS = (
    "#2879c9", "#d35f10", "#3a8f46", "#b458b0", "#7c7f86", "#9a6a2f", "#1792a0", "#cf4560", "#8a6fd8", "#8a861c"
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "8px,3px,2px,3px,2px,3px", "3px,6px")
MARKERS = (
    "circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "hexagon2", "bowtie", "hourglass"
)  # fmt: skip
FAMILIES = (
    "momentum", "adam", "nadam", "rmsprop", "sgd", "adagrad", "adamw", "nesterov", "adamax", "adadelta"
)  # fmt: skip  # those of a first race; any other finds its place by a hash of its name

OUTCOMES = {  # colour and marker of what became of a run
    "finished": ("#2879c9", "circle"),
    "stopped": ("#7c7f86", "circle-open"),
    "diverged": ("#e0342f", "x-thin"),
    "interrupted": ("#8a6fd8", "diamond-open"),
}
FAINT = "rgba(127,132,142,0.28)"  # context behind the data, on white and on black
LINE = "rgba(127,132,142,0.9)"


@dataclass(frozen=True)
class Look:
    """How a rule is drawn; dash and marker tell it apart where colour cannot."""

    colour: str
    dash: str
    marker: str

    def veil(self, opacity: float) -> str:
        """The colour as a transparent fill."""
        r, g, b = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({r},{g},{b},{opacity})"


def look(rule: str) -> Look:
    """The look of a rule: the colour is its family's, the dash and marker its own.

    >>> look("adam").colour == look("adam/eps-inside").colour, look("adam") == look("adam/eps-inside")
    (True, False)
    """
    family, _, dialect = rule.partition("/")
    place = FAMILIES.index(family) if family in FAMILIES else crc32(family.encode())
    # A dialect moves on by at least one place, so that it never looks like its family's own form.
    step = 1 + crc32(dialect.encode()) % (min(len(DASHES), len(MARKERS)) - 1) if dialect else 0
    return Look(
        COLOURS[place % len(COLOURS)],
        DASHES[(place + step) % len(DASHES)],
        MARKERS[(place + step) % len(MARKERS)],
    )
