"""Models by short words, and the check that a model fits its data before minutes are spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ravine.errors import UserError
from ravine.models import ACTIVATIONS, count, mlp, model_factory, probe
from ravine.problems import from_arrays, load


@pytest.mark.parametrize(
    ("word", "shape", "parameters"),
    [
        ("softmax", (4,), 4 * 3 + 3),
        ("linear", (2, 3), 6 * 3 + 3),
        ("mlp:5", (4,), 4 * 5 + 5 + 5 * 3 + 3),
        ("mlp:5,7:0.5", (4,), 25 + 42 + 24),
        ("mlp", (4,), 640 + 129 * 128 + 129 * 3),
        ("cnn:2,3", (1, 8, 8), 20 + 57 + (3 * 4 * 3 + 3)),
        ("cnn:2", (3, 9, 7), 56 + (2 * 4 * 3 * 3 + 3)),
    ],
)
def test_a_word_is_a_model(word: str, shape: tuple[int, ...], parameters: int) -> None:
    made = model_factory(word, shape, 3)()
    assert count(made) == parameters
    assert made(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_stands_between_layers_and_not_at_the_end(name: str) -> None:
    made = list(model_factory("mlp:5,5", (4,), 3, name)().children())
    assert [type(layer) for layer in made].count(ACTIVATIONS[name]) == 2
    assert isinstance(made[-1], nn.Linear)


def test_dropout_is_between_hidden_layers_only() -> None:
    assert [type(layer).__name__ for layer in mlp([2, 3, 1], dropout=0.5)] == [
        "Flatten", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "shape", "words"),
    [
        ("mpl:3", (4,), "did you mean 'mlp'"),
        ("mlp:3,x", (4,), "expected whole numbers"),
        ("mlp:0", (4,), "widths must be 1 or more"),
        ("mlp:3:1", (4,), r"dropout in \[0, 1\)"),
        ("softmax:3", (4,), "softmax is"),
        ("cnn:3", (4,), "needs images"),
        ("cnn:3,3,3,3", (1, 8, 8), "use at most 3"),
    ],
)
def test_a_wrong_word_says_what_would_be_right(word: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        model_factory(word, shape, 3)


def two_outputs() -> nn.Module:
    return nn.Linear(13, 2)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(13, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x), x


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.bias


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (two_outputs, r"output has shape \(2, 2\), but needed is \(2, 3\)"),
        (lambda: nn.Linear(4, 3), r"a batch of shape \(2, 13\) raised RuntimeError: mat1 and mat2"),
        (Pair, "gives a tuple"),
        (Wrong, "raised AttributeError"),
        (lambda: nn.LazyLinear(3), "lazy layers"),
        (nn.Flatten, "no parameters"),
        (lambda: 1 / 0, "raised ZeroDivisionError"),
        (dict, "makes a dict"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UserError, match=words):
        probe(model, load("wine"), "own")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda out, y: out - y.reshape(-1, 1), "raised RuntimeError: grad can be implicitly created only for scalar"),
        (lambda out, y: out.mean().item(), "raised AttributeError"),
        (nn.functional.mse_loss, "loss mse_loss of outputs"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(loss: Any, words: str) -> None:
    wine = load("wine")
    made = from_arrays(wine.train.x.numpy(), wine.train.y.numpy(), name="w", task="classification", loss=loss)
    with pytest.raises(UserError, match=words):
        probe(lambda: nn.Linear(13, 3), made, "own")


def test_a_probe_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(2)
    torch.manual_seed(5)
    probe(lambda: nn.Linear(13, 3), load("wine"), "own")
    assert torch.equal(torch.rand(2), want)
