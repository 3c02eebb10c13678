"""A range test in a terminal, in a notebook and as a page; draws what was found, computes nothing."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ravine.rates.result import Checked, RangeTest
from ravine.report.axes import log_axis, loss_axis
from ravine.report.figures import figure
from ravine.report.numbers import NOTHING, plain, rate, times
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import LINE, look

HEADS = ("learning rate", "validation loss", "the curve looks", "suggested")
BARS = "▁▂▃▄▅▆▇█"


def verdict(test: RangeTest) -> str:
    """One sentence: the interval, and whether it is sure."""
    if test.low is None or test.high is None:
        return f"No learning rate can be suggested for {test.optimizer}: {test.advice.doubts[0]}."
    sure = "" if not test.advice.doubts else " (not sure)"
    return f"Train {test.optimizer} at a learning rate from {rate(test.low)} to {rate(test.high)}{sure}."


def facts(test: RangeTest) -> dict[str, Any]:
    """Plain values for JSON; a loss that is not finite is null."""
    return {
        "problem": test.problem, "model": test.model, "optimizer": test.optimizer, "batch": test.batch,
        "low": test.low, "high": test.high, "reasons": list(test.advice.reasons), "doubts": list(test.advice.doubts),
        "chance": test.chance,
        "rates": list(test.rates), "losses": [[_or_none(x) for x in row] for row in test.losses],
        "tried": [{**vars(row), "loss": _or_none(row.loss)} for row in test.checked],
    }  # fmt: skip


def rows(test: RangeTest) -> list[tuple[str, str, str, str]]:
    """The rates that were tried, as text."""
    return [
        (
            rate(row.rate), plain(row.loss) if math.isfinite(row.loss) else NOTHING, _word(row, len(test.losses)),
            "•" * row.suggested,
        )
        for row in test.checked
    ]  # fmt: skip


def _word(row: Checked, seeds: int) -> str:
    some = row.symptom == "no better than chance" and row.at_chance < seeds
    return f"{row.symptom} in {row.at_chance} of {seeds}" if some else row.symptom


def table(test: RangeTest) -> RenderableType:
    """The view in a terminal."""
    batch = f" · batch {test.batch}" if test.batch else ""
    head = f"{test.problem} · {test.model} · {test.optimizer}{batch} · {times(len(test.losses), 'seed')}"
    parts: list[RenderableType] = [Text(head, style="bold"), Text(_spark(test))]
    if test.checked:
        grid = Table(box=None, pad_edge=False)
        for place, name in enumerate(HEADS):
            grid.add_column(name, header_style="dim", justify="left" if place == 2 else "right")
        for row, text in zip(test.checked, rows(test), strict=True):
            grid.add_row(*text, style="bold" if row.suggested else "")
        parts.append(grid)
    parts += [Text(f"Why: {line}.") for line in test.advice.reasons]
    parts += [Text(f"Not sure: {line}.", style="yellow") for line in test.advice.doubts if test.low is not None]
    parts.append(Text(verdict(test), style="bold green" if test.low else "bold yellow"))
    return Group(*parts)


def _spark(test: RangeTest) -> str:
    """The first seed's sweep as a line of bars, from its first to its last rate."""
    reading = test.readings[0]
    if len(reading.means) < 2:
        return ""
    count = min(48, len(reading.means))
    means = [reading.means[place * (len(reading.means) - 1) // (count - 1)] for place in range(count)]
    low, top = min(means), max(means[0], min(means))
    high = max(low + 1e-12, min(max(means), low + 1.5 * (top - low)))  # what rises far above the start is cut off
    bars = "".join(BARS[round((min(mean, high) - low) / (high - low) * (len(BARS) - 1))] for mean in means)
    return f"{rate(reading.rates[0])} {bars} {rate(reading.rates[-1])}"


def fragment(test: RangeTest) -> str:
    """What ``_repr_html_`` gives: the sentence, the table and a drawing without a script."""
    cell = 'style="text-align:left;padding:0.2em 1em 0.2em 0"'
    body = "".join("<tr>" + "".join(f"<td {cell}>{escape(c)}</td>" for c in row) + "</tr>" for row in rows(test))
    head = "".join(f'<th scope="col" {cell}>{escape(name)}</th>' for name in HEADS)
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in (*test.advice.reasons, *test.advice.doubts))
    return (
        f'<div class="ravine"><p><strong>{escape(verdict(test))}</strong></p>{_svg(test)}{grid}<ul>{lines}</ul></div>'
    )


def _svg(test: RangeTest) -> str:
    """The sweeps as lines over the logarithm of the rate; what rises above the start is cut off."""
    seen = [reading for reading in test.readings if len(reading.means) > 1]
    if not seen:
        return ""
    low, high = min(min(r.means) for r in seen), max(r.means[0] for r in seen)
    span, left, right = max(1.2 * (high - low), 1e-12), math.log(test.rates[0]), math.log(test.rates[-1])

    def x(at: float) -> float:
        return 10 + 500 * (math.log(at) - left) / (right - left)

    lines = ""
    for reading in seen:
        points = zip(reading.rates, reading.means, strict=True)
        path = " ".join(f"{x(at):.1f},{10 + 120 * max(0.0, 1 - (mean - low) / span):.1f}" for at, mean in points)
        lines += f'<polyline points="{path}" fill="none" stroke="{look(test.optimizer).colour}" stroke-width="1.5"/>'
    band = ""
    if test.low is not None and test.high is not None:
        width = max(1.0, x(test.high) - x(test.low))
        band = (
            f'<rect x="{x(test.low):.1f}" y="5" width="{width:.1f}" height="130" fill="currentColor" opacity="0.12"/>'
        )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 520 160" font-family="sans-serif" '
        'font-size="12" fill="currentColor" style="max-width:520px;width:100%;display:block">'
        f"<title>Training loss while the learning rate grows</title>{band}{lines}"
        f'<text x="10" y="152">{rate(test.rates[0])}</text>'
        f'<text x="510" y="152" text-anchor="end">{rate(test.rates[-1])}</text>'
        '<text x="260" y="152" text-anchor="middle">learning rate (log scale)</text></svg>'
    )


