"""Row R26: parameter counts of the lectures' networks by formula; row R12: stopping early and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks.recurrent import RNN
from ravine.engines.lane import Model
from ravine.models import count, model_factory
from ravine.problems import from_arrays, load
from ravine.recipe import Recipe
from ravine.training.loop import evaluate_model
from ravine.training.train import Training


def linear(n: int, m: int) -> int:
    """Weights and biases of a fully connected layer."""
    return n * m + m


def conv(n: int, m: int, k: int, bias: bool = True) -> int:
    """Kernels of k x k, and biases."""
    return n * m * k * k + m * bias


@pytest.mark.parametrize("widths", [(2,), (128, 128), (64, 32, 16)])
def test_row_r26_an_mlp_has_the_sum_of_n_plus_one_times_m(widths: Sequence[int]) -> None:
    sizes = [7, *widths, 3]
    want = sum((n + 1) * m for n, m in pairwise(sizes))
    assert count(model_factory(f"mlp:{','.join(map(str, widths))}", (7,), 3)()) == want


def test_row_r26_the_net_of_xor_has_nine_parameters_with_one_output_and_learns_it() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0.0, 1.0, 1.0, 0.0])
    learned = 0
    for seed in range(4):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
        assert count(net) == linear(2, 2) + linear(2, 1) == 9
        optimizer = ravine.optim.Adam(net.parameters(), lr=0.1)
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(net(x).squeeze(1), y).backward()
            optimizer.step()
        learned += bool(((net(x).squeeze(1) > 0) == (y > 0)).all())
    assert learned >= 1  # with two hidden units some draws end in a local minimum
    assert count(model_factory("mlp:2", (2,), 2, "tanh")()) == linear(2, 2) + linear(2, 2)


def vgg(plan: Sequence[int | str]) -> nn.Sequential:
    """Simonyan & Zisserman 2015 (arXiv:1409.1556), table 1, for 224 x 224 images and 1000 classes."""
    layers, wide = list[nn.Module](), 3
    for step in plan:
        layers += [nn.MaxPool2d(2)] if isinstance(step, str) else [nn.Conv2d(wide, step, 3, padding=1), nn.ReLU()]
        wide = wide if isinstance(step, str) else step
    head = [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, *head)


BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@pytest.mark.parametrize(("depth", "published"), [(16, 138_357_544), (19, 143_667_240)])
def test_row_r26_vgg_has_its_published_count(depth: int, published: int) -> None:
    plan: list[int | str] = []
    want, before = linear(512 * 49, 4096) + linear(4096, 4096) + linear(4096, 1000), 3
    for wide, many in zip((64, 128, 256, 512, 512), BLOCKS[depth], strict=True):
        plan += [*[wide] * many, "M"]
        for _ in range(many):
            want += conv(before, wide, 3)
            before = wide
    with torch.device("meta"):
        made = vgg(plan)
    assert count(made) == want == published


class Basic(nn.Module):
    """Two convolutions with batch normalisation, and a shortcut without parameters (option A)."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n, m, 3, bias=False), nn.BatchNorm2d(m), nn.ReLU(),
            nn.Conv2d(m, m, 3, bias=False), nn.BatchNorm2d(m),
        )  # fmt: skip


@pytest.mark.parametrize(("depth", "million"), [(20, 0.27), (56, 0.85)])
def test_row_r26_resnet_20_and_56_of_cifar_have_their_published_counts(depth: int, million: float) -> None:
    blocks = (depth - 2) // 6
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16)]
    want, before = conv(3, 16, 3, bias=False) + 2 * 16, 16
    for wide in (16, 32, 64):
        for _ in range(blocks):
            layers.append(Basic(before, wide))
            want += conv(before, wide, 3, False) + conv(wide, wide, 3, False) + 4 * wide
            before = wide
    made = nn.Sequential(*layers, nn.Linear(64, 10))
    want += linear(64, 10)
    assert count(made) == want
    assert round(want / 1e6, 2) == million  # He et al. 2016, table 6


