"""`ravine rules`: the catalogue, and everything known of one rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from rich.table import Table

    from ravine.entries import Entry


@app.command()
def rules(
    name: Annotated[
        str | None, typer.Argument(help="a rule: adam, nadam, rmsprop/centered", show_default=False)
    ] = None,
    words: Annotated[
        str | None, typer.Option("--search", help="only rules with these words in name, description or reference")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="a line for each dialect, with what sets it apart")] = False,
    json: Annotated[bool, typer.Option("--json", help="print as JSON: all that is known of each")] = False,
) -> None:
    """List the optimizers and the methods beyond them, or print one: equation, dialects, hyperparameters, reference.

    [bold]Examples[/bold]

      ravine rules
      ravine rules nadam
      ravine rules lbfgs
      ravine rules --search nesterov
      ravine rules --all
    """
    from ravine.cli import methods
    from ravine.entries import entry, search
    from ravine.errors import UserError, unknown
    from ravine.rules.rule import catalogue, resolve
    from ravine.solvers import method

    more = methods.found_methods(words)
    if name is not None:
        known = {*catalogue(), *more}
        if name.lower() not in known and ":" not in name:
            raise unknown("rule", name, known)
        more = {name: more[name.lower()]} if name.lower() in more else {}
        found = [] if more else [entry(resolve(name))]
    elif words is not None:
        try:
            found = search(words)
        except UserError:
            if not more:
                raise
            found = []
    else:
        found = [entry(rule) for rule in catalogue().values()]
    if json:
        _print_json(found, [method.facts(kind) for kind in more.values()])
    elif name is not None:
        _print_one(found[0]) if found else methods.print_one(more[name])
    else:
        if found:
            _print_all(found, every or words is not None)
        if more:
            methods.print_all(more)


def _print_json(found: list[Entry], more: list[dict[str, Any]]) -> None:
    from dataclasses import asdict
    from json import dumps

    print(dumps([*map(asdict, found), *more]))


def _print_all(found: list[Entry], in_full: bool) -> None:
    """A block a family: its own form, then its dialects, by name alone or with what sets each apart."""
    from rich.console import Console
    from rich.text import Text

    from ravine.entries import families
    from ravine.report.numbers import times

    quiet: dict[str, Any] = {"style": "dim", "highlight": False}
    table = _table("rule", "lr", "state", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    known = {one.name: one for one in found}
    for names in families(known).values():
        for place, name in enumerate(names if in_full else names[:1]):
            table.add_row(*_row(known[name], first=place == 0))
        if not in_full and names[1:]:
            short = "\N{NO-BREAK SPACE}· ".join(name.partition("/")[2] for name in names[1:])
            table.add_row("", "", "", Text(short, style="dim"))
    console = Console()
    console.print(table)
    size = f"{times(len(known), 'rule')}, {len(families(known))} of them a family's own form"
    console.print(f"\n{size if not in_full else times(len(known), 'rule')}; state: bytes a parameter", **quiet)
    console.print(f"One in full: ravine rules {found[0].name}", **quiet)
    if not in_full:
        console.print("What sets each dialect apart: ravine rules --all", **quiet)


def _row(one: Entry, first: bool) -> tuple[Any, ...]:
    """One rule; a dialect stands indented under its family unless it is the ``first`` of its block."""
    from rich.text import Text

    rate = next((f"{h.default:g}" for h in one.hyperparameters if h.name == "lr"), "–")
    state = f"{one.bytes_per_parameter:g}"
    if one.dialect:
        name = one.name if first else f"  /{one.dialect}"
        return Text(name), Text(rate, "dim"), Text(state, "dim"), Text(one.differs, "dim")
    return Text(one.name, "bold cyan"), rate, state, Text(one.headline)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    return table


def _print_one(one: Entry) -> None:
    from rich.console import Console
    from rich.padding import Padding

    console = Console()

    def say(text: str, **look: Any) -> None:
        console.print(text, highlight=False, markup=False, **look)

    console.print(f"[bold cyan]{one.name}[/]  {one.summary}", highlight=False)
    if one.when:
        say(one.when, style="italic")
    console.print(Padding(one.equation, (1, 4)), style="cyan", highlight=False, markup=False)
    console.print(_hyperparameters(one), markup=False)
    console.print("\nDialects", style="bold")
    console.print(_dialects(one))
    console.print("\nIn Python", style="bold")
    console.print(_places(one))
    say(f"\n{one.notes}")
    if one.companion:
        say(f"Companion: {one.companion}.")
    say(f"Reference: {one.reference}")
    console.print("\nLaTeX", style="bold")
    for line in one.latex:
        say(f"  {line}", soft_wrap=True)


def _hyperparameters(one: Entry) -> Table:
    table = _table("hyperparameter", "default", "bounds", "unit", "searched", "meaning")
    for h in one.hyperparameters:
        table.add_row(h.name, f"{h.default:g}", h.bounds, h.unit, h.searched, h.meaning)
    return table


def _dialects(one: Entry) -> Table:
    from rich.text import Text

    from ravine.entries import families
    from ravine.rules.rule import catalogue

    known, table = catalogue(), _table("", "", "")
    table.show_header = False
    for name in families().get(one.family, [one.name]):
        differs = known[name].differs if name in known else one.differs
        here = name == one.name
        table.add_row("→" if here else " ", Text(name, "bold" if here else ""), Text(differs))
    return table


def _places(one: Entry) -> Table:
    from rich.text import Text

    table = _table("", "")
    table.show_header = False
    table.add_row("class", Text(one.optimizer))
    table.add_row("torch", Text(one.torch or "has no such form"))
    state = ", ".join((*one.slots, *one.scalars)) or "none"
    table.add_row("state", Text(f"{state}: {one.bytes_per_parameter:g} bytes a parameter in float32"))
    return table
