"""A page for each family of rules, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from ravine import optim
from ravine.entries import Entry, HyperEntry
from ravine.handbook import figures
from ravine.handbook.figures import Style
from ravine.handbook.known import Known
from ravine.handbook.markdown import block, code, figure, letter, linked, math, plain, table
from ravine.handbook.response import answers, response
from ravine.handbook.walk import RATES, STEPS
from ravine.surfaces import SURFACES

SHOWN = ("rosenbrock", "ravine", "saddle", "cliff")  # surfaces on a rule's own page


def pages(known: Known) -> dict[str, str]:
    """The catalogue's pages by their path."""
    own = {f"rules/{family}.md": page(known, family) for family in known.families}
    return {"rules/index.md": index(known), **own}


def index(known: Known) -> str:
    """Every rule, a family a row."""
    size = f"{len(known.entries)} rules in {len(known.families)} families"
    rows = [
        (
            f"[{known.title(family)}]({family}.md)",
            plain(known.entries[names[0]].headline),
            f"{known.entries[names[0]].bytes_per_parameter:g}",
            " ".join(f"`{known.entries[name].dialect}`" for name in names[1:]),
        )
        for family, names in known.families.items()
    ]
    return "\n\n".join(
        [
            "# Rules",
            f"{size}. Each is one equation in the letters of its paper; forms that share a name but not the "
            "arithmetic are *dialects*, with names of their own. Every rule is a PyTorch optimizer "
            "(`ravine.optim`), races, and is listed by `ravine rules`.",
            table(("rule", "what it does", "bytes", "dialects"), rows, right=(2,)),
            "*bytes*: state kept for each parameter of a matrix, in float32. The parameter and its gradient have "
            "4 bytes each.",
        ]
    )


def page(known: Known, family: str) -> str:
    """All that is known of one family."""
    names = known.families[family]
    own = known.entries[names[0]]
    how = figures.styles(names)
    parts = [f"# {known.title(family)}", plain(own.summary)]
    if own.when:
        parts.append(f'!!! tip "When to use it"\n    {plain(own.when)}')
    parts += [math(own.latex), *_use(known, own)]
    companion = known.kinds[names[0]].companion
    parts += [f"It is not for every tensor: {plain(companion)}."] if companion else []
    parts += [*_paths(known, names, how), *_answer(known, names, how)]
    parts += ["## Hyperparameters", _hyperparameters(own.hyperparameters)]
    if len(names) > 1:
        parts += ["## Dialects", *_dialects(known, names)]
    parts += ["## What it costs", _costs(known, names), "## Reference", *_reference(own)]
    return "\n\n".join(parts)


def _use(known: Known, own: Entry) -> Iterator[str]:
    rate = next((h for h in own.hyperparameters if h.name == "lr"), None)
    given = "" if rate is None else f", lr={rate.default:g}"
    ahead = "gradient_ahead" in own.needs
    lines = ["import ravine", "", f"optimizer = {own.optimizer}(model.parameters(){given})"]
    yield code("\n".join(lines))
    yield code(f"ravine race digits --rules {own.name}", "sh")
    same = own.torch == own.optimizer.replace("ravine", "torch") and known.kinds[own.name].__name__ in optim.__all__
    said = [f"The equation of `{own.torch}`{', with its arguments and defaults' if same else ''}." if own.torch else ""]
    said.append("It takes its gradient ahead of the weights: call `step(closure)`." if ahead else "")
    said.append("`ravine race` runs it by default." if own.raced_by_default else "")
    yield " ".join(filter(None, said)) or "PyTorch has no such optimizer."


def _hyperparameters(listed: Iterable[HyperEntry]) -> str:
    rows = [
        (f"`{h.name}`", letter(h.symbol), f"{h.default:g}", *map(plain, (h.bounds, h.unit, h.searched, h.meaning)))
        for h in listed
    ]
    return table(("name", "symbol", "default", "bounds", "unit", "a race searches", "meaning"), rows, right=(2,))


