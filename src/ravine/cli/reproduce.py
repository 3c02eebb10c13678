"""`ravine reproduce`: a run or a race's winner again, and whether it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ravine.cli import options
from ravine.cli.app import app


@app.command()
def reproduce(
    name: Annotated[
        str, typer.Argument(help="a folder of ravine train or race, or a kept run or race; ravine runs lists them")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="report to write, .md or .html; default: reproduction-NAME.md", show_default=False),
    ] = None,
    store: options.StoreUrl = None,
    json: options.Json = False,
) -> None:
    """Run a recipe again with its seed and compare: to the bit, within rounding, or different, and since when.

    The report says what someone else needs to do it once more: the recipe in words and in TOML, versions, a hash of
    the data, the numbers then and now, and what is still missing. Exit code 1 where it differs.

    [bold]Examples[/bold]

      ravine reproduce race-digits-7f3a
      ravine reproduce run-wine-01c2 --out paper.html
    """
    from ravine.api import problem_of
    from ravine.cli.runs import look_into
    from ravine.files import check_file, slug
    from ravine.reproduction import find
    from ravine.reproduction import reproduce as again
    from ravine.reproduction.report import write
    from ravine.store import Store

    target = out or Path(f"reproduction-{slug(Path(name).name)}.md")
    check_file(target, ".md", ".html")
    with Store("sqlite://") if (Path(name) / "result.json").is_file() else look_into(store) as opened:
        kept = find(name, opened)
    read = kept.recipe
    problem = problem_of(read)
    found = again(kept, problem)
    write(found, target)
    if json:
        from json import dumps

        facts = {"verdict": found.verdict, "sentence": found.sentence, "worst": found.worst, "since": found.since}
        print(dumps({**facts, "changed": found.changed, "report": str(target), "seconds": found.seconds}))
    else:
        print(found.sentence)
        for what, (then, now) in found.changed.items():
            print(f"{what:>12}  then {then}, now {now}")
        print(f"Report: {target}")
    if found.verdict == "differs":
        raise typer.Exit(1)
