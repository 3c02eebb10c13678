"""A reproduction as Markdown and as a page: what someone else needs to do it again, and whether it worked here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ravine.files import write_whole
from ravine.report.figures import LEGEND, figure
from ravine.report.numbers import epochs
from ravine.report.page import figure_data, rendered, write_page
from ravine.report.palette import COLOURS
from ravine.reproduction.again import Reproduction

MOST = 12  # points of a curve that a table shows
MISSING = "not recorded"


def in_words(found: Reproduction) -> list[str]:
    """The recipe as a methods section says it, a sentence each."""
    r = found.kept.recipe
    rule = {name: value for name, value in r.rule.items() if name not in ("name", "with")}
    numbers = ", ".join(f"{name} {value:g}" for name, value in found.kept.result.hypers.items())
    around = [f"{one['name']}" for one in r.rule.get("with", [])]
    schedule = {name: spec["name"] for name, spec in r.schedule.items()}
    said = [
        f"Data: {r.problem} ({', '.join(found.understood)}), split seed {r.split_seed}.",
        f"Model: {r.model}, activation {r.activation}, {found.parameters:,} trained parameters.",
        f"Optimizer: {r.rule['name']} ({numbers or rule})" + (f", with {', '.join(around)}." if around else "."),
        f"Loss: {r.loss}; {epochs(r.epochs)}, batch {r.batch}, seed {r.seed}, precision {r.precision}.",
    ]
    if schedule:
        said.append(f"Schedules: {', '.join(f'{name} {kind}' for name, kind in schedule.items())}.")
    for name in ("init", "class_weights", "plateau", "preprocess", "augment", "penalty", "noise"):
        value = getattr(r, name, None)
        if value:
            said.append(f"{name.replace('_', ' ').capitalize()}: {value}.")
    stop = f"stopped after {r.patience} measurements without improvement, and " if r.patience else ""
    said.append(f"The weights are {stop}those of the best {r.monitor.replace('_', ' ')}.")
    return said


def environment(found: Reproduction) -> list[tuple[str, str, str]]:
    """What was used then and now."""
    names = dict.fromkeys([*found.kept.made_with, *found.made_with])
    return [
        (name, str(found.kept.made_with.get(name, MISSING)), str(found.made_with.get(name, MISSING))) for name in names
    ]


def points(found: Reproduction) -> list[tuple[str, str, str, str]]:
    """Epoch, loss then, loss now, difference: some of the curve."""
    pairs = list(zip(found.kept.result.curve, found.now.curve, strict=False))
    step = max(1, -(-len(pairs) // MOST))
    chosen = [*pairs[::step], *([pairs[-1]] if pairs and (len(pairs) - 1) % step else [])]
    return [
        (f"{a.epoch:g}", f"{a.valid_loss:.8g}", f"{b.valid_loss:.8g}", f"{b.valid_loss - a.valid_loss:.1e}")
        for a, b in chosen
    ]


def wanting(found: Reproduction) -> list[str]:
    """What a reader would still ask for."""
    asked = [f"{name} was not recorded" for name, old, _ in environment(found) if old == MISSING]
    if ":" in found.kept.recipe.problem:
        asked.append(f"the code of {found.kept.recipe.problem} belongs to what must be handed over")
    return [*asked, "this is one seed: report a spread over several (ravine race repeats finalists over five)"]


def markdown(found: Reproduction) -> str:
    """The whole report."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Reproduction) -> Iterator[str]:
    yield from (f"# {found.kept.name}, once more", "", f"**{found.sentence}**", "")
    yield from ("## What was done", "", *(f"- {line}" for line in in_words(found)), "")
    yield from ("## To do it again", "", f"Made on {found.kept.created} by", "", f"    {found.kept.command}", "")
    yield from ("and repeated from this recipe by `ravine train recipe.toml`:", "", "```toml")
    yield from (found.kept.recipe.toml().rstrip(), "```", "")
    yield from ("## What it was made with", "", "| | then | now |", "|---|---|---|")
    yield from (f"| {name} | {old} | {new} |" for name, old, new in environment(found))
    name = found.kept.metric_name
    yield from ("", "## Numbers", "", "| | then | now |", "|---|---|---|")
    old, new = found.kept.result, found.now
    yield f"| best epoch | {old.best_epoch:g} | {new.best_epoch:g} |"
    yield f"| validation loss | {old.valid_loss!r} | {new.valid_loss!r} |"
    yield from (f"| {name} | {old.metric!r} | {new.metric!r} |", "")
    yield from ("| epoch | loss then | loss now | difference |", "|---|---|---|---|")
    yield from ("| " + " | ".join(row) + " |" for row in points(found))
    yield from ("", "## Still to be said in a paper", "", *(f"- {line}." for line in wanting(found)))


def curves(found: Reproduction) -> Any:
    """The curves then and now, one over the other."""
    traces = [
        {"type": "scatter", "mode": "lines", "name": name, "x": [p.epoch for p in curve],
         "y": [p.valid_loss for p in curve], "line": {"color": COLOURS[place], "width": wide, "dash": dash}}
        for place, (name, curve, wide, dash) in enumerate(
            (("then", found.kept.result.curve, 5, "solid"), ("now", found.now.curve, 2, "dash"))
        )
    ]  # fmt: skip
    return figure(traces, x={"title": "epoch"}, y={"title": "validation loss"}, height=360, legend=LEGEND)


def write(found: Reproduction, path: Path) -> Path:
    """Write the report: Markdown, or a page where the name ends in .html."""
    if path.suffix.lower() not in (".html", ".htm"):
        write_whole(path, markdown(found).encode())
        return path
    text = rendered(
        "page.html", Path(__file__).parent, found=found, words=in_words(found), recipe=found.kept.recipe.toml(),
        environment=environment(found), rows=points(found), wanting=wanting(found), figure=figure_data(curves(found)),
    )  # fmt: skip
    return write_page(text, path)