def _dialects(known: Known, names: list[str]) -> Iterator[str]:
    """What sets each form apart, then its equation and hyperparameters where they differ."""
    own = known.entries[names[0]]
    yield f"**`{own.name}`**, the form above: {plain(own.differs)}."
    for name in names[1:]:
        one = known.entries[name]
        yield f"### {name} {{ #{one.dialect} }}"
        yield f"{plain(one.summary)} *What differs: {plain(one.differs)}.*"
        yield math(one.latex)
        also = f" · in PyTorch: `{one.torch}`" if one.torch else ""
        yield f'`{one.optimizer}`, or `{own.optimizer}(..., dialect="{one.dialect}")`{also}'
        other = [h for h in one.hyperparameters if h not in own.hyperparameters]
        if other:
            yield _hyperparameters(other)
        yield f"{plain(one.notes)} {linked(one.reference)}"


def _answer(known: Known, names: list[str], how: dict[str, Style]) -> Iterator[str]:
    asked = [name for name in names if answers(known.kinds[name])]
    if not asked:
        return
    curves = {name: response(known.kinds[name]) for name in asked}
    title = f"How {known.title(known.entries[names[0]].family)} answers the same gradients"
    drawing = figures.answer(curves, how, title)
    yield "## What it makes of a gradient"
    yield (
        "One weight, the same slope again and again; then a tenth of the rate, the opposite slope, and no slope at "
        "all. Drawn is the step downhill over the rate, at the default hyperparameters"
        + (". Forms that are equal here lie on each other." if len(asked) > 1 else ".")
    )
    switch = figures.legend(how, shown=asked) if len(asked) > 1 else ""
    yield block(switch, figure(drawing, ""))


def _paths(known: Known, names: list[str], how: dict[str, Style]) -> Iterator[str]:
    yield "## Where it goes"
    if (names[0], SHOWN[0]) not in known.paths:
        yield "It needs more than a gradient at each step, so it has no path on these surfaces."
        return
    yield (
        f"{STEPS} steps from ○ on four surfaces; + marks the lowest points, ● the end. Each form has the best of "
        f"{RATES} learning rates; [the gallery](../gallery/index.md) says how it was chosen and has more surfaces."
    )
    drawings: list[str] = []
    for surface in (SURFACES[name] for name in SHOWN):
        walks = [known.paths[name, surface.name] for name in names]
        caption = f"<b>{escape(surface.title)}</b>. {escape(surface.note)}"
        drawings.append(figure(figures.paths(surface, walks, how, f"{names[0]} on {surface.title}"), caption))
    switch = figures.legend(how) if len(names) > 1 else ""
    yield block(switch, f'<div class="rv-grid">{"".join(drawings)}</div>')


def _costs(known: Known, names: list[str]) -> str:
    measured = known.costs.get("steps", {})
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{slot}`" for slot in (*one.slots, *one.scalars)) or "none",
            f"{one.bytes_per_parameter:g}",
            f"{measured[name]['ratio']:.2f}" if name in measured else "not measured yet",
        )
        for name, one in ((name, known.entries[name]) for name in names)
    ]
    text = table(("form", "state", "bytes a parameter", "time of a step over Adam's"), rows, right=(2, 3))
    return f"{text}\n\n{_machine(known)}"


def _machine(known: Known) -> str:
    if not known.costs:
        return "*No step has been measured for these pages: `scripts/docs --measure` does.*"
    c = known.costs
    return (
        f"*{c['parameters']:,} float32 parameters, one thread, {c['engine']}, in turns with Adam; the median of "
        f"{c['rounds']} rounds. Measured on {c['date']} on {plain(c['machine'])}, torch {c['torch']}, "
        f"load {c['load']}; a busy machine blurs the last digit. Bytes are of a float32 matrix.*"
    )


def _reference(own: Entry) -> Iterator[str]:
    yield linked(own.reference)
    if own.notes:
        yield plain(own.notes)
    yield f"The equation is written once, in `{own.module}`."
