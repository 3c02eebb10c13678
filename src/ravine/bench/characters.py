"""The characters of a book as a problem, and a small causal transformer that predicts the next one at every place.

The text in alice.txt is chapters I to V of Lewis Carroll's "Alice's Adventures in Wonderland" (1865), in the public
domain, after the Millennium Fulcrum edition 2.9 of the Canterbury corpus (alice29.txt), without its indents.
"""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.problems.problem import Part, Problem

CONTEXT = 32  # characters of a sample


def next_character(out: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats a character: logits [n, context, letters], next characters [n, context]."""
    return functional.cross_entropy(out.flatten(0, -2), y.flatten())


def characters(rows: int | None = None) -> Problem:
    """The next character after each of ``CONTEXT``: x and y int64 [n, CONTEXT], y one character further.

    The first 80 % of the text train, the next 10 % validate, the last test; ``rows`` keeps the first so many samples of
    the training part.
    """
    text = files("ravine.bench").joinpath("alice.txt").read_text(encoding="ascii")
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    ends = [0, len(text) * 8 // 10, len(text) * 9 // 10, len(text)]
    train, valid, test = (_part(codes[begin:end]) for begin, end in pairwise(ends))
    train = Part(train.x[:rows], train.y[:rows])
    return Problem(
        name="characters",
        task="classification",
        train=train,
        valid=valid,
        test=test,
        classes=tuple(letters),
        loss=next_character,
        understood=(
            f"{len(text):,} characters of Alice's Adventures in Wonderland",
            f"{len(letters)} different ones",
            f"{len(train):,} pieces of {CONTEXT} to train on, {len(valid):,} to validate, {len(test):,} to test",
        ),
    )


def _part(codes: Tensor) -> Part:
    pieces = (len(codes) - 1) // CONTEXT
    return Part(codes[: pieces * CONTEXT].view(pieces, -1), codes[1 : pieces * CONTEXT + 1].view(pieces, -1))


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after a layer norm and beside a straight way (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look, self.tell = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.forward_layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x: [n, context, width]."""
        x = x + self.tell(self._attention(self.look(self.before_attention(x))))
        return x + self.forward_layers(self.before_forward(x))

    def _attention(self, looked: Tensor) -> Tensor:
        n, context, wide = looked.shape
        parts = looked.view(n, context, 3, self.heads, wide // 3 // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]  # [n, heads, context, width / heads]
        likeness = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        future = torch.ones(context, context, dtype=torch.bool).triu(1)
        shares = likeness.masked_fill(future, float("-inf")).softmax(-1)
        return (shares @ value).transpose(1, 2).reshape(n, context, wide // 3)


class Transformer(nn.Module):
    """A causal transformer (Vaswani et al. 2017, arXiv:1706.03762).

    Characters [n, context] -> logits [n, context, letters].
    """

    def __init__(self, letters: int, width: int = 32, heads: int = 2, depth: int = 1) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, width)
        self.places = nn.Parameter(torch.randn(CONTEXT, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.out = nn.Linear(width, letters)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the character after each."""
        return self.out(self.blocks(self.letters(x) + self.places[: x.shape[-1]]))
