"""A profile in a terminal and as a page; draws what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ravine.profiling.layers import Layer
from ravine.profiling.measure import Profile
from ravine.report.figures import LEGEND, figure
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS

WIDE = 24  # characters of the longest bar
HEADS = ("layer", "kind", "forward", "backward", "share", "Mflop", "of peak", "of bandwidth")


def micro(seconds: float) -> str:
    """A time in a unit that suits it.

    >>> micro(0.00123), micro(4.2e-6)
    ('1.23 ms', '4.2 µs')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def phases(profile: Profile) -> list[tuple[str, str, str]]:
    """Phase, time a step and share, as text."""
    return [(name, micro(own), f"{own / profile.total:.1%}") for name, own in profile.phases.items()]


def rows(profile: Profile) -> list[tuple[str, ...]]:
    """The layers as text, the dearest first."""
    whole = sum(layer.seconds for layer in profile.layers) or 1.0
    return [_row(profile, layer, whole) for layer in sorted(profile.layers, key=lambda layer: -layer.seconds)]


def _row(profile: Profile, layer: Layer, whole: float) -> tuple[str, ...]:
    peak, bandwidth = profile.share(layer)
    shares = (f"{layer.seconds / whole:.0%}", f"{layer.operations / 1e6:.3g}", f"{peak:.0%}", f"{bandwidth:.0%}")
    return (layer.name, layer.kind, micro(layer.forward), micro(layer.backward), *shares)


def table(profile: Profile, most: int = 12) -> RenderableType:
    """The view in a terminal of 80 columns."""
    first = Table(box=None, pad_edge=False)
    for place, name in enumerate(("phase", "a step", "share", "")):
        first.add_column(name, header_style="dim", justify="right" if place in (1, 2) else "left")
    top = max(profile.phases.values())
    for (name, time, share), own in zip(phases(profile), profile.phases.values(), strict=True):
        first.add_row(name, time, share, "█" * round(WIDE * own / top))
    second = Table(box=None, pad_edge=False)
    for place, name in enumerate(HEADS[:-1]):
        second.add_column(name, header_style="dim", justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows(profile)[:most]:
        second.add_row(*row[:-1])
    said = f"A step of this run takes {micro(profile.as_run)}, {micro(profile.total)} taken apart."
    return Group(first, Text(), second, Text(), Text(said), Text(profile.verdict, style="bold green"))


def plot(profile: Profile) -> Any:
    """Two bars a layer, forward and backward, the dearest on top."""
    order = sorted(profile.layers, key=lambda layer: layer.seconds)[-20:]
    names = [f"{layer.name} ({layer.kind})" for layer in order]
    traces = [
        {"type": "bar", "orientation": "h", "name": way, "y": names,
         "x": [1e6 * getattr(layer, way) for layer in order],
         "marker": {"color": COLOURS[place], "pattern": {"shape": ("", "/")[place]}},
         "hovertemplate": "%{y}<br>%{x:.3g} µs<extra>" + way + "</extra>"}
        for place, way in enumerate(("forward", "backward"))
    ]  # fmt: skip
    return figure(
        traces, x={"title": "µs a step"}, y={}, height=120 + 26 * len(order), barmode="stack",
        legend=LEGEND,
    )  # fmt: skip


def plot_phases(profile: Profile) -> Any:
    """A bar a phase."""
    names = [*profile.phases][::-1]
    values = [1e6 * profile.phases[name] for name in names]
    trace = {
        "type": "bar", "orientation": "h", "y": names, "x": values, "marker": {"color": COLOURS[0]},
        "hovertemplate": "%{y}: %{x:.3g} µs<extra></extra>",
    }  # fmt: skip
    return figure([trace], x={"title": "µs a step"}, y={}, height=300, showlegend=False)


def write(profile: Profile, title: str, path: Path) -> Path:
    """Write the page; the file is whole or not there at all."""
    text = rendered(
        "page.html", Path(__file__).parent, title=title, verdict=profile.verdict, phases=phases(profile),
        heads=HEADS, rows=rows(profile), first=figure_data(plot_phases(profile)), second=figure_data(plot(profile)),
        as_run=micro(profile.as_run), total=micro(profile.total), peak=f"{profile.peak / 1e9:.0f}",
        bandwidth=f"{profile.bandwidth / 1e9:.1f}",
    )  # fmt: skip
    return write_page(text, path)
