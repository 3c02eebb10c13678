"""A study of batch sizes in a terminal and as a page; draws what was found, computes nothing but means."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ravine.batches.noise import GradientNoise
from ravine.batches.result import BatchStudy, Moment, Size
from ravine.batches.speed import knee
from ravine.report.figures import LEGEND, figure, log_axis, loss_axis
from ravine.report.numbers import NOTHING, epochs, plain, rate, spread, times
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS, DASHES, LINE, MARKERS

HEADS = ("batch", "lr", "valid. loss", "less the first", "at the first lr", "samples/s", "")
NOISE = ("epoch", "noise scale", "standard error at the first size, of |g|", "slope")


def verdict(study: BatchStudy) -> str:
    """One sentence: the size, its rate, and how far scaling holds."""
    last = study.sizes[-1].batch
    held = study.largest
    words = f"the {study.law} law holds up to {held}" + (", the largest tried" if held == last else "")
    quick = {speed.batch: speed.samples for speed in study.speeds}
    gain = ""
    if study.batch != study.base and study.batch in quick and study.base in quick:
        gain = f", {quick[study.batch] / quick[study.base]:.1f} x the samples a second of {study.base}"
    return f"Train {study.rule} at batch {study.batch} and lr {rate(study.batch_rate)}{gain}: {words}."


def scale_text(moment: Moment) -> str:
    """The noise scale with its interval."""
    found = moment.scale
    return NOTHING if found is None else f"{plain(found.mean, 2)} [{plain(found.low, 2)}, {plain(found.high, 2)}]"


def noise_rows(study: BatchStudy) -> list[tuple[str, ...]]:
    """The moments as text."""
    made: list[tuple[str, ...]] = []
    for moment in study.moments:
        share = [noise.error(study.base) / noise.norm for noise in moment.noises if noise.norm > 0]
        low, high = moment.slope.low, moment.slope.high
        error = plain(mean(share), 2) if share else NOTHING
        made.append((f"{moment.epoch:g}", scale_text(moment), error, spread(moment.slope.mean, low, high)))
    return made


def rows(study: BatchStudy) -> list[tuple[str, ...]]:
    """The sizes as text."""
    first = study.sizes[0].batch
    return [
        (str(size.batch), rate(size.scaled.rate), *_losses(size, first), _word(study, size)) for size in study.sizes
    ]


def _losses(size: Size, first: int) -> tuple[str, str, str, str]:
    loss = NOTHING if size.scaled.lost else plain(mean(size.scaled.last))
    behind = NOTHING
    if size.behind is not None and size.batch != first:
        behind = spread(size.behind.mean, size.behind.low, size.behind.high)
    other = NOTHING if size.plain.lost else plain(mean(size.plain.last))
    return loss, behind, other, f"{size.speed.samples:,.0f}" if size.speed else NOTHING


def _word(study: BatchStudy, size: Size) -> str:
    if size.batch == study.batch:
        return "suggested"
    return "lost" if size.scaled.lost else "holds" if size.holds else "worse"


def notes(study: BatchStudy) -> list[str]:
    """What else is to be said."""
    top = study.speeds[-1]
    words = f"throughput reaches nine tenths of its best at batch {knee(study.speeds)}"
    found = [f"{words}, of {study.speeds[0].batch} to {top.batch} timed" + (f"; {study.ended}" if study.ended else "")]
    scale = study.moments[-1].scale
    if scale is not None:
        found.append(
            f"the gradient noise scale, tr(S)/|g|², is {scale_text(study.moments[0])} before training and "
            f"{scale_text(study.moments[-1])} at its end: sizes far above it gain little"
        )
    lost = [size for size in study.sizes if size.scaled.lost]
    found += [f"batch {size.batch} was lost at lr {rate(size.scaled.rate)} ({size.scaled.lost})" for size in lost]
    return found


def table(study: BatchStudy) -> RenderableType:
    """The view in a terminal."""
    long = f"{epochs(study.epochs)} · {times(len(study.seeds), 'seed')}"
    head = f"{study.problem} · {study.model} · {study.rule} · {long}"
    parts: list[RenderableType] = [Text(head, style="bold"), _grid(HEADS, rows(study), 6, "suggested")]
    parts += [Text(), _grid(("epoch", "noise scale", "error / |g|", "slope"), noise_rows(study), 9, "")]
    parts += [Text(f"{note[0].upper()}{note[1:]}.") for note in notes(study)]
    return Group(*parts, Text(verdict(study), style="bold green"))


def _grid(heads: tuple[str, ...], lines: list[tuple[str, ...]], left: int, strong: str) -> Table:
    grid = Table(box=None, pad_edge=False)
    for place, name in enumerate(heads):
        grid.add_column(name, header_style="dim", justify="left" if place == left else "right")
    for row in lines:
        grid.add_row(*row, style="bold" if strong and row[-1] == strong else "")
    return grid


def noise_figure(study: BatchStudy) -> Any:
    """The standard error of the gradient against the batch size, one line a moment."""
    traces: list[dict[str, Any]] = []
    for place, moment in enumerate(study.moments):
        sizes = moment.noises[0].sizes
        means = [math.exp(mean(math.log(noise.errors[at]) for noise in moment.noises)) for at in range(len(sizes))]
        trace = mean(math.log(noise.trace) for noise in moment.noises)
        own = {"color": COLOURS[place], "dash": DASHES[place]}
        name = f"epoch {moment.epoch:g}"
        common: dict[str, Any] = {"type": "scatter", "legendgroup": name, "x": list(sizes)}
        line = [math.exp((trace - math.log(size)) / 2) for size in sizes]
        marker = {"color": COLOURS[place], "symbol": MARKERS[place], "size": 9}
        traces.append({**common, "mode": "lines", "y": line, "line": own, "showlegend": False, "hoverinfo": "skip"})
        traces.append({**common, "mode": "markers", "name": name, "y": means, "marker": marker})
    values = [float(y) for trace in traces for y in trace["y"]]
    x = {**log_axis(0.8 * sizes_of(study)[0], 1.25 * sizes_of(study)[-1], 9), "title": "batch size (log scale)"}
    y = {**log_axis(0.8 * min(values), 1.25 * max(values), 7), "title": "standard error of the gradient (log scale)"}
    return figure(traces, x=x, y=y, height=340, legend=LEGEND, showlegend=True)


def sizes_of(study: BatchStudy) -> tuple[int, ...]:
    """The sizes at which the noise was measured."""
    first: GradientNoise = study.moments[0].noises[0]
    return first.sizes


def speed_figure(study: BatchStudy) -> Any:
    """Samples a second against the batch size."""
    batches = [speed.batch for speed in study.speeds]
    middle = [speed.samples for speed in study.speeds]
    bar = {
        "type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
        "array": [s.high - s.samples for s in study.speeds], "arrayminus": [s.samples - s.low for s in study.speeds],
    }  # fmt: skip
    trace = {
        "type": "scatter", "mode": "lines+markers", "x": batches, "y": middle, "error_y": bar,
        "marker": {"color": COLOURS[0], "size": 8}, "line": {"color": COLOURS[0], "width": 2},
        "hovertemplate": "batch %{x}<br>%{y:,.0f} samples/s",
    }  # fmt: skip
    x = {**log_axis(0.8 * batches[0], 1.25 * batches[-1], 9), "title": "batch size (log scale)"}
    y = {"title": "samples a second", "rangemode": "tozero"}
    made = figure([trace], x=x, y=y, height=300, showlegend=False)
    made.add_vline(x=knee(study.speeds), line={"color": LINE, "width": 1.5, "dash": "dot"})
    return made


def curve_figure(study: BatchStudy) -> Any:
    """Validation loss over epochs, one line a size at its scaled rate."""
    traces: list[dict[str, Any]] = []
    seen: list[float] = []
    for place, size in enumerate(study.sizes):
        means = [mean(column) for column in zip(*size.scaled.losses, strict=True)]
        kept = [(epoch, loss) for epoch, loss in zip(size.scaled.epochs, means, strict=True) if math.isfinite(loss)]
        seen += [loss for _, loss in kept]
        style = {"color": COLOURS[place % len(COLOURS)], "dash": DASHES[place % len(DASHES)], "width": 2.2}
        traces.append(
            {"type": "scatter", "mode": "lines", "name": f"batch {size.batch}", "x": [e for e, _ in kept],
             "y": [loss for _, loss in kept], "line": style, "hovertemplate": "%{y:.4g}"}
        )  # fmt: skip
    y = {**loss_axis(seen or [1.0]), "title": "validation loss (mean over seeds)"}
    x = {"title": "epoch", "rangemode": "tozero"}
    return figure(traces, x=x, y=y, height=380, legend=LEGEND, showlegend=True, hovermode="x unified")


def facts(study: BatchStudy) -> dict[str, Any]:
    """Plain values for JSON; a number that is not finite is null."""
    made: dict[str, Any] = {
        **_plain(asdict(study)), "verdict": verdict(study), "largest": study.largest, "knee": knee(study.speeds),
        "notes": notes(study),
    }  # fmt: skip
    for row, moment in zip(made["moments"], study.moments, strict=True):
        row["scale"] = None if moment.scale is None else _plain(moment.scale.model_dump())
        row["slope"] = _plain(moment.slope.model_dump())
    for row, size in zip(made["sizes"], study.sizes, strict=True):
        row["behind"] = None if size.behind is None else _plain(size.behind.model_dump())
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def html(study: BatchStudy) -> str:
    """The whole page as text."""
    return rendered(
        "page.html", Path(__file__).parent, s=study, verdict=verdict(study), heads=HEADS, rows=rows(study),
        noise_heads=NOISE, noise_rows=noise_rows(study), notes=notes(study), noise=figure_data(noise_figure(study)),
        speed=figure_data(speed_figure(study)), curves=figure_data(curve_figure(study)),
    )  # fmt: skip


def write(study: BatchStudy, path: Path) -> Path:
    """Write the page; the file is whole or not there at all."""
    return write_page(html(study), path)
