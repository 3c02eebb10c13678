"""Evaluation in pieces: the numbers of the whole part, pieces that suit the model, and nothing changed by looking."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn
from torch.nn import functional

from ravine.problems import from_arrays
from ravine.problems.problem import Part
from ravine.training import loop
from ravine.training.loop import evaluate, evaluate_model
from ravine.training.piece import NUMBERS, rows_of, width_of

IMAGES = torch.randn(100, 1, 8, 8)
LABELS = torch.arange(100) % 3


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(96, 3)
    )


class Drawing(nn.Module):
    """Draws from torch's generator in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * torch.randn_like(x)


def test_the_width_is_that_of_the_widest_activation() -> None:
    assert width_of(net(), Part(IMAGES, LABELS)) == 24 * 8 * 8
    assert width_of(nn.LSTM(8, 30, batch_first=True), Part(torch.randn(5, 7, 8), LABELS[:5])) == 7 * 30
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))  # which makes a view of its inputs, and 5 numbers
    assert width_of(flat, Part(IMAGES, LABELS)) == 5
    assert width_of(net(), Part(IMAGES[:0], LABELS[:0])) == 0


def test_looking_changes_nothing() -> None:
    model = nn.Sequential(net(), Drawing())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    width_of(model, Part(IMAGES, LABELS))
    assert torch.get_rng_state().equal(state)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())  # pyright: ignore[reportPrivateUsage]


def test_pieces_give_the_numbers_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, model = from_arrays(IMAGES.numpy(), LABELS.numpy()), net().eval()
    part, seen = problem.train, list[int]()
    plain = loop.pieces

    def watched(part: Part, rows: int) -> object:
        seen.append(rows)
        return plain(part, 7)

    monkeypatch.setattr(loop, "pieces", watched)
    loss, metric = evaluate_model(model, functional.cross_entropy, problem, part)
    with torch.no_grad():
        chances = model(part.x).double().softmax(1)
    assert loss == pytest.approx(log_loss(part.y, chances), rel=1e-5)
    assert metric == pytest.approx(accuracy_score(part.y, chances.argmax(1)))
    assert seen == [rows_of(1, 3, 24 * 8 * 8)]
    evaluate(lambda x: model(x).unsqueeze(0), 1, functional.cross_entropy, problem, part)
    assert seen[1] == rows_of(1, 3) > seen[0]  # where the width is not known


@pytest.mark.parametrize("lanes", [1, 8, 64])
@pytest.mark.parametrize("width", [1, 128, 12544, 10**6])
def test_no_piece_is_larger_than_its_bounds(lanes: int, width: int) -> None:
    assert rows_of(lanes, 10, width, threads=2) >= rows_of(lanes, 10, width, threads=1)
    rows = rows_of(lanes, 10, width, threads=1)
    assert 32 <= rows <= rows_of(lanes, 10)
    assert rows == 32 or rows * lanes * width <= NUMBERS or rows == rows_of(lanes, 10)