def plot(test: RangeTest) -> Any:
    """The Plotly figure: a line a seed, the interval, and the marks that it rests on."""
    style = look(test.optimizer)
    seen = [reading for reading in test.readings if reading.means]
    traces = [
        {"type": "scatter", "mode": "lines", "name": f"seed {place}", "x": reading.rates, "y": reading.means,
         "line": {"color": style.colour, "width": 1.5}, "hovertemplate": "rate %{x:.3g}<br>loss %{y:.4g}"}
        for place, reading in enumerate(seen)
    ]  # fmt: skip
    starts = [reading.means[0] for reading in seen] or [1.0]
    shown = [min(mean, 2 * max(map(abs, starts))) for reading in seen for mean in reading.means] or [0.0, 1.0]
    x = {**log_axis(test.rates[0], test.rates[-1], 9), "title": "learning rate (log scale)"}
    y = {**loss_axis(shown), "title": "training loss"}
    made = figure(traces, x=x, y=y, height=400, showlegend=False)
    if test.low is not None and test.high is not None:
        made.add_vrect(x0=test.low, x1=test.high, fillcolor=style.veil(0.12), line_width=0, layer="below")
    for mark in (mark for reading in seen for mark in (reading.steepest, reading.lowest, reading.diverges) if mark):
        made.add_vline(x=mark, line={"color": LINE, "width": 1, "dash": "dot"})
    return made


def swept(test: RangeTest) -> str:
    """What the sweep shows, as the heading over its figure."""
    reasons = test.advice.reasons
    return (
        f"In the sweep {', and '.join((reasons[0], reasons[-1]))}" if reasons else "The sweep shows no rate that trains"
    )


def tried(test: RangeTest) -> str:
    """What the constant rates show, as the heading over their table."""
    good = sum(row.symptom == "good" for row in test.checked)
    return f"{good or 'None'} of {times(len(test.checked), 'constant rate')} {'looks' if good == 1 else 'look'} good"


def html(test: RangeTest) -> str:
    """The whole page as text."""
    return rendered(
        "page.html", Path(__file__).parent, test=test, verdict=verdict(test), figure=figure_data(plot(test)),
        swept=swept(test), found=tried(test),
        reasons=test.advice.reasons, doubts=test.advice.doubts, rows=rows(test), steps=len(test.rates),
    )  # fmt: skip


def write(test: RangeTest, path: Path) -> Path:
    """Write the page; the file is whole or not there at all."""
    return write_page(html(test), path)


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
