"""A verdict as a page and as text for a terminal; draws what was found, computes nothing."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ravine.lab.outcome import Chart, Series, Verdict, shown
from ravine.report.figures import LEGEND, figure
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS, DASHES, MARKERS

ANSWERS = {"yes": "holds", "no": "does not", "open": "not told"}
COLOUR = {"yes": "green", "no": "red", "open": "yellow"}


def write(verdict: Verdict, path: Path) -> Path:
    """Write the page: verdict, checks, figures, table; it needs no network."""
    charts = [(chart.finding, figure_data(drawn(chart))) for chart in verdict.charts]
    text = rendered("lab.html", Path(__file__).parent, v=verdict, charts=charts, shown=shown, say=ANSWERS)
    return write_page(text, path)


def drawn(chart: Chart) -> Any:
    """The chart as a Plotly figure."""
    draw = _dots if chart.kind == "dots" else _line
    traces = [trace for place, series in enumerate(chart.series) for trace in draw(place, series)]
    legend = {"legend": LEGEND, "showlegend": len(chart.series) > 1}
    if chart.kind == "lines":
        return figure(traces, x={"title": chart.x}, y={"title": chart.y}, height=400, hovermode="x unified", **legend)
    names = [escape(str(name)) for name in chart.series[0].x]
    y = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "range": [-0.6, len(names) - 0.4]}
    return figure(traces, x={"title": chart.x, "nticks": 7}, y=y, height=130 + 34 * len(names), **legend)


def _dots(place: int, series: Series) -> list[dict[str, Any]]:
    colour = COLOURS[place % len(COLOURS)]
    bar = {
        "type": "data", "symmetric": False, "thickness": 2.5, "width": 6, "color": colour,
        "array": [high - mean for high, mean in zip(series.high, series.y, strict=True)],
        "arrayminus": [mean - low for low, mean in zip(series.low, series.y, strict=True)],
    }  # fmt: skip
    marker = {"color": colour, "symbol": MARKERS[place % len(MARKERS)], "size": 11}
    names = [escape(str(name)) for name in series.x]
    text = [f"{n}<br>{series.name} {y:.4g}" for n, y in zip(names, series.y, strict=True)]
    both = {"x": series.y, "y": names, "error_x": bar, "marker": marker, "hoverinfo": "text", "hovertext": text}
    return [{"type": "scatter", "mode": "markers", "name": escape(series.name), **both}]


def _line(place: int, series: Series) -> list[dict[str, Any]]:
    colour, name = COLOURS[place % len(COLOURS)], escape(series.name)
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    common = {"type": "scatter", "mode": "lines", "legendgroup": name}
    band = {"x": [*series.x, *series.x[::-1]], "y": [*series.high, *series.low[::-1]], "fill": "toself"}
    quiet = {"fillcolor": f"rgba({r},{g},{b},0.15)", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    line = {"color": colour, "dash": DASHES[place % len(DASHES)], "width": 2.5}
    mean = {"x": series.x, "y": series.y, "name": name, "line": line, "hovertemplate": "%{y:.4g}"}
    return [common | band | quiet | {"name": f"{name}, interval"}, common | mean]


def table(verdict: Verdict) -> RenderableType:
    """The view in a terminal: numbers of every arm, the checks, the verdict."""
    parts: list[RenderableType] = [Text(f"{verdict.name} · {verdict.title}", style="bold"), Text(verdict.claim)]
    parts.append(Text(verdict.measured, style="dim"))
    arms = Table(box=None, pad_edge=False)
    arms.add_column("")
    for column in verdict.rows[0].cells:
        arms.add_column(column, justify="right", header_style="dim", overflow="fold")
    for row in verdict.rows:
        arms.add_row(Text(row.name), *(Text(shown(cell)) for cell in row.cells.values()))
    found = Table(box=None, pad_edge=False)
    found.add_column("check", header_style="dim", overflow="fold")
    found.add_column("found", justify="right", header_style="dim", overflow="fold")
    found.add_column("claimed", justify="right", header_style="dim")
    found.add_column("")
    for check in verdict.checks:
        answer = Text(ANSWERS[check.answer], style=COLOUR[check.answer])
        found.add_row(Text(check.says), Text(check.shown), Text(f"> {check.least:g}"), answer)
    parts += [Text(), arms, Text(), found, Text(), Text(f"Verdict: {verdict.sentence}", style="bold")]
    return Group(*parts, *(Text(f"Note: {note}", style="dim") for note in verdict.notes))
