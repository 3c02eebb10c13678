"""`ravine rules`: the catalogue, and everything known of one rule."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.rules.rule import Rule


@app.command()
def rules(
    name: Annotated[
        str | None, typer.Argument(help="a rule: adam, nadam, rmsprop/centered", show_default=False)
    ] = None,
    search: Annotated[str | None, typer.Option(help="only rules whose description holds this")] = None,
    json: Annotated[bool, typer.Option("--json", help="print as JSON")] = False,
) -> None:
    """List the optimizers and the methods beyond them, or print one: equation, dialects, hyperparameters, reference.

    [bold]Examples[/bold]

      ravine rules
      ravine rules nadam
      ravine rules lbfgs
      ravine rules --search nesterov
    """
    from ravine.cli import methods
    from ravine.errors import unknown
    from ravine.rules.rule import catalogue, resolve
    from ravine.solvers import method

    found, more = catalogue(), methods.found_methods(None)
    if name is not None:
        if name.lower() not in {**found, **more} and ":" not in name:
            raise unknown("rule", name, {**found, **more})
        more = {name: more[name.lower()]} if name.lower() in more else {}
        found = {} if more else {name: resolve(name)}
    else:
        found = {n: r for n, r in found.items() if search is None or search.lower() in _words(n, r)}
        more = methods.found_methods(search)
    if json:
        from json import dumps

        print(dumps([*map(facts, found.values()), *map(method.facts, more.values())]))
    elif name is not None:
        _print_one(found[name]) if found else methods.print_one(more[name])
    else:
        _print_all(found)
        methods.print_all(more)


def facts(rule: type[Rule]) -> dict[str, Any]:
    """Everything declared of a rule, as plain values."""
    from ravine.emit.latex import latex
    from ravine.rules.rule import hypers, name_of

    parts = _parts(rule)
    return {
        "name": name_of(rule),
        "family": rule.family,
        "dialect": rule.dialect,
        "summary": parts["summary"],
        "differs": rule.differs,
        "equation": parts["equation"],
        "latex": latex(rule()),
        "state": [*rule.slots, *rule.scalars],
        "reference": parts["reference"],
        "companion": rule.companion,
        "notes": parts["notes"],
        "raced_by_default": rule.contender,
        "hyperparameters": [
            {
                "name": h.name,
                "default": h.default,
                "bounds": h.bounds.text,
                "unit": h.unit,
                "meaning": h.meaning,
                "search": None if h.search is None else f"{h.search.low:g} .. {h.search.high:g} ({h.search.scale})",
            }
            for h in hypers(rule).values()
        ],
    }


def _parts(rule: type[Rule]) -> dict[str, str]:
    """The docstring taken apart: first line, indented equation, state and notes, reference."""
    lines = inspect.cleandoc(rule.__doc__ or "").splitlines()
    equation = [line.strip() for line in lines[1:] if line.startswith("    ")]
    rest = " ".join(line.strip() for line in lines[1:] if line and not line.startswith("    "))
    notes, _, reference = rest.partition("Reference:")
    return {
        "summary": lines[0] if lines else "",
        "equation": "\n".join(equation),
        "notes": notes.strip(),
        "reference": reference.strip(),
    }


def _memory(rule: type[Rule]) -> float:
    """How many numbers of state a rule keeps for each weight of a large square matrix."""
    import torch

    w = torch.empty(1024, 1024, device="meta")
    return sum(slot.numel() for slot in rule().init(w).values()) / w.numel()


def _words(name: str, rule: type[Rule]) -> str:
    return f"{name} {rule.__name__} {rule.__doc__} {rule.differs}".lower()


def _print_all(found: dict[str, type[Rule]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("rule", style="bold", no_wrap=True)
    table.add_column("default rate", justify="right")
    table.add_column("state", justify="right")
    table.add_column("what it is, and what sets the dialect apart")
    for name, rule in found.items():
        said = rule.differs if rule.dialect else _parts(rule)["summary"].rstrip(".")
        rate = getattr(rule(), "lr", None)
        table.add_row(
            f"  {name}" if rule.dialect else name,
            "" if rate is None else f"{rate:g}",
            f"{_memory(rule):.2g} x w",
            said,
            style="dim" if rule.dialect else "",
        )
    console = Console()
    console.print(table)
    console.print(f"{len(found)} rules. One of them in full: ravine rules nadam", style="dim", highlight=False)


def _print_one(rule: type[Rule]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    from ravine.rules.rule import catalogue

    console = Console()
    known = facts(rule)
    console.print(f"[bold]{known['name']}[/bold]  {known['summary']}", highlight=False)
    console.print(Padding(known["equation"], (1, 4)), style="cyan", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("hyperparameter", "default", "bounds", "unit", "searched", "meaning"):
        table.add_column(column, style="bold" if column == "hyperparameter" else "")
    for h in known["hyperparameters"]:
        table.add_row(h["name"], f"{h['default']:g}", h["bounds"], h["unit"], h["search"] or "", h["meaning"])
    console.print(table, markup=False)
    console.print("\ndialects", style="bold")
    dialects = Table(box=None, pad_edge=False, show_header=False)
    for name, other in catalogue().items():
        if other.family == rule.family:
            dialects.add_row("→" if other is rule else " ", name, other.differs)
    console.print(dialects)
    console.print(f"\n{known['notes']}", highlight=False, markup=False)
    if rule.companion:
        console.print(f"Companion: {rule.companion}.", highlight=False, markup=False)
    console.print(f"Reference: {known['reference']}", highlight=False, markup=False)
    console.print("\nLaTeX", style="bold")
    for line in known["latex"]:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
