"""What a race shows while it runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ravine.racing.race import Moment, Race
from ravine.rules.rule import name_of, values

REFRESH = 0.25  # seconds between two pictures


def watch(running: Race, quiet: bool) -> Iterator[Moment]:
    """The race's moments, each shown as it passes."""
    console = Console(stderr=True)
    if quiet:
        yield from running.run()
    elif console.is_terminal:
        yield from _live(running, console)
    else:
        yield from _plain(running, console)


def headline(running: Race) -> str:
    """What was understood and chosen, before minutes are spent."""
    from ravine.models import count
    from ravine.report.numbers import epochs, times

    setup = running.setup
    size = count(running.model.module)
    understood = " · ".join([running.problem.name, *running.problem.understood])
    parameters = f"{size:,}" if size < 10_000 else f"{size / 1000:.0f}k"
    chosen = (
        f"{running.spec.model} ({parameters} parameters)"
        f" · {setup.budget} configurations of {len(setup.space.rules)} rules"
        f" · at most {epochs(running.clock.epochs)} of {times(running.clock.steps_per_epoch, 'step')}"
        f" · batch {running.clock.batch} · halving by {running.spec.eta}"
    )
    return f"{understood}\n{chosen}"


def _live(running: Race, console: Console) -> Iterator[Moment]:
    console.print(headline(running), highlight=False)
    shown = 0.0
    with Live(console=console, transient=True, auto_refresh=False) as live:
        for moment in running.run():
            if time.monotonic() - shown > REFRESH:
                shown = time.monotonic()
                live.update(picture(running, moment), refresh=True)
            yield moment


def picture(running: Race, moment: Moment) -> RenderableType:
    """The live table and the bar under it, whole in 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("stage", "lanes", "diverged", "best so far", "loss", "time", "left"):
        best = column == "best so far"  # the one that gives way where a terminal is narrow
        table.add_column(column, style="bold" if best else "", header_style="dim", no_wrap=not best)
    table.add_row(
        stage(running, moment), str(moment.lanes), str(moment.diverged), *_best(moment), _clock(moment.seconds),
        _clock(left(moment)) if moment.done > 0.02 else "…",
    )  # fmt: skip
    return Group(table, ProgressBar(total=1.0, completed=moment.done, width=min(72, 100)), Text())


def _plain(running: Race, console: Console) -> Iterator[Moment]:
    console.print(headline(running), highlight=False, soft_wrap=True)
    last = ""
    for moment in running.run():
        now = stage(running, moment)
        if now != last and moment.phase != "done":
            last = now
            rule, loss = _best(moment)
            lead = f", best so far {rule} {loss}" if loss else ""
            console.print(
                f"{_clock(moment.seconds)} {now}: {moment.lanes} lanes{lead}", highlight=False, soft_wrap=True
            )
        yield moment


def stage(running: Race, moment: Moment) -> str:
    """Where the race is, in words."""
    if moment.phase == "rungs":
        ticks = running.setup.rungs
        if moment.rung < len(ticks):
            return f"rung {moment.rung + 1} of {len(ticks)} (to epoch {running.clock.epoch_at(ticks[moment.rung]):.3g})"
    return {"pilot": "measuring speed", "finals": f"finals over {running.spec.seeds} seeds"}.get(moment.phase, "test")


def left(moment: Moment) -> float:
    """Seconds to go, if the rest goes at the pace so far."""
    return moment.seconds * (1 - moment.done) / max(moment.done, 1e-9)


def _best(moment: Moment) -> tuple[str, str]:
    if moment.best is None:
        return "", ""
    rule = moment.best.candidate.rule
    rate = values(rule).get("lr")
    return f"{name_of(rule)} at {rate:.2g}" if rate is not None else name_of(rule), f"{moment.best.score:.3g}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
