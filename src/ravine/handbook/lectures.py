"""Where lecture decks print different equations under one name, and what that does: from the rules' dialects."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ravine.entries import Entry, read
from ravine.handbook.known import Known
from ravine.handbook.markdown import plain, table
from ravine.handbook.response import answers, first_step
from ravine.rules.spec import combinators

DECK = re.compile(r"\bS[0-4]\b")
SLOPES = (1.0, 1e-4, 1e-8)
INTRODUCTION = """\
ravine was written beside five university decks on optimisation for deep learning, here called S0 to S4. They agree on
the names of the optimizers and not on the equations: the learning rate stands inside or outside the momentum, epsilon
inside or outside the root, the bias correction is there or not, and some lines are slips of the pen. None of that is
hidden here. Each form is a *dialect* that you can train with, so that you can see what the difference does."""
DECKS = (
    ("S0", "Intro to Deep Learning, lecture 7: Optimization III"),
    ("S1", "UvA Deep Learning 1, lecture 3: Deep Learning Optimizations I"),
    ("S2", "MINES ParisTech: Optimization on Deep Learning"),
    ("S3", "Deep Learning, lecture 2: neural network optimization"),
    ("S4", "UCLA lecture notes, lectures 2 to 10"),
)


def page(known: Known) -> str:
    """The page."""
    parts = ["# Lectures and ravine: where the decks disagree", INTRODUCTION, table(("", "deck"), DECKS)]
    parts += ["## Who prints which form", *_forms(known)]
    parts += ["## Slips of the pen", *_slips(known)]
    parts += ["## What the difference does to the first step", *_steps(known)]
    parts += ["## Decay and clipping", *_around()]
    return "\n\n".join(parts)


def decks(one: Entry) -> list[str]:
    """The decks that a rule's declaration names."""
    return sorted(set(DECK.findall(f"{one.reference} {one.differs} {one.notes}")))


def _link(known: Known, one: Entry) -> str:
    place = f"#{one.dialect}" if one.dialect else ""
    return f"[{one.name}](rules/{one.family}.md{place})"


def _forms(known: Known) -> Iterator[str]:
    yield "As far as a deck is named in the rule's own declaration; ● where it prints this form."
    rows = [
        (_link(known, one), plain(one.differs), *("●" if deck in decks(one) else "" for deck, _ in DECKS))
        for one in known.entries.values()
        if decks(one)
    ]
    yield table(("form", "what sets it apart", *(deck for deck, _ in DECKS)), rows)


def _slips(known: Known) -> Iterator[str]:
    yield "Kept runnable, left out of races, and not recommended:"
    slips = [one for one in known.entries.values() if one.differs.startswith("erratum")]
    yield "\n".join(
        f"- {_link(known, one)}: {plain(one.differs.removeprefix('erratum: '))}. {plain(one.reference)}"
        for one in slips
    )


def _steps(known: Known) -> Iterator[str]:
    yield (
        "The length of the first step over the learning rate, at the default hyperparameters, for a slope of 1 and for "
        "small ones. A small slope shows where epsilon stands; a first step other than 1 shows a missing bias "
        "correction. Computed from the equations when this page was made."
    )
    told = {one.family for one in known.entries.values() if decks(one)}
    rows = [
        (_link(known, known.entries[name]), *(f"{first_step(known.kinds[name], slope):.3g}" for slope in SLOPES))
        for name in known.entries
        if known.entries[name].family in told and answers(known.kinds[name])
    ]
    yield table(("form", *(f"slope {slope:g}" for slope in SLOPES)), rows, right=(1, 2, 3))


def _around() -> Iterator[str]:
    yield (
        "What cuts across rules differs too: the factor of one half before the penalty, the shrinking of a whole "
        "gradient or of each tensor. In ravine these are combinators around any rule."
    )
    rows = [
        (f"`{name}`", plain(read(kind)["summary"]), plain(read(kind)["reference"]))
        for name, kind in combinators().items()
        if DECK.search(read(kind)["reference"])
    ]
    yield table(("combinator", "what it does", "who prints it"), rows)
