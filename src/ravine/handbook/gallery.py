"""The gallery: every family's path on every test surface."""

from __future__ import annotations

import math
from html import escape

from ravine.handbook import figures
from ravine.handbook.known import Known
from ravine.handbook.markdown import block, figure, plain, table
from ravine.handbook.walk import ARRIVED, ASIDE, CLIMB, RATES, SPREAD, STEPS
from ravine.report.palette import look
from ravine.surfaces import SURFACES, Surface

WIDE = "---\nhide: [toc]\n---"
HOW = (
    f"Every rule walks {STEPS} steps with exact gradients, its other hyperparameters at their defaults. Its learning "
    f"rate is the best of {RATES} on a logarithmic scale that reaches a decade beyond the range a race searches: the "
    f"one with the lowest mean, over all steps, of the logarithm of the height above the minimum, over {len(ASIDE)} "
    f"starts up to {SPREAD:.0%} of the map apart, so that no lucky jump decides. Rates that climb above {CLIMB:g} "
    "times the first height count only where every rate does."
)
WARNING = (
    "A surface of two variables without noise says how a rule moves, not which one trains your network best: "
    "that is what [a race](../race.md) is for."
)


def pages(known: Known) -> dict[str, str]:
    """The gallery's pages by their path."""
    own = {f"gallery/{name}.md": page(known, surface) for name, surface in SURFACES.items()}
    return {"gallery/index.md": index(known), **own}


def index(known: Known) -> str:
    """A map of each surface with a few paths."""
    few = contenders(known)
    how = {name: (look(name).colour, "") for name in few}
    cards = [
        f'<a class="rv-card" href="{name}.html">'
        + figures.paths(surface, [known.paths[rule, name] for rule in few], how, surface.title)
        + f"<b>{escape(surface.title)}</b><span>{escape(surface.note)}</span></a>"
        for name, surface in SURFACES.items()
    ]
    grid = f'<div class="rv-grid">{"".join(cards)}</div>'
    lead = (
        f"The rules that a race runs by default, on {len(SURFACES)} classics. Behind each map is a page of all rules."
    )
    return "\n\n".join(
        [WIDE, "# Gallery", lead, block(figures.legend(how), grid), f"**How the rates were chosen.** {HOW}", WARNING]
    )


def card(known: Known, surface: Surface) -> str:
    """A map with the contenders and switches, for a page of another kind."""
    few = contenders(known)
    how = {name: (look(name).colour, "") for name in few}
    drawing = figures.paths(surface, [known.paths[rule, surface.name] for rule in few], how, surface.title)
    return block(figures.legend(how), figure(drawing, f"<b>{escape(surface.title)}</b>. {escape(surface.note)}"))


def contenders(known: Known) -> list[str]:
    """The families' own forms that race by default and can be drawn."""
    found = [name for name in known.own() if known.entries[name].raced_by_default]
    return [name for name in found if (name, next(iter(SURFACES))) in known.paths]


def page(known: Known, surface: Surface) -> str:
    """One surface: all families on one map, each on a map of its own, and who arrived when."""
    own = [name for name in known.own() if (name, surface.name) in known.paths]
    how = {name: (look(name).colour, "") for name in own}
    walks = [known.paths[name, surface.name] for name in own]
    (left, right), (low, high) = surface.bounds
    axes = f"x from {left:g} to {right:g}, y from {low:g} to {high:g}"
    every = figures.paths(surface, walks, how, surface.title)
    together = block(figures.legend(how, contenders(known)), figure(every, f"{axes}. Switch lines on and off above."))
    alone = "".join(
        f'<a class="rv-card" href="../rules/{known.entries[walk.rule].family}.html">'
        f"{figures.paths(surface, [walk], how, walk.rule, again=True)}<b>{escape(known.title(walk.rule))}</b></a>"
        for walk in walks
    )
    return "\n\n".join(
        [
            WIDE,
            f"# {surface.title}",
            plain(surface.note),
            together,
            "## Each by itself",
            f'<div class="rv-grid rv-small" markdown="0">{alone}</div>',
            "## Who arrives",
            _arrivals(known, surface, own),
            f"*Steps until less than {ARRIVED:.0%} of the height at the start is left for good; the median of "
            f"{len(ASIDE)} starts.* {HOW}",
            WARNING,
        ]
    )


def _arrivals(known: Known, surface: Surface, names: list[str]) -> str:
    walks = sorted((known.paths[name, surface.name] for name in names), key=lambda p: (p.arrival, p.score))
    rows = [
        (
            f"[{known.title(walk.rule)}](../rules/{known.entries[walk.rule].family}.md)",
            "none" if walk.rate is None else f"{walk.rate:g}",
            f"not in {STEPS}" if math.isinf(walk.arrival) else f"{walk.arrival:g}",
        )
        for walk in walks
    ]
    return table(("rule", "learning rate", "steps"), rows, right=(1, 2))
