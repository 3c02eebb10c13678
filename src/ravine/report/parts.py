"""Pictures of a model's parts: what initialisers do to signals, and nonlinearities with their slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.report.figures import LEGEND, figure
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS, DASHES

Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]  # z, f(z), f'(z)


def layers_figure(stds: Mapping[str, Sequence[float]]) -> Any:
    """The deviation after each layer on a log scale, a line an initialiser."""
    traces = [
        _line(place, name, list(range(1, len(own) + 1)), list(own), "layer %{x}<br>deviation %{y:.3g}", "lines+markers")
        for place, (name, own) in enumerate(stds.items())
    ]
    low = min(each for own in stds.values() for each in own)
    ticks = {"dtick": max(1, math.ceil(-math.log10(low) / 8)), "exponentformat": "power"}
    y = {"title": "deviation of the outputs (log scale)", "type": "log", **ticks}
    return figure(traces, x={"title": "layer", "dtick": 1}, y=y, height=420, legend=LEGEND)


def curves_figure(curves: Mapping[str, Curve], which: int) -> Any:
    """Nonlinearities (``which`` 1), or their slopes (2)."""
    traces = [
        _line(place, name, c[0], c[which], "%{x:.2f}: %{y:.3f}") for place, (name, c) in enumerate(curves.items())
    ]
    title = "f(z)" if which == 1 else "slope f'(z)"
    return figure(traces, x={"title": "z"}, y={"title": title}, height=380, legend=LEGEND)


def write(stds: Mapping[str, Mapping[str, Sequence[float]]], curves: Mapping[str, Curve], path: Path) -> Path:
    """Write the page: a figure of layers for each nonlinearity, then the nonlinearities and their slopes."""
    figures = {f"Initialisers before {act}": figure_data(layers_figure(own)) for act, own in stds.items()}
    figures |= {name: figure_data(curves_figure(curves, n)) for n, name in ((1, "Nonlinearities"), (2, "Their slopes"))}
    return write_page(rendered("parts.html", Path(__file__).parent, figures=figures), path)


def _line(place: int, name: str, x: Sequence[float], y: Sequence[float], hover: str, mode: str = "lines") -> Any:
    style = {"color": COLOURS[place % len(COLOURS)], "dash": DASHES[place // len(COLOURS)], "width": 2}
    told = f"{name}<br>{hover}<extra></extra>"
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, "line": style, "hovertemplate": told}
