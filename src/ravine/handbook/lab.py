"""The page of the lab: each claim, how it is put to the test, and the verdict of a whole run, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from ravine.handbook.draw import DASHES, Frame, axes, line, stroke, svg, text, ticks
from ravine.handbook.figures import legend
from ravine.handbook.markdown import block, figure, linked, plain, table
from ravine.lab import Chart, Experiment, Series, Verdict, catalogue
from ravine.lab.outcome import shown
from ravine.report.palette import COLOURS

INTRODUCTION = """\
Each experiment puts one claim of the lectures to the test and says what came of it, by rule. `ravine lab` lists them,
`ravine lab NAME` trains, measures, and writes a page with figures; `--quick` shows it at work in a minute.

A claim comes down to *checks*: numbers that must lie above a bound. Each is a difference paired by seed, with an
interval by Student's t at 95 %, widened for the number of checks of its experiment (Bonferroni). A check is told only
where its whole interval lies on one side of the bound. All checks hold: the claim **holds**. Some: it **holds with
limits**. None, and at least one is told against it: it **does not hold**. Not one could be told: **not decided**.
What is below was measured by the commands it names, at the scale it names: a claim that fails there
may hold at a larger one."""
ANSWERS = {"yes": "holds", "no": "does not", "open": "not told"}
ROW = 26  # pixels of an arm


def page(verdicts: Path | None) -> str:
    """The page; ``verdicts`` is a folder with a file NAME.json, as ``ravine lab NAME --json`` prints it."""
    parts = ["# Lab: claims of the lectures, measured", INTRODUCTION]
    found = {name: _kept(verdicts, name) for name in catalogue()}
    parts.append(_summary(catalogue(), found))
    for name, one in catalogue().items():
        parts += _section(one, found[name])
    if verdicts is not None and (verdicts / "published.json").exists():
        parts += _published(verdicts)
    return "\n\n".join(parts)


def _kept(folder: Path | None, name: str) -> Verdict | None:
    path = folder / f"{name}.json" if folder is not None else None
    return Verdict.model_validate_json(path.read_text()) if path is not None and path.exists() else None


def _summary(known: Mapping[str, Experiment], found: Mapping[str, Verdict | None]) -> str:
    rows = [
        (f"[`{name}`](#{name})", plain(one.claim), one.lecture.split()[0].strip(","), _word(found[name]))
        for name, one in known.items()
    ]
    return table(("experiment", "claim", "lecture", "verdict"), rows)


def _word(verdict: Verdict | None) -> str:
    return "not measured yet" if verdict is None else f"**{verdict.word}**"


def _section(one: Experiment, verdict: Verdict | None) -> Iterator[str]:
    yield f"## {one.title} {{ #{one.name} }}"
    yield f"**Claim** ({linked(one.lecture)}). {plain(one.claim)}"
    yield f"**How.** {plain(one.how)}"
    yield f"```\nravine lab {one.name}\n```"
    if verdict is None:
        return
    yield f"**Verdict: {verdict.sentence}.** {plain(verdict.measured)}"
    rows = [(plain(c.says), plain(c.shown), f"above {c.least:g}", ANSWERS[c.answer]) for c in verdict.checks]
    yield table(("check", "found", "claimed", ""), rows, right=(1,))
    columns = list(verdict.rows[0].cells)
    cells = [(plain(row.name), *(shown(row.cells[column]) for column in columns)) for row in verdict.rows]
    yield table(("", *columns), cells, right=range(1, len(columns) + 1))
    for chart in verdict.charts:
        yield drawing(chart)
    if verdict.notes:
        yield "\n".join(f"- {plain(note)}" for note in verdict.notes)


def _published(folder: Path) -> Iterator[str]:
    """The run at full size beside the published figure: the recipe, the curve, the test error looked at once."""
    kept = json.loads((folder / "published.json").read_text())
    epochs, error = [row[0] for row in kept["curve"]], [100 * (1 - row[2]) for row in kept["curve"]]
    yield "## MNIST at full size: dropout and max-norm { #published }"
    yield (
        "The published error is 1.05 % (lecture S0; Srivastava et al. 2014); a fully specified public run reaches it "
        f"after 264,000 updates on all 60,000 images. {plain(kept['words'])}"
    )
    yield f"```toml\n{(folder / 'published.toml').read_text().strip()}\n```"
    yield "```\nravine train published.toml --out mnist-dropout --test\n```"
    shown_error = Series(name="validation", x=list(epochs), y=error, low=error, high=error)
    yield drawing(
        Chart(finding=kept["finding"], kind="lines", x="epoch", y="validation error (%)", series=[shown_error])
    )


def drawing(chart: Chart) -> str:
    """The chart as SVG with switches for its series."""
    how = {s.name: (COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]) for i, s in enumerate(chart.series)}
    drawn = _lines(chart, how) if chart.kind == "lines" else _dots(chart, how)
    switches = legend(how) if len(how) > 1 else ""
    return block(switches, figure(drawn, chart.finding))


def _lines(chart: Chart, how: Mapping[str, tuple[str, str]]) -> str:
    xs = [float(x) for series in chart.series for x in series.x]
    low, high = _ends([v for series in chart.series for v in (*series.low, *series.high)], chart.series)
    frame = Frame((min(xs), max(xs)), (low, high), 600, 260, 56, 34)
    parts = [axes(frame, chart.x, chart.y, ticks(min(xs), max(xs), 7), ticks(low, high))]
    for place, series in enumerate(chart.series):
        colour, dash = how[series.name]
        at = [float(x) for x in series.x]
        bounded = [[min(max(v, low), high) for v in each] for each in (series.low, series.y, series.high)]
        under, mean, over = ([frame.at(x, v) for x, v in zip(at, each, strict=True)] for each in bounded)
        band = f'<path d="{line([*over, *reversed(under)])}Z" fill="{colour}" fill-opacity=".13"/>'
        about = f"<title>{escape(series.name)}</title>"
        parts.append(f'<g class="rv-line k{place}">{about}{band}{stroke(line(mean), colour, 2.2, dash)}</g>')
    return svg(680, 344, "".join(parts), chart.finding)


def _dots(chart: Chart, how: Mapping[str, tuple[str, str]]) -> str:
    names = [str(name) for name in chart.series[0].x]
    low, high = _ends([v for series in chart.series for v in (*series.low, *series.high)], chart.series)
    height = ROW * len(names)
    frame = Frame((low, high), (0, len(names)), 460, height, 190, 14)
    parts = [axes(frame, chart.x, "", ticks(low, high), [])]
    for row, name in enumerate(names):
        _, y = frame.at(low, len(names) - row - 0.5)
        parts.append(f'<g class="rv-axes"><path d="M190 {y:g}h460"/>{text(182, y + 4, name, "end")}</g>')
    for place, series in enumerate(chart.series):
        own = "".join(_bar(frame, series, row, how[series.name][0], low, high) for row in range(len(names)))
        parts.append(f'<g class="rv-line k{place}"><title>{escape(series.name)}</title>{own}</g>')
    return svg(680, height + 66, "".join(parts), chart.finding)


def _bar(frame: Frame, series: Series, row: int, colour: str, low: float, high: float) -> str:
    ends = [min(max(v, low), high) for v in (series.low[row], series.y[row], series.high[row])]
    (left, y), (middle, _), (right, _) = (frame.at(v, len(series.x) - row - 0.5) for v in ends)
    dot = f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="none"/>'
    return stroke(f"M{left:.1f} {y:.1f}H{right:.1f}", colour, 2.4) + dot


def _ends(values: Sequence[float], series: Sequence[Series]) -> tuple[float, float]:
    """The axis: all means, and bars as far as they do not dwarf these."""
    means = [y for one in series for y in one.y]
    least, most = min(means), max(means)
    wide = max(most - least, 1e-9)
    low, high = max(min(values), least - wide), min(max(values), most + wide)
    pad = 0.06 * (high - low or abs(high) or 1.0)
    return low - pad, high + pad
