"""Pieces of Markdown that several pages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from latex2mathml.converter import convert

SPECIAL = re.compile(r"([\\`*_{}\[\]>|#])")
LINKS = (
    (re.compile(r"arXiv:(\d{4}\.\d{4,5})"), r"[arXiv:\1](https://arxiv.org/abs/\1)"),
    (re.compile(r"doi:(10\.\d+/[^\s,;]+[^\s,;.])"), r"[doi:\1](https://doi.org/\1)"),
)


def plain(words: str) -> str:
    r"""Text on one line that Markdown leaves as it is; what stands between backticks is code.

    >>> plain("w_t of ``a_b``")
    'w\\_t of `a_b`'
    """
    parts = re.split(r"(`+[^`]+`+)", " ".join(words.split()))
    parts[::2] = [SPECIAL.sub(r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    parts[1::2] = [f"`{part.strip('`')}`" for part in parts[1::2]]
    return "".join(parts)


def linked(words: str) -> str:
    """A reference whose arXiv and DOI numbers are links."""
    text = plain(words)
    for pattern, replacement in LINKS:
        text = pattern.sub(replacement, text)
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table; the columns in ``right`` are numbers."""
    rules = ["---:" if column in set(right) else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def math(lines: Iterable[str]) -> str:
    """Equations, one a line, as MathML."""
    rows = "".join(f"<div>{convert(line, display='block')}</div>" for line in lines)
    return f'<div class="rv-math" data-search-exclude markdown="0">{rows}</div>'


def letter(latex: str) -> str:
    """A symbol within a line."""
    return convert(latex)


def block(*parts: str) -> str:
    """Drawings and their switches, which work within the block."""
    return f'<div class="rv-block" markdown="0">{"".join(parts)}</div>'


def figure(drawing: str, caption: str) -> str:
    """A drawing with a sentence below it."""
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def code(text: str, language: str = "python") -> str:
    """A block of code with a button to copy it."""
    return f"```{language}\n{text.strip()}\n```"
