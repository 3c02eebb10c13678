"""Small static drawings of intervals: a dot and a bar a finalist, for a table's cell and for a notebook."""

from __future__ import annotations

from html import escape

from ravine.reading import finalists
from ravine.report.numbers import plain
from ravine.report.palette import look
from ravine.results import Interval, RaceResult, Standing

Scale = tuple[float, float]  # the losses at the left and right end


def scale(result: RaceResult) -> Scale | None:
    """One scale for every finalist, tuned and at its defaults; None where no finalist is."""
    known = [i for s in finalists(result) for i in (s.valid_loss, s.default_loss) if i is not None]
    if not known:
        return None
    low, high = min(i.low for i in known), max(i.high for i in known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bar(interval: Interval, on: Scale, left: float, width: float, y: float, colour: str, fill: str) -> str:
    low, mean, high = (
        left + width * (x - on[0]) / (on[1] - on[0]) for x in (interval.low, interval.mean, interval.high)
    )
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"'
        f' stroke-linecap="round"/><circle cx="{mean:.1f}" cy="{y}" r="4"'
        f' fill="{fill}" stroke="{colour}" stroke-width="2"/>'
    )


def _pair(standing: Standing, on: Scale, left: float, width: float, y: float) -> str:
    """A finalist's loss as a filled dot, and just under it, hollow, at its defaults."""
    colour = look(standing.rule).colour
    tuned = _bar(standing.valid_loss, on, left, width, y, colour, colour)
    return tuned + (
        _bar(standing.default_loss, on, left, width, y + 11, colour, "none") if standing.default_loss else ""
    )


def strip(standing: Standing, on: Scale | None) -> str:
    """The cell of a ranking: nothing for a contender that had one run."""
    if on is None or not standing.finalist:
        return ""
    return (
        f'<svg viewBox="0 0 160 26" width="160" height="26" aria-hidden="true">{_pair(standing, on, 7, 146, 7)}</svg>'
    )


def intervals(result: RaceResult) -> str:
    """All finalists in one drawing, with names and the ends of the scale."""
    on, shown = scale(result), finalists(result)
    if on is None:
        return ""
    foot = 14 + 32 * len(shown)
    name = '<text x="122" y="{}" text-anchor="end">{}</text>'
    rows = "".join(
        name.format(22 + 32 * i, escape(s.rule)) + _pair(s, on, 140, 360, 17 + 32 * i) for i, s in enumerate(shown)
    )
    grey = 'stroke="currentColor" stroke-opacity="0.35"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 520 {foot + 40}" '
        f'style="max-width:520px;width:100%;display:block" font-family="sans-serif" font-size="13" fill="currentColor">'
        f"<title>Validation loss of the finalists, with intervals</title>{rows}"
        f'<line x1="140" x2="500" y1="{foot}" y2="{foot}" {grey}/>'
        f'<text x="140" y="{foot + 16}">{plain(on[0])}</text>'
        f'<text x="500" y="{foot + 16}" text-anchor="end">{plain(on[1])}</text>'
        f'<text x="320" y="{foot + 33}" text-anchor="middle">'
        "validation loss: ● tuned, ○ at its defaults</text></svg>"
    )
