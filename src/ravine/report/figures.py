"""The figures of a page, as Plotly's; colours of text and grid come from the page, which knows light from dark."""

from __future__ import annotations

from html import escape
from typing import Any

from ravine.reading import (
    by_rule,
    contenders,
    default_rates,
    early_loss,
    envelope,
    finalists,
    finite,
    first_epochs,
    good_loss,
    repeats,
)
from ravine.report.axes import ceiling, held, log_axis, loss_axis
from ravine.report.findings import tried
from ravine.report.palette import FAINT, LINE, OUTCOMES, Look, look
from ravine.results import RaceResult, RunResult

LOSS = "validation loss (mean per example)"
RATE = "learning rate (log scale)"
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"}


def figure(traces: list[Any], *, x: dict[str, Any], y: dict[str, Any], height: int, **layout: Any) -> Any:
    """A figure without a title (the page has it), frame or toolbar."""
    import plotly.graph_objects as go

    axis: dict[str, Any] = {"zeroline": False, "automargin": True, "ticks": "outside", "ticklen": 4, "tickangle": 0}
    made = go.Figure(traces)
    made.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        dragmode=False,
        hoverlabel={"align": "left"},
        xaxis=_merged(axis, x),
        yaxis=_merged(axis, y),
        **layout,
    )
    return made


