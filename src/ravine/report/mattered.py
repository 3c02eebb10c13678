"""What mattered: shares of the decisions with intervals, and each decision alone, as words and figures."""

from __future__ import annotations

from html import escape
from typing import Any

from ravine.report.figures import figure
from ravine.report.palette import COLOURS, FAINT, LINE
from ravine.results import Importance, Isolated, RaceResult, Share

MOST = 8  # decisions drawn alone


def told(one: Share) -> str:
    """A share with its interval, in percent: "lr 61 % [45, 74]"."""
    mean, low, high = (max(0, round(100 * part)) for part in (one.share, one.low, one.high))
    return f"{one.decision} {mean} % [{low}, {high}]"


def counts(one: Share) -> bool:
    """Whether its interval lies above nought."""
    return one.low > 0


def mattered(result: RaceResult) -> str:
    """Which decisions mattered, in a sentence; empty where it was not measured."""
    made = result.importance
    if made is None:
        return ""
    big, rest = [one for one in made.shares if counts(one)], [one.decision for one in made.shares if not counts(one)]
    text = " · ".join(map(told, big)) if big else "no decision measurably"
    return text + (f"; not told from chance: {', '.join(rest)}" if big and rest else "")


def finding(result: RaceResult) -> str:
    """The sentence above the figure."""
    made = result.importance
    big = [one for one in made.shares if counts(one)] if made else []
    if not big:
        return "No decision mattered measurably"
    first = big[0]
    others = (
        f", before {' and '.join(one.decision for one in big[1:3])}" if big[1:] else ", and nothing else measurably"
    )
    return f"{first.decision} mattered most: {max(0, round(100 * first.share))} % of the differences in rank{others}"


def shares_figure(made: Importance) -> Any:
    """A mark and an interval for each decision, the largest first."""
    names = [escape(one.decision) for one in made.shares]
    percent = [[100 * part for part in (one.share, one.low, one.high)] for one in made.shares]
    bar = {
        "type": "data", "symmetric": False, "array": [h - m for m, _, h in percent],
        "arrayminus": [m - low for m, low, _ in percent], "thickness": 2.5, "width": 6, "color": COLOURS[0],
    }  # fmt: skip
    trace = {
        "type": "scatter", "mode": "markers", "x": [m for m, *_ in percent], "y": names, "error_x": bar,
        "marker": {"size": 11, "color": COLOURS[0]}, "hoverinfo": "text", "hovertext": [told(s) for s in made.shares],
    }  # fmt: skip
    y = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1]}
    x = {"title": "share of the differences in rank, %", "nticks": 6}
    fitted = figure([trace], x=x, y=y, height=110 + 36 * len(names), showlegend=False)
    fitted.add_vline(x=0, line={"color": LINE, "width": 1.5}, layer="below")
    return fitted


def alone_figures(result: RaceResult) -> dict[str, Any]:
    """How configurations stood along each decision, all else averaged out; those that matter most first."""
    made = result.importance
    if made is None:
        return {}
    evenly = {name for name, searched in result.decisions.items() if searched.scale == "linear"}
    names = [one.decision for one in made.shares[:MOST]]
    return {name: _alone(made.isolated[name], name in evenly) for name in names}


def _alone(places: list[Isolated], evenly: bool) -> Any:
    y = {"title": "others beaten, %", "range": [0, 100], "nticks": 5}
    mean, low, high = (
        [100 * part for part in parts] for parts in zip(*((p.mean, p.low, p.high) for p in places), strict=True)
    )
    if isinstance(places[0].value, str):
        words = [escape(str(p.value)) for p in places]
        up, down = [h - m for m, h in zip(mean, high, strict=True)], [m - b for m, b in zip(mean, low, strict=True)]
        bar = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": COLOURS[0], "width": 6}
        marker = {"size": 11, "color": COLOURS[0]}
        trace = {"type": "scatter", "mode": "markers", "x": words, "y": mean, "error_y": bar, "marker": marker}
        return figure([trace], x={"type": "category"}, y=y, height=250, showlegend=False)
    named = places[0].value is not None
    x = [p.value if named else 100 * p.place for p in places]
    band = {"type": "scatter", "mode": "lines", "x": x + x[::-1], "y": high + low[::-1], "fill": "toself"}
    line = {"type": "scatter", "mode": "lines+markers", "x": x, "y": mean, "line": {"color": COLOURS[0], "width": 2.5}}
    traces = [band | {"fillcolor": FAINT, "line": {"width": 0}, "hoverinfo": "skip"}, line]
    return figure(
        traces, x=_axis(x, evenly) if named else {"title": "place in its range, %"}, y=y, height=250, showlegend=False
    )


def _axis(x: list[Any], evenly: bool) -> dict[str, Any]:
    """Logarithmic where the values spread over more than a decade, unless they were searched evenly."""
    wide = not evenly and min(x) > 0 and max(x) > 10 * min(x)
    return {"type": "log", "exponentformat": "power", "dtick": 1} if wide else {"nticks": 5}
