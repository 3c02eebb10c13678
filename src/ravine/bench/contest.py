"""What the comparison races on: data, model and length of each problem, small enough for the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from ravine.bench.characters import Transformer, characters
from ravine.errors import unknown
from ravine.models import model_factory
from ravine.problems import load, names
from ravine.problems.problem import Problem

TRANSFORMER = "transformer:32"  # its width; the only model here that has no word in `ravine.models`


@dataclass(frozen=True)
class Contest:
    """One problem of the comparison: its name, the model's word, the length of a run, and how many samples it has."""

    name: str
    model: str
    epochs: int
    batch: int
    rows: int | None = None  # samples kept of all parts; None: all
    what: str = ""  # one clause for the page

    def problem(self) -> Problem:
        """The data, which are never downloaded for this."""
        if self.name == "characters":
            return characters(self.rows)
        return load(self.name, rows=self.rows, download=False)

    def factory(self, problem: Problem) -> Callable[[], nn.Module]:
        """A function that makes the model."""
        if self.model == TRANSFORMER:
            return lambda: Transformer(problem.outputs, width=int(TRANSFORMER.partition(":")[2]))
        return model_factory(self.model, problem.shape, problem.outputs)

    def times(self, length: float) -> Contest:
        """The same with so many times the epochs, one at least."""
        return replace(self, epochs=max(1, round(self.epochs * length)))


CONTESTS = {
    contest.name: contest
    for contest in (
        Contest("digits", "mlp:64", 15, 64, what="handwritten digits, 8x8"),
        Contest("mnist", "mlp:64", 5, 64, 3600, "handwritten digits, 28x28"),
        Contest("fashion-mnist", "mlp:64", 5, 64, 3600, "pictures of clothes, 28x28"),
        Contest("diabetes", "mlp:32", 20, 16, what="regression on 10 measurements"),
        Contest("characters", TRANSFORMER, 3, 16, 1000, "the next character of a book, by a small causal transformer"),
        Contest("cifar10", "cnn:4,8", 4, 16, 1000, "colour photographs, 32x32, by a small convolutional net"),
    )
}


def contest(name: str) -> Contest:
    """The contest of that name; for a further problem that is bundled, one with a small fully connected net.

    >>> contest("digits").model, contest("wine").batch
    ('mlp:64', 16)
    """
    if name in CONTESTS:
        return CONTESTS[name]
    if name not in names():
        raise unknown("problem", name, {*CONTESTS, *names()})
    return Contest(name, "mlp:32", 20, 16)