def _merged(axis: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {**axis, **own, "title": {"text": own.get("title", ""), "standoff": 8}}


def _hover(runs: list[RunResult]) -> list[str]:
    return [escape(tried(run)).replace(" · ", "<br>") for run in runs]


def rate_axis(result: RaceResult, most: int) -> dict[str, Any]:
    """One axis of the learning rate for all rules."""
    tries = [run.hypers["lr"] for run in rated(result)]
    ends = [end for space in result.spaces.values() for end in space.get("lr", ()) if end > 0]
    every = [*tries, *ends, *(rate for rate in default_rates(result).values() if rate > 0)] or [1e-3]
    return log_axis(min(every) / 1.6, max(every) * 1.6, most)


def rated(result: RaceResult) -> list[RunResult]:
    """The contenders that have a learning rate, best rule first."""
    return [run for runs in by_rule(result).values() for run in runs if run.hypers.get("lr", 0) > 0]


def rate_figures(result: RaceResult) -> dict[str, Any]:
    """Loss against learning rate, one small figure a rule on common axes."""
    runs = rated(result)
    losses = [loss for run in runs for loss in (early_loss(result, run), run.valid_loss) if loss is not None]
    if not losses:
        return {}
    x, y = rate_axis(result, 5), loss_axis(losses)
    return {rule: _rate_figure(result, rule, runs, x, y) for rule in dict.fromkeys(run.rule for run in runs)}


def _rate_figure(result: RaceResult, rule: str, runs: list[RunResult], x: dict[str, Any], y: dict[str, Any]) -> Any:
    style = look(rule)
    early = {run.id: loss for run in runs if (loss := early_loss(result, run)) is not None}
    here = [run for run in runs if run.rule == rule]
    dead = [run for run in here if run.status == "diverged"]
    further = [run for run in here if run.id in early and run.curve[-1].epoch > first_epochs(result)]
    lowest = {run.id: run.valid_loss for run in further if run.valid_loss is not None}
    own = {"color": style.colour, "size": 8, "line": {"width": 1.6, "color": style.colour}}
    others = {run.id: early[run.id] for run in runs if run.rule != rule and run.id in early}
    traces = [
        _points(runs, others, "other rules", {"color": FAINT, "size": 5}, y) | {"hoverinfo": "skip"},
        _stems(further, early, lowest, style, y),
        _points(here, early, "first rung", own | {"symbol": f"{style.marker}-open"}, y),
        _points(here, lowest, "lowest", own | {"symbol": style.marker}, y),
        _points(dead, {run.id: ceiling(y) for run in dead}, "diverged", _outcome("diverged", 9), y),
    ]
    fitted = figure(traces, x={**x, "title": RATE}, y={**y, "title": "validation loss"}, height=230, showlegend=False)
    _guides(fitted, result, rule, style)
    return fitted


def _guides(fitted: Any, result: RaceResult, rule: str, style: Look) -> None:
    """The rule's default, the searched range, and the loss below which a configuration does well."""
    if default := default_rates(result).get(rule):
        fitted.add_vline(x=default, line={"color": LINE, "width": 1.5, "dash": "dot"})
    if (good := good_loss(result)) is not None:
        fitted.add_hline(y=good, line={"color": LINE, "width": 1, "dash": "dash"})
    low, high = result.spaces.get(rule, {}).get("lr", (0.0, 0.0))
    if 0 < low < high:
        fitted.add_vrect(x0=low, x1=high, fillcolor=style.veil(0.09), line_width=0, layer="below")


def _outcome(name: str, size: int) -> dict[str, Any]:
    colour, symbol = OUTCOMES[name]
    stroke = 2.4 if symbol.endswith("thin") else 1.6
    return {"color": colour, "symbol": symbol, "size": size, "line": {"width": stroke, "color": colour}}


def _points(
    runs: list[RunResult], at: dict[str, float], name: str, marker: dict[str, Any], axis: dict[str, Any]
) -> dict[str, Any]:
    """The runs that have a loss in ``at``."""
    shown = [run for run in runs if run.id in at]
    place = {"x": [run.hypers["lr"] for run in shown], "y": [held(at[run.id], axis) for run in shown]}
    hover = {"hoverinfo": "text", "hovertext": _hover(shown)}
    return {"type": "scatter", "mode": "markers", "name": name, "marker": marker} | place | hover


def _stems(
    runs: list[RunResult], early: dict[str, float], lowest: dict[str, float], style: Look, axis: dict[str, Any]
) -> dict[str, Any]:
    """A line from the loss after the first rung down to the lowest."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for run in runs:
        xs += [run.hypers["lr"], run.hypers["lr"], None]
        ys += [held(early[run.id], axis), held(lowest[run.id], axis), None]
    line = {"color": style.colour, "width": 1}
    return {"type": "scatter", "mode": "lines", "name": "stem", "x": xs, "y": ys, "line": line, "hoverinfo": "skip"}


def curve_figure(result: RaceResult) -> Any | None:
    """Validation loss over epochs: finalists with a band from the lowest to the highest seed, contenders behind."""
    behind = [run for run in contenders(result) if len(finite(run.curve)) > 1]
    ours = [(standing, envelope(repeats(result, standing))) for standing in finalists(result)]
    seen = [p.valid_loss for run in behind if run.status != "diverged" for p in finite(run.curve)]
    seen += [end for _, bands in ours for _, band in bands for end in (band.low, band.high)]
    if not seen:
        return None
    xs: list[float | None] = [e for run in behind for e in (*(p.epoch for p in finite(run.curve)), None)]
    ys: list[float | None] = [e for run in behind for e in (*(p.valid_loss for p in finite(run.curve)), None)]
    faint = {"color": FAINT, "width": 1}
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "contenders", "x": xs, "y": ys, "line": faint, "hoverinfo": "skip"}
    ]
    for standing, bands in ours:
        traces += _banded(standing.rule, bands)
    x = {"title": "epoch", "rangemode": "tozero"}
    y = {**loss_axis(seen), "title": LOSS}
    return figure(traces, x=x, y=y, height=400, legend=LEGEND, showlegend=True, hovermode="x unified")


def _banded(rule: str, bands: list[tuple[float, Any]]) -> list[dict[str, Any]]:
    style, name = look(rule), escape(rule)
    epochs = [epoch for epoch, _ in bands]
    edge = [band.high for _, band in bands] + [band.low for _, band in reversed(bands)]
    line = {"color": style.colour, "dash": style.dash, "width": 2.5}
    common = {"type": "scatter", "legendgroup": name}
    band = {"mode": "lines", "x": epochs + epochs[::-1], "y": edge, "fill": "toself", "fillcolor": style.veil(0.18)}
    mean = {"mode": "lines", "x": epochs, "y": [b.mean for _, b in bands], "line": line, "name": name}
    quiet = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "name": f"{name}, all seeds"}
    return [common | band | quiet, common | mean | {"hovertemplate": "%{y:.4g}"}]


def failure_figure(result: RaceResult) -> Any | None:
    """Every configuration at its rule and learning rate, drawn by what became of it."""
    runs = rated(result)
    if not runs:
        return None
    rules = list(dict.fromkeys(escape(run.rule) for run in runs))
    traces: list[dict[str, Any]] = []
    for outcome in OUTCOMES:
        those = [run for run in runs if run.status == outcome]
        place = {"x": [run.hypers["lr"] for run in those], "y": [escape(run.rule) for run in those]}
        hover = {"hoverinfo": "text", "hovertext": _hover(those), "marker": _outcome(outcome, 10)}
        if those:
            traces.append({"type": "scatter", "mode": "markers", "name": outcome} | place | hover)
    y = {"type": "category", "categoryorder": "array", "categoryarray": rules[::-1], "title": "rule"}
    x = {**rate_axis(result, 6), "title": RATE}
    return figure(traces, x=x, y=y, height=110 + 34 * len(rules), legend=LEGEND, showlegend=True)


def difference_figure(result: RaceResult) -> Any | None:
    """Each finalist's loss less the winner's, paired by seed, with its interval."""
    rows = [(standing, standing.difference) for standing in finalists(result)]
    if len(rows) < 2:
        return None
    traces: list[dict[str, Any]] = []
    for standing, d in rows:
        style, name = look(standing.rule), escape(standing.rule)
        mean, low, high = (d.mean, d.low, d.high) if d else (0.0, 0.0, 0.0)
        bar = {"type": "data", "symmetric": False, "array": [high - mean], "arrayminus": [mean - low], "thickness": 2.5}
        marker = {"color": style.colour, "symbol": style.marker, "size": 12}
        trace = {"type": "scatter", "mode": "markers", "name": name, "x": [mean], "y": [name], "marker": marker}
        word = f"{mean:+.3g}, 95 % interval {low:+.3g} to {high:+.3g}" if d else "the winner"
        whisker = {"error_x": {**bar, "width": 7, "color": style.colour}} if d else {}
        traces.append(trace | whisker | {"hoverinfo": "text", "hovertext": [f"{name}: {word}"]})
    names = [escape(standing.rule) for standing, _ in rows]
    y = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "range": [-0.6, len(names) - 0.4]}
    x = {"title": f"validation loss less {names[0]}'s, same seeds", "nticks": 6}
    fitted = figure(traces, x=x, y=y, height=110 + 46 * len(rows), showlegend=False)
    fitted.add_vline(x=0, line={"color": LINE, "width": 1.5}, layer="below")
    return fitted
