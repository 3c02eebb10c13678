r"""Pieces of LaTeX that know how tightly they hold together, so that brackets stand only where they must."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega"
)
SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly a text holds together


@dataclass(frozen=True)
class Text:
    """A piece of LaTeX and what may be written beside it without brackets."""

    text: str
    binds: int = ATOM
    negative: bool = False  # a minus belongs in front of it

    def within(self, level: int) -> str:
        """The text as part of something that binds at ``level``."""
        text = f"-{self.text}" if self.negative else self.text
        return bracketed(text) if self.binds < level or (self.negative and level > SUM) else text

    def bare(self) -> Text:
        """The text without its minus."""
        return Text(self.text, self.binds)


def sum_of(terms: Sequence[tuple[Text, bool]]) -> Text:
    """Terms, each added or (with True) taken away; two that are equal but for the sign are left out."""
    kept: list[tuple[Text, bool]] = []
    for term, minus in terms:
        sign = minus != term.negative
        opposite = next((i for i, (x, s) in enumerate(kept) if s != sign and x.text == term.text), None)
        if opposite is None:
            kept.append((term.bare(), sign))
        else:
            del kept[opposite]
    if not kept:
        return Text("0")
    (first, minus), *rest = kept
    if not rest:
        return Text(first.text, first.binds, minus)
    text = ("-" if minus else "") + first.within(PRODUCT)
    for term, minus in rest:
        text += (" - " if minus else " + ") + term.within(PRODUCT)
    return Text(text, SUM)


def bracketed(text: str) -> str:
    """In brackets as tall as what they hold."""
    tall = any(word in text for word in (r"\frac", r"\sqrt", r"\begin"))
    return rf"\left({text}\right)" if tall else f"({text})"


def letter(name: str) -> str:
    """A state's name as a symbol."""
    if GREEK.fullmatch(name):
        return f"\\{name}"
    return name if len(name) == 1 else rf"\mathrm{{{name}}}"


def number(x: float) -> str:
    """A number in as few digits as tell it."""
    mantissa, _, exponent = f"{x:.6g}".partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"