def test_row_r26_our_resnet_word_is_counted_by_the_same_formula() -> None:
    made = model_factory("resnet:8,16", (1, 8, 8), 10)()
    stem = conv(1, 8, 3, False) + 2 * 8
    first = 2 * conv(8, 8, 3, False) + 4 * 8
    second = conv(8, 16, 3, False) + conv(16, 16, 3, False) + 4 * 16 + conv(8, 16, 1, False) + 2 * 16
    assert count(made) == stem + first + second + linear(16, 10)
    assert Model(lambda: made).size == count(made)


@pytest.mark.parametrize("wide", [5, 16])
def test_row_r26_recurrent_layers_share_their_weights_over_time(wide: int) -> None:
    own = RNN(7, wide, nn.Tanh)
    theirs = nn.RNN(7, wide)
    assert count(own) == 7 * wide + wide * wide + wide
    assert count(theirs) == 7 * wide + wide * wide + 2 * wide  # torch keeps two biases
    short, long = (model_factory(f"lstm:{wide}", (1, rows, 7), 3)() for rows in (4, 40))
    assert count(short) == count(long)
    assert count(nn.LSTM(7, wide)) == 4 * (7 * wide + wide * wide + 2 * wide)


# --- Row R12 ---------------------------------------------------------------------------------------------------------


def noisy() -> Any:
    """Few samples with wrong labels: a net that learns them by heart, and loses by it."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(400, 12, generator=draw)
    y = (x[:, :3].sum(1) + 1.5 * torch.randn(400, generator=draw) > 0).long()
    return from_arrays(x.numpy(), y.numpy(), name="noisy")


@pytest.mark.parametrize("monitor", ["valid_loss", "accuracy"])
def test_row_r12_the_best_weights_are_restored_exactly_and_err_less_than_the_last(monitor: str) -> None:
    recipe = Recipe(
        problem="noisy", model="mlp:64,64", norm="batch", epochs=40, batch=16, monitor=monitor,
        rule={"name": "adam", "lr": 0.01},
    )  # fmt: skip
    problem = noisy()
    running = Training(recipe, problem)
    seen: dict[float, dict[str, torch.Tensor]] = {}
    for point in running.run():
        if running.state.best is not None and running.state.best_point == point:
            seen = {point.epoch: {n: t.clone() for n, t in running.model.load(running.state.best).state_dict().items()}}
    best = running.state.best_point
    assert best is not None and best.epoch < 20
    restored = running.module.state_dict()
    assert sum("running" in name for name in restored) == 4  # the statistics too, to the bit
    assert all(torch.equal(restored[name], tensor) for name, tensor in seen[best.epoch].items())
    loss, accuracy = evaluate_model(running.module, running.loss, running.problem, running.problem.valid)
    assert (loss, accuracy) == (best.valid_loss, best.metric)
    assert running.state.lane is not None
    last = running.model.load(running.state.lane)
    assert evaluate_model(last, running.loss, running.problem, running.problem.test)[0] > 1.3 * running.test()[0]


def test_row_r12_patience_spends_less_and_keeps_the_same_best() -> None:
    base: dict[str, Any] = {
        "problem": "wine",
        "model": "mlp:16",
        "epochs": 40,
        "batch": 16,
        "rule": {"name": "adam", "lr": 0.05},
    }
    runs: list[Training] = []
    for patience in (0, 6):
        running = Training(Recipe(**base, patience=patience), load("wine"))
        for _ in running.run():
            pass
        runs.append(running)
    whole, short = runs
    assert short.result.status == "stopped" and len(short.result.curve) < len(whole.result.curve)
    assert short.result.curve == whole.result.curve[: len(short.result.curve)]
    if whole.result.best_epoch == short.result.best_epoch:
        assert short.fingerprint() == whole.fingerprint()
