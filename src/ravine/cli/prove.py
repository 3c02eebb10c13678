"""`ravine prove`: each lane is the run alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ravine.cli.app import app

if TYPE_CHECKING:
    from ravine.prove import Compared


@app.command()
def prove(
    steps: Annotated[int, typer.Option(min=1, help="optimizer steps of each run")] = 100,
    json: Annotated[bool, typer.Option("--json", help="print every comparison as JSON")] = False,
) -> None:
    """Show that each lane of a race is the same run alone, written in plain PyTorch.

    Every rule runs in one program with all the others, with dropout, batch normalisation and a neighbour that is NaN;
    then alone. The parameters may differ by rounding only: 1e-10 in float64, 1e-5 in float32, relative; where
    they differ by more, one rounding at the start of the run alone must make as much of it.
    """
    from rich.console import Console
    from rich.progress import track

    from ravine.prove import LIMITS, prove

    console = Console(stderr=True)
    seen = list(track(prove(steps), "runs compared", console=console, disable=not console.is_terminal, transient=True))
    if json:
        from json import dumps

        print(dumps([{**vars(one), "dtype": str(one.dtype), "holds": one.holds} for one in seen]))
    else:
        for dtype in LIMITS:
            for model in dict.fromkeys(one.model for one in seen):
                own = [one for one in seen if one.dtype == dtype and one.model == model]
                worst = max(own, key=lambda one: one.difference / one.limit)
                name = str(dtype).removeprefix("torch.")
                print(
                    f"{name}, {model}: {len(own)} lanes after {steps} steps, worst difference {worst.difference:.1e} "
                    f"({worst.rule}), limit {worst.limit:.0e}"
                )
    failed = [one for one in seen if not one.holds]
    print(verdict(failed), file=sys.stderr if json else sys.stdout)
    if failed:
        raise typer.Exit(1)


def verdict(failed: Sequence[Compared]) -> str:
    """One sentence: that every lane is the run alone, or which one is furthest from it."""
    if not failed:
        return "A lane is the run alone."
    worst = max(failed, key=lambda one: one.difference / one.limit)
    count = "1 lane differs" if len(failed) == 1 else f"{len(failed)} lanes differ"
    return (
        f"{count} from the run alone: {worst.rule} with seed {worst.seed} on the {worst.model} in "
        f"{str(worst.dtype).removeprefix('torch.')}, by {worst.difference:.1e} where {worst.limit:.1e} is allowed."
    )
