"""The page of schedules: each one drawn over a run, with its formula and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from ravine.entries import read
from ravine.errors import UserError
from ravine.handbook import figures
from ravine.handbook.markdown import block, code, linked, plain, table
from ravine.schedules import Constant, Cosine, Exponential, Schedule, Triangular, catalogue, settings

POINTS = 200
INTRODUCTION = """\
A schedule is a pure function of time: the factor on the base value of a hyperparameter at time *t*. It has no state, so
a resumed run needs nothing of it, and it works for *any* hyperparameter, not only the learning rate. A length left open
means a share of the whole run. Schedules multiply (`a * b`) and nest (`WarmUp(then=...)`)."""
USE = """
import torch
import ravine
from ravine.schedules import Cosine, WarmUp

model = torch.nn.Linear(3, 1)
rate = WarmUp(then=Cosine(), duration=100).over(2000)  # in steps
optimizer = ravine.optim.AdamW(model.parameters(), lr=1e-3, schedules={"lr": rate})
"""
EXAMPLES: dict[str, Any] = {  # what a schedule made of schedules is drawn with
    "schedule": Cosine(),
    "schedules": (Exponential(0.1 ** (1 / 100)), Triangular(0.3, 1.0)),
}


def page() -> str:
    """Every schedule of the catalogue."""
    parts = ["# Schedules", INTRODUCTION, "## Use one", code(USE)]
    parts.append(
        "A race searches them: `ravine race digits --over schedule=cosine,one-cycle`. In a recipe "
        'one is a table, `[schedule.lr]` with `name = "cosine"`. Torch\'s own schedulers work on `ravine.optim` '
        "optimizers too."
    )
    for name, kind in catalogue().items():
        parts += _one(name, kind)
    return "\n\n".join(parts)


def example(kind: type[Schedule]) -> Schedule:
    """A schedule over a run of length 100: its defaults, and parts for one that is made of parts."""
    made = kind()
    filled = {name: EXAMPLES[s.kind] for name, s in settings(kind).items() if s.kind in EXAMPLES}
    made = replace(made, **filled)
    if "until" in settings(kind):
        made = replace(made, **{"until": (50.0,)})
    return made.over(100.0)


def _one(name: str, kind: type[Schedule]) -> Iterator[str]:
    known = read(kind)
    yield f"## {name}"
    yield f"{plain(known['summary'])} In Python: `ravine.schedules.{kind.__name__}`."
    if known["equation"]:
        yield code(known["equation"], "text")
    try:
        shape = example(kind)
        values = [shape(100.0 * i / (POINTS - 1)) for i in range(POINTS)]
    except UserError:
        yield "*It has no picture: it needs settings that only you can give.*"
    else:
        yield block(figures.schedule(values, f"The schedule {name} over a run"))
        parts = [key for key, s in settings(kind).items() if s.kind in EXAMPLES]
        if parts and kind is not Constant:
            yield f"*Drawn with {' and '.join(f'`{key}={EXAMPLES[settings(kind)[key].kind]}`' for key in parts)}.*"
    rows = [
        (f"`{f.name}`", plain(_default(f.default, settings(kind)[f.name].share)), plain(settings(kind)[f.name].meaning))
        for f in fields(kind)
    ]
    yield table(("setting", "default", "meaning"), rows)
    if known["notes"] or known["reference"]:
        before = known["notes"].partition(">>>")[0]
        yield f"{plain(before)} {linked(known['reference'].partition('>>>')[0])}".strip()


def _default(value: Any, share: Any) -> str:
    if value is None:
        shares = share if isinstance(share, tuple) else (share,)
        return "none" if share is None else f"{', '.join(f'{each:.3g}' for each in shares)} of the run"
    return f"{value:g}" if isinstance(value, float) else str(value)
