"""What `ravine rules` prints of the methods that need more than a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ravine.solvers.method import Described


def found_methods(search: str | None) -> dict[str, type[Described]]:
    """Every method, or those whose description holds the word."""
    from ravine.solvers.method import catalogue

    return {
        name: kind
        for name, kind in catalogue().items()
        if search is None or search.lower() in f"{name} {kind.__name__} {kind.__doc__} {kind.differs}".lower()
    }


def print_all(found: dict[str, type[Described]]) -> None:
    """The second table of the catalogue: a line a family, the names of its dialects below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ravine.report.numbers import times
    from ravine.solvers.method import facts

    console = Console()
    console.print("\nMethods that need more than a gradient", style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    families: dict[str, list[str]] = {}
    for name, kind in found.items():
        families.setdefault(kind.family, []).append(name)
    for names in families.values():
        known = facts(found[names[0]])
        said = known["differs"] if found[names[0]].dialect else known["summary"].rstrip(".")
        table.add_row(Text(names[0], "bold cyan"), Text(said))
        if names[1:]:
            table.add_row("", Text("\N{NO-BREAK SPACE}· ".join(name.partition("/")[2] for name in names[1:]), "dim"))
    console.print(table)
    quiet: dict[str, Any] = {"style": "dim", "highlight": False}
    console.print(
        f"\n{times(len(found), 'method')}, in ravine.solvers and in races. One in full: ravine rules lbfgs", **quiet
    )


def print_one(kind: type[Described]) -> None:
    """Everything declared of one method."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

    from ravine.solvers.method import facts

    console, known = Console(), facts(kind)
    console.print(f"[bold]{known['name']}[/bold]  {known['summary']}", highlight=False)
    console.print(Padding(known["equation"], (1, 4)), style="cyan", highlight=False, markup=False)
    console.print(_hyperparameters(known), markup=False)
    console.print("\ndialects", style="bold")
    dialects = Table(box=None, pad_edge=False, show_header=False)
    for name, other in found_methods(None).items():
        if other.family == kind.family:
            dialects.add_row("→" if other is kind else " ", name, other.differs)
    console.print(dialects)
    console.print(f"\nIt needs {known['needs']}. {known['notes']}", highlight=False, markup=False)
    console.print(f"Reference: {known['reference']}", highlight=False, markup=False)
    console.print("\nLaTeX", style="bold")
    for line in known["latex"]:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _hyperparameters(known: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("hyperparameter", "default", "bounds", "unit", "meaning"):
        table.add_column(column, style="bold" if column == "hyperparameter" else "")
    for h in known["hyperparameters"]:
        table.add_row(h["name"], f"{h['default']:g}", h["bounds"], h["unit"], h["meaning"])
    return table if known["hyperparameters"] else "It has no hyperparameters."
