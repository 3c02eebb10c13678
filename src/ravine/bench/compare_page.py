"""The page of the comparison, made from its JSON file alone: the same file gives the same page to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from statistics import fmean, geometric_mean, median
from typing import Any

from ravine.bench.compare_rows import Row, Side, corrected, rows_of, together
from ravine.racing.statistics import interval
from ravine.results import Interval

Data = dict[str, Any]
MOST = 0.9  # share of the rules that must have run on a problem for it to count in the summary
SHOWN = {"accuracy": ("accuracy %", 100, 1), "R²": ("R²", 1, 3)}  # heading, factor, decimals


def page(data: Data) -> str:
    """The page in Markdown."""
    tables = {name: rows_of(cells) for name, cells in data["cells"].items() if cells}
    parts = [_head(data, tables)]
    if tables:
        parts += [_found(tables), _summary(tables)]
    parts += [_problem(name, data["problems"][name], rows) for name, rows in tables.items()]
    if left := _left(data, tables):
        parts.append("## Not run\n" + "\n".join(left))
    return "\n\n".join([*parts, _limits(data)]) + "\n"


def _head(data: Data, tables: dict[str, list[Row]]) -> str:
    own, sessions = data["protocol"], data["sessions"]
    cells = sum(len(rows) for rows in tables.values())
    spent = sum(session["seconds"] for session in sessions)
    lines = [
        "# Every optimizer, compared",
        "Made by `python -m ravine.bench.compare`, which runs what `docs/data/compare.json` lacks and writes this page "
        "from it; nothing here is written by hand.",
        f"**What was run.** {cells} cells of a rule on a problem, in {spent / 60:.0f} minutes. In each cell: the rule "
        f"at its defaults and {own['trials']} configurations drawn from its declared ranges (scrambled Sobol; with so "
        f"few, the learning rate alone where there is one) for one full run each with seed {own['seed']}; the best of "
        f"all by validation loss is *tuned*. Then the defaults and the tuned setting run over {own['seeds']} fresh "
        f"seeds, the same for every rule: same initial draws, same minibatches. Every learning rate follows the same "
        f"{own['schedule']} schedule. A figure is the mean over these seeds on the **test part**, which nothing else "
        "looks at, at the point of the lowest validation loss; ± is half of the 95 % interval (Student's t).",
        _contests(data, list(tables)),
        "Sessions (load: at the end): " + "; ".join(_session(session) for session in sessions) + ".",
    ]
    return "\n\n".join(lines)


def _left(data: Data, tables: dict[str, list[Row]]) -> list[str]:
    """What the page lacks: rules that could not run, and cells that the next call of the command will run."""
    found = [f"- {one.rule} on {name}: {one.refused}" for name, rows in tables.items() for one in rows if one.refused]
    every = sorted({one.rule for rows in tables.values() for one in rows})
    for name in data["problems"]:
        missing = [rule for rule in every if rule not in data["cells"].get(name, {})]
        if missing:
            found.append(f"- {name}, for want of time; the same command goes on here: {', '.join(missing)}.")
    return found


def _session(one: Data) -> str:
    made_with = ", ".join(f"{name} {one[name]}" for name in ("ravine", "torch", "numpy", "python"))
    spent = f"{one['cells']} cells in {one['seconds']} s"
    return f"{one['began'][:10]}, {spent}, {made_with}, {one['machine']} on {one['cores']} cores, load {one['load']}"


def _contests(data: Data, names: Sequence[str]) -> str:
    rows = [("problem", "data", "train / valid / test", "model", "parameters", "steps of a run", "batch")]
    for name in names:
        one = data["problems"][name]
        sizes, steps = " / ".join(f"{n:,}" for n in one["samples"]), f"{one['steps']:,} ({one['epochs']} epochs)"
        what = one["what"] or one["understood"][0]
        rows.append((name, what, sizes, f"`{one['model']}`", f"{one['parameters']:,}", steps, str(one["batch"])))
    return _table(rows, "llrlrrr")


def _found(tables: dict[str, list[Row]]) -> str:
    """What can be said in sentences, computed from the cells."""
    ties = [f"{name} {together(rows)} of {len(rows)} ({corrected(rows)})" for name, rows in tables.items()]
    gains = [g for rows in tables.values() for one in rows if (g := one.gain) is not None]
    gaps: list[float] = []
    for rows in tables.values():
        means = [one.tuned.mean for one in rows if one.tuned.loss is not None]
        if len(means) > 2 and means[0] > 0:
            gaps.append(median(means) / means[0] - 1)
    said = [f"- Not told apart from the best of its problem by the interval paired over seeds: {', '.join(ties)}; in "
            "brackets with the correction for so many comparisons."]  # fmt: skip
    if gains and gaps:
        said.append(
            f"- Tuning lowered the test loss by {median(gains):.0%} in the middle cell; the middle rule, tuned, lies "
            f"{median(gaps):.0%} above the best one in the middle problem. So compare these two numbers before you "
            "change the optimizer rather than its learning rate."
        )
    worse = sum(gain < 0 for gain in gains)
    said.append(f"- In {worse} of {len(gains)} cells the tuned setting was worse on fresh seeds than the defaults.")
    return "## What was found\n" + "\n".join(said)


def _summary(tables: dict[str, list[Row]]) -> str:
    every = {one.rule for rows in tables.values() for one in rows}
    whole = {name: rows for name, rows in tables.items() if len(rows) >= MOST * len(every)} or tables
    own: dict[str, list[tuple[Row, list[Row]]]] = {}
    for rows in whole.values():
        for one in rows:
            own.setdefault(one.rule, []).append((one, rows))
    lines = [(_mean_place(found, "tuned"), _summed(rule, found, len(whole))) for rule, found in own.items()]
    head = (
        "rule",
        "place, tuned",
        "loss / best",
        "place, defaults",
        "loss / best",
        "with the best",
        "diverged",
        "step",
    )
    body = [line for _, line in sorted(lines, key=lambda one: (one[0], one[1]))]
    return (
        f"## {'All problems' if len(whole) == len(tables) else ', '.join(whole)} together\n"
        "Mean place among all rules, and the loss over the lowest one of the same column (geometric mean), each over "
        "those of these problems where it ran and no seed diverged. *With the best*: where the tuned rule is first or "
        "not told apart from it. *Diverged*: runs, those of the tuning included. *Step*: CPU time of a training step "
        "in units of SGD's, one run on one thread, geometric mean of medians. A mean of places hides by how much, "
        "which the second number tells, and on what, which the tables below tell; it also depends on who else takes "
        "part.\n\n"
        f"{_table([head, *body], 'lrrrrrrr')}"
    )


def _mean_place(found: Sequence[tuple[Row, list[Row]]], side: Side) -> float:
    places = [p for one, rows in found if (p := one.place(rows, side)) is not None]
    return fmean(places) if places else float("inf")


def _summed(rule: str, found: Sequence[tuple[Row, list[Row]]], problems: int) -> tuple[str, ...]:
    cells: list[str] = []
    for side in ("tuned", "default"):
        over = [o for one, rows in found if (o := one.over_best(rows, side)) is not None]
        place = f"{_mean_place(found, side):.1f}" if over else "-"
        cells += [place if len(over) in (0, problems) else f"{place} ({len(over)} of {problems})"]
        cells += [f"{geometric_mean(over):.2f}" if over else "-"]
    best = sum(one.is_tied(rows) for one, rows in found)
    steps = [one.step for one, _ in found if one.step is not None]
    lost = sum(one.lost for one, _ in found)
    step = f"{geometric_mean(steps):.2f}" if steps else "-"
    return (rule, *cells, f"{best} of {len(found)}", f"{lost} of {sum(one.runs for one, _ in found)}", step)


def _problem(name: str, facts: Data, rows: list[Row]) -> str:
    metric, factor, decimals = SHOWN[facts["metric"]]
    head = ("", "rule", "loss, tuned", metric, "loss, defaults", metric, "learning rate", "step", "diverged")
    body: list[tuple[str, ...]] = []
    for one in (row for row in rows if not row.refused):
        place = one.place(rows, "tuned")
        mark = "" if place is None else f"{place}{' ≈' if place > 1 and one.is_tied(rows) else ''}"
        sides = [text for side in (one.tuned, one.default) for text in _side(side, factor, decimals)]
        step = "-" if one.step is None else f"{one.step:.2f}"
        body.append((mark, one.rule, *sides, one.rate, step, f"{one.lost} of {one.runs}"))
    return (
        f"## {name}\n{'; '.join(facts['understood'])}. Fresh seeds {', '.join(map(str, facts['seeds']))}.\n\n"
        f"{_table([head, *body], 'llrrrrlrr')}"
    )


def _side(side: Any, factor: float, decimals: int) -> tuple[str, str]:
    if side.loss is None:
        return f"diverged ({side.lost} of {len(side.losses)})", "-"
    return _pm(side.loss, 1, 3), _pm(interval(side.metrics), factor, decimals)


def _pm(found: Interval, factor: float, decimals: int) -> str:
    mean, half = found.mean * factor, (found.high - found.mean) * factor
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}" if abs(mean) < 1000 else f"{mean:.2e} ± {half:.0e}"


def _table(rows: Sequence[Sequence[str]], sides: str) -> str:
    rule = ["---:" if side == "r" else "---" for side in sides]
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def _limits(data: Data) -> str:
    own, problems = data["protocol"], data["problems"].values()
    text = files("ravine.bench").joinpath("limits.txt").read_text(encoding="utf-8")
    return text.strip().format(
        parameters=f"{max((one['parameters'] for one in problems), default=0):,}",
        steps=f"{max((one['steps'] for one in problems), default=0):,}",
        apart=f"{10 ** (4 / own['trials']):.1g}",
        **own,
    )
