"""An ensemble in a terminal and as a page; draws what was found, computes nothing but means."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ravine.ensembles.result import EnsembleResult
from ravine.report.figures import LEGEND, figure
from ravine.report.numbers import plain
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS, LINE

HEADS = ("members", "squared error", "of one member's", "by the formula", "off")


def squared_name(result: EnsembleResult) -> str:
    """What the squared error is of."""
    return "Brier score" if result.task == "classification" else "squared error (standardised)"


def shown(result: EnsembleResult) -> list[int]:
    """The sizes that a table has room for: all of ten, else 1, 2, 4, ... and all."""
    many = len(result.levels)
    sizes = range(1, many + 1) if many <= 10 else [*(2**k for k in range(12) if 2**k < many), many]
    return list(sizes)


def _off(share: float) -> str:
    return f"{round(share, 3) + 0.0:+.1%}"  # + 0.0 turns -0.0 into 0.0


def rows(result: EnsembleResult) -> list[tuple[str, ...]]:
    """The sizes as text."""
    chosen = [result.levels[size - 1] for size in shown(result)] if result.levels else []
    return [
        (
            str(level.size),
            plain(level.squared),
            f"{level.measured:.3f}",
            f"{level.predicted:.3f}",
            _off(level.off),
        )
        for level in chosen
    ]


def models(result: EnsembleResult) -> list[tuple[str, str, str, str]]:
    """The members, their mean and the whole as text: name, loss, squared error, metric."""
    each = list(result.members)
    made = [_row(member.name, [member.loss], [member.squared], [member.metric], result) for member in each[:12]]
    if len(each) > 2:
        columns = ([m.loss for m in each], [m.squared for m in each], [m.metric for m in each])
        made = made if len(each) <= 12 else made[:3]
        made.append(_row("a member, mean ± SD", *columns, result))
    if result.kind != "swa":
        whole = result.whole
        made.append(_row(whole.name, [whole.loss], [whole.squared], [whole.metric], result))
    return made


def _row(
    name: str, loss: list[float], squared: list[float], metric: list[float], result: EnsembleResult
) -> tuple[str, str, str, str]:
    def text(values: list[float], percent: bool = False) -> str:
        scale, unit = (100.0, " %") if percent else (1.0, "")
        middle, wide = scale * mean(values), scale * stdev(values) if len(values) > 1 else 0.0
        digits = ".1f" if percent else ".4f"
        return f"{middle:{digits}}{f' ± {wide:{digits}}' if len(values) > 1 else ''}{unit}"

    return name, text(loss), text(squared), text(metric, result.metric_name == "accuracy")


def cost(result: EnsembleResult) -> str:
    """What it costs, in words."""
    runs = result.gradients / result.alone
    trained = f"{result.gradients:,.0f} gradients of a sample in training, {runs:g} x one run"
    return f"{trained}; {result.passes} x one model's work for a prediction"


def verdict(result: EnsembleResult) -> str:
    """One sentence: what was gained, and what more members could gain."""
    if result.kind == "swa":
        last, averaged = result.members
        return (
            f"The mean of the weights has a {squared_name(result)} of {plain(averaged.squared)}, "
            f"the last weights {plain(last.squared)}."
        )
    last = result.levels[-1]
    best = min(result.members, key=lambda member: member.squared)
    worse = (
        ""
        if best.squared > result.whole.squared
        else f" {best.name.capitalize()} alone does better: {plain(best.squared)}."
    )
    limit = max(result.rho or 0.0, 0.0)
    return (
        f"{result.whole.name.capitalize()} has {last.measured:.2f} of a member's {squared_name(result)}; their errors "
        f"correlate at {result.rho:.2f}, so the formula says {last.predicted:.2f}, and more members end at {limit:.2f}."
        f"{worse}"
    )


def table(result: EnsembleResult) -> RenderableType:
    """The view in a terminal."""
    head = f"{result.problem} · {result.model} · {result.kind} · on the {result.part}"
    names = Table(box=None, pad_edge=False)
    for place, name in enumerate(("model", "loss", squared_name(result), result.metric_name)):
        names.add_column(name, header_style="dim", justify="right" if place else "left")
    for row in models(result):
        names.add_row(*row, style="bold" if row[0] == result.whole.name else "")
    parts: list[RenderableType] = [Text(head, style="bold"), names]
    if result.levels:
        grid = Table(box=None, pad_edge=False)
        for name in HEADS:
            grid.add_column(name, header_style="dim", justify="right")
        for row in rows(result):
            grid.add_row(*row)
        parts += [Text(), grid]
    parts += [Text(f"Cost: {cost(result)}."), Text(verdict(result), style="bold green")]
    return Group(*parts)


def plot(result: EnsembleResult) -> Any:
    """Squared error against the number of members: measured, by the formula, and its limit."""
    sizes = [level.size for level in result.levels]
    one = result.levels[0].squared
    measured = {
        "type": "scatter", "mode": "markers", "name": "measured", "x": sizes, "y": [s.squared for s in result.levels],
        "marker": {"color": COLOURS[0], "size": 10}, "hovertemplate": "%{x} members<br>%{y:.4g}",
    }  # fmt: skip
    formula = {
        "type": "scatter", "mode": "lines", "name": "1/k + (k - 1)/k rho, rho from other samples", "x": sizes,
        "y": [one * level.predicted for level in result.levels], "line": {"color": COLOURS[1], "width": 2},
        "hovertemplate": "%{x} members<br>%{y:.4g}",
    }  # fmt: skip
    low, high = min(0.0, *(s.squared for s in result.levels)), 1.08 * one
    made = figure(
        [formula, measured],
        x={"title": "members", "range": [0.7, sizes[-1] + 0.3], "tickformat": "d", "dtick": -(-sizes[-1] // 10)},
        y={"title": squared_name(result), "range": [low, high]},
        height=380,
        legend=LEGEND,
        showlegend=True,
    )
    made.add_hline(y=one * max(result.rho or 0.0, 0.0), line={"color": LINE, "width": 1, "dash": "dash"})
    return made


def html(result: EnsembleResult) -> str:
    """The whole page as text."""
    return rendered(
        "page.html", Path(__file__).parent, r=result, verdict=verdict(result), cost=cost(result), heads=HEADS,
        figure=figure_data(plot(result)) if result.levels else "", rows=rows(result), models=models(result),
        squared=squared_name(result),
    )  # fmt: skip


def write(result: EnsembleResult, path: Path) -> Path:
    """Write the page; the file is whole or not there at all."""
    return write_page(html(result), path)
