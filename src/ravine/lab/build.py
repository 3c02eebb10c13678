"""Tables, checks and charts from trained arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ravine.lab.arms import Trained
from ravine.lab.outcome import Chart, Check, Row, Series
from ravine.racing.statistics import interval, paired
from ravine.results import Interval

Numbers = Mapping[str, Sequence[float]]  # name of an arm -> a number a seed


def table(columns: Mapping[str, Numbers]) -> list[Row]:
    """A row an arm, a column a measure."""
    names = list(next(iter(columns.values())))
    return [Row(name=n, cells={column: interval(found[n]) for column, found in columns.items()}) for n in names]


def checks(wanted: Sequence[tuple[str, Sequence[float], Sequence[float], float]], unit: str = "points") -> list[Check]:
    """A check for each (words, numbers, other numbers, least): one less the other, paired by seed, widened for all."""
    return [
        Check(says=says, unit=unit, least=least, found=paired(one, other, len(wanted)))
        for says, one, other, least in wanted
    ]


def dots(finding: str, x: str, measures: Mapping[str, Numbers]) -> Chart:
    """A dot with its bar for each arm, a series a measure."""
    made = [_series(name, list(of), [interval(v) for v in of.values()]) for name, of in measures.items()]
    return Chart(finding=finding, kind="dots", x=x, series=made)


def curves(finding: str, x: str, y: str, lines: Mapping[str, tuple[Sequence[float], Sequence[Interval]]]) -> Chart:
    """A line with a band for each arm."""
    return Chart(
        finding=finding, kind="lines", x=x, y=y, series=[_series(n, list(at), own) for n, (at, own) in lines.items()]
    )


def accuracy_curves(finding: str, arms: Sequence[Trained]) -> Chart:
    """Validation accuracy over epochs, from the first measured after a step."""
    lines = {
        arm.name: (
            [point.epoch for point in arm.runs[0].curve[1:]],
            arm.curve(lambda run: [100 * point.metric for point in run.curve[1:]]),
        )
        for arm in arms
    }
    return curves(finding, "epoch", "validation accuracy (%)", lines)


def _series(name: str, x: Sequence[float | str], found: Sequence[Interval]) -> Series:
    return Series(
        name=name, x=list(x), y=[i.mean for i in found], low=[i.low for i in found], high=[i.high for i in found]
    )
