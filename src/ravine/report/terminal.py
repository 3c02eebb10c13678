"""The view in a terminal: header, ranking, failures, verdict, test, and where the files are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ravine.reading import contenders
from ravine.report.choices import chosen
from ravine.report.findings import baselines, failures
from ravine.report.mattered import mattered
from ravine.report.numbers import count, duration, epochs, times
from ravine.report.rows import Row, metric, rows, setup
from ravine.results import RaceResult

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

WIDE = 104  # columns from which every column of the ranking has room


class _View:
    """Chooses its columns when it is printed, for only then the width is known."""

    def __init__(self, result: RaceResult, width: int | None, folder: str) -> None:
        self.result, self.width, self.folder = result, width, folder

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.console import Group
        from rich.constrain import Constrain

        width = min(self.width or options.max_width, options.max_width)
        yield Constrain(Group(*_parts(self.result, width, self.folder)), width)


def table(result: RaceResult, width: int | None = None, *, folder: str | None = None) -> RenderableType:
    """The race for a terminal of ``width`` columns (as wide as it is, if None); ``folder`` is where its files lie."""
    return _View(result, width, folder or result.id)


def _parts(result: RaceResult, width: int, folder: str) -> list[Any]:
    from rich.text import Text

    cost = result.cost
    took = f"{setup(result)} · {duration(cost.seconds)} · the work of {count(round(cost.full_runs, 1))} full runs"
    parts: list[Any] = [Text(_header(result), style="bold"), Text(took)]
    if result.status == "interrupted":
        parts.append(Text("Interrupted: this is what was known by then.", style="yellow"))
    if result.ranking:
        parts.append(_ranking(result, width))
    if result.ranking and result.ranking[0].metrics:
        parts.append(_further(result))
    if result.ranking and result.ranking[0].choices:
        parts.append(Text(f"First: {result.ranking[0].rule} with {chosen(result.ranking[0].choices)}"))
    if words := mattered(result):
        assert result.importance is not None
        ran = epochs(result.importance.epochs)
        parts.append(Text.assemble((f"What mattered to the rank after {ran}: ", "bold"), words))
    lost = any(run.status == "diverged" for run in contenders(result))
    said = f"{failures(result)}{' (see the map in the report)' if lost else '.'}"
    parts.append(Text(said if contenders(result) else "Nothing ran."))
    parts += [Text(f"Note: {note}", style="dim") for note in result.notes]
    parts.append(Text.assemble(("Verdict: ", "bold"), (result.verdict, "bold green" if result.ranking else "")))
    if said := baselines(result):
        parts.append(Text(said))
    if result.test:
        parts.append(Text(f"Test {result.metric_name} (looked at once): {metric(result, result.test)}"))
    report, recipe = f"Report: {folder}/report.html", f"Recipe: {folder}/winner.toml"
    lines = [report, recipe] if result.winner else [report]
    fits = len("   ".join(lines)) <= width
    return [*parts, *(Text(line, overflow="fold") for line in (["   ".join(lines)] if fits else lines))]


def _header(result: RaceResult) -> str:
    size = f"{result.model} ({times(result.parameters, 'parameter')})"
    tried = times(len(contenders(result)), "configuration")
    return " · ".join([result.problem, *result.understood[:1], size, f"{tried}, at most {epochs(result.epochs)}"])


def _ranking(result: RaceResult, width: int) -> Table:
    from rich.table import Table

    wide = width >= WIDE
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    made.add_column("rank" if wide else "", justify="right", no_wrap=True, min_width=1)
    made.add_column("rule", no_wrap=True, overflow="ellipsis", min_width=8, max_width=18 if wide else 14)
    made.add_column("learning rate" if wide else "lr", no_wrap=True)
    if wide:
        made.add_column("schedule", no_wrap=True, overflow="ellipsis", max_width=14)
    made.add_column("validation loss" if wide else "valid. loss", no_wrap=True)
    made.add_column(result.metric_name, no_wrap=True)
    made.add_column("tuned against default" if wide else "tuned", overflow="ellipsis", no_wrap=True)
    for row in rows(result):
        made.add_row(*_cells(row, wide), style="" if row.standing.finalist else "dim")
    return made


def _further(result: RaceResult) -> Table:
    """The metrics that were asked for beside the loss, of what ran over fresh seeds."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    made.add_column("metrics", no_wrap=True, overflow="ellipsis", max_width=14)
    for name in result.ranking[0].metrics:
        made.add_column(Text(name), overflow="fold")
    for row in rows(result):
        if row.standing.finalist or row.standing == result.ranking[0]:
            made.add_row(*map(Text, (row.standing.rule, *row.further.values())))
    return made


def _cells(row: Row, wide: bool) -> list[Any]:
    from rich.text import Text

    schedule = [row.standing.schedule] if wide else []
    loss = row.loss + ((" (tie)" if wide else " tie") if row.tie else "")
    note = row.note if wide else row.note.replace(" at epoch", " at")
    cells = [str(row.standing.rank), row.standing.rule, row.rate, *schedule, loss, row.metric, row.tuned or note]
    return [Text(cell) for cell in cells]  # as Text, so that brackets in a name are no markup
