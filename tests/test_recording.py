"""Recorded programs: the same bits as torch, and never where a recording could be wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.program import Programs
from ravine.engines.recording import CannotRecord, record
from ravine.engines.repeatable import is_repeatable
from ravine.models import model_factory
from ravine.problems.problem import Part
from ravine.rules.rule import make
from tests.test_lanes import go, samples

BATCH = torch.arange(10).unsqueeze(0)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 4, 2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: model_factory("mlp:8,8", (4,), 3, "tanh")(),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)),
    "convolutional": convolutional,
}


def lanes_of(factory: Callable[[], nn.Module], seeds: Sequence[int], records: bool) -> Lanes:
    model = Model(factory)
    lanes = Lanes(model, functional.cross_entropy, [model.lane(make("adam", {}), {}, seed) for seed in seeds])
    lanes.stepping.records = lanes.stepping.records and records
    return lanes


@pytest.mark.parametrize("seeds", [(1,), (1, 1, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_recorded_steps_are_torchs_to_the_bit(name: str, seeds: tuple[int, ...]) -> None:
    part = samples()
    recorded, plain = (go(lanes_of(MODELS[name], seeds, records), part) for records in (True, False))
    assert recorded.stepping.records and recorded.stepping.is_settled, "it was recorded and is used"
    assert torch.equal(recorded.weights, plain.weights)
    for name_, buffer in plain.buffers.items():
        assert torch.equal(recorded.buffers[name_], buffer)


def test_a_nan_lane_is_recorded_too() -> None:
    model = Model(MODELS["mlp"])
    lanes = [model.lane(make("sgd", {}), {}, seed) for seed in (1, 1)]
    lanes[1].weights = torch.full_like(lanes[1].weights, torch.nan)
    ended = go(Lanes(model, functional.cross_entropy, lanes), samples())
    assert ended.stepping.records
    assert ended.weights.isnan().all(1).tolist() == [False, True]


class Counting(nn.Module):
    """Keeps a number in itself and uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) / self.calls


class Drawing(nn.Module):
    """Draws from Python's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * random.random()


class Helped(nn.Module):
    """Calls a function that keeps something."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return remembered(self.layer(x))


seen: dict[str, Any] = {}


def remembered(x: Tensor) -> Tensor:
    seen["last"] = x.shape
    return x


class Plain(nn.Module):
    """What most people write."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.second(h + self.squashed(h))

    def squashed(self, h: Tensor) -> Tensor:
        return functional.softmax(h, -1)


@pytest.mark.parametrize("module", [Counting, Drawing, Helped], ids=lambda m: m.__name__)
def test_code_that_may_do_something_else_next_time_is_not_recorded(module: Callable[[], nn.Module]) -> None:
    assert not is_repeatable(module())
    assert not is_repeatable(nn.Sequential(nn.ReLU(), module()))


def test_plain_code_and_torchs_is_recorded() -> None:
    assert is_repeatable(Plain())
    assert is_repeatable(functional.mse_loss)
    assert is_repeatable(lambda x, y: ((x - y) ** 2).mean())  # pyright: ignore[reportUnknownLambdaType]
    hooked = Plain()
    hooked.register_forward_hook(lambda *_: None)
    assert not is_repeatable(hooked)


class Scaled:
    """A loss whose scale may be set between two steps."""

    def __init__(self) -> None:
        self.scale = 1.0

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(x, y) * self.scale


def ping(x: Tensor) -> Tensor:
    return pong(x) if x.dim() > 1 else x


def pong(x: Tensor) -> Tensor:
    return remembered(ping(x[0]))


def test_what_may_change_outside_and_functions_that_call_each_other_are_seen() -> None:
    assert not is_repeatable(Scaled().loss)
    assert not is_repeatable(ping) and not is_repeatable(pong)


def test_a_counting_model_trains_as_it_counts() -> None:
    model = Model(Counting)
    run = Lanes(model, functional.cross_entropy, [model.lane(make("sgd", {}), {}, 1)])
    part: Part = samples()
    first, second = run.step(part, BATCH, 0.0), run.step(part, BATCH, 0.0)
    module: Any = model.module
    assert module.calls == 2
    assert abs(second.item() - first.item()) > 0.01, "half the logits: another loss at once"


def test_work_that_asks_for_a_number_is_not_recorded() -> None:
    def work(x: Tensor) -> list[Tensor]:
        return [x + 1 if x.sum() > 0 else x - 1]

    with pytest.raises(CannotRecord) as error:
        record(work, [torch.ones(2)])
    assert torch.equal(error.value.results[0], torch.full((2,), 2.0)), "the call was made all the same"
    programs = Programs(work, True, fixed=1)
    assert [programs(torch.full((2,), x))[0][0].item() for x in (1.0, 1.0, 1.0, -1.0)] == [2, 2, 2, -2]


def test_a_recording_that_gives_other_bits_is_dropped() -> None:
    calls = [0]

    def work(x: Tensor) -> list[Tensor]:
        calls[0] += 1
        return [x + calls[0]]

    programs = Programs(work, True, fixed=1)
    assert [programs(torch.zeros(()))[0].item() for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert not programs.records


def test_a_model_that_changes_its_own_weights_is_not_recorded() -> None:
    def work(w: Tensor) -> list[Tensor]:
        w.detach().mul_(0.5)
        return [w * 1]

    w, programs = torch.ones(2), Programs(work, True, fixed=1)
    for _ in range(5):
        programs(w)
    assert w[0].item() == 0.5**5 and not programs.records


def test_what_changes_in_place_changes_once_a_call() -> None:
    def work(w: Tensor, count: Tensor) -> list[Tensor]:
        count.add_(1)
        return [w * count]

    w, count, programs = torch.ones(2), torch.zeros(()), Programs(work, True, fixed=1)
    assert [programs(w, count)[0][0].item() for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert programs.records and programs.is_settled


def test_torchs_generator_is_where_it_would_be() -> None:
    def work(x: Tensor) -> list[Tensor]:
        return [x + torch.rand(2)]

    torch.manual_seed(5)
    want = [torch.rand(2) for _ in range(6)]
    torch.manual_seed(5)
    programs = Programs(work, True, fixed=1)
    assert all(torch.equal(programs(torch.zeros(2))[0], one) for one in want)


def test_the_source_lets_go_of_what_is_not_needed() -> None:
    def work(x: Tensor) -> list[Tensor]:
        _ = x.exp()
        return [(x.detach() * 2).relu()]

    recording, _ = record(work, [torch.ones(3)])
    lines = [line.strip() for line in recording.source.splitlines()]
    assert len([line for line in lines if " = " in line]) == 2, recording.source
    assert "del t1" in lines


def test_a_sum_over_rows_that_only_loses_its_dimension_is_one_operation() -> None:
    def work(x: Tensor) -> Sequence[Tensor]:
        kept = x.sum(0, keepdim=True)
        return [x.sum(0, keepdim=True).view(3), kept, kept.view(3, 1)]

    x = torch.randn(50, 3)
    recording, results = record(work, [x])
    assert recording.source.count("(a0, [0])") == 1, recording.source
    again = recording.work(x)
    assert [t.shape for t in again] == [(3,), (1, 3), (3, 1)]
    assert all(torch.equal(a, b) for a, b in zip(results, again, strict=True))
    other = torch.randn(50, 3)
    assert torch.equal(recording.work(other)[0], other.sum(0)), "of what it is given, not of what was recorded"


def test_tensors_looked_at_once_go_before_the_others_and_shapes_are_still_told_apart() -> None:
    programs = Programs(lambda w, x: [w.t() * x.sum()], True, 1)
    on_three, on_two = programs.on([torch.ones(3)]), programs.on([torch.ones(2)])
    for _ in range(8):
        for size in (4, 5):
            x = torch.randn(size)
            assert torch.equal(on_three(x)[0], torch.ones(3) * x.sum())
            assert torch.equal(on_two(x)[0], torch.ones(2) * x.sum())
            assert torch.equal(programs(torch.ones(3), x)[0], torch.ones(3) * x.sum())
    assert programs.records and programs.is_settled


def test_gradients_that_lie_elsewhere_or_with_gaps_are_followed() -> None:
    """A single run hands its gradients to the kernel by address: as autograd left them, wherever that was."""

    class Gapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor) -> Tensor:
            return w.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            (g,) = grads
            return torch.cat([g, g * 7], dim=1)[:, : g.shape[1]]  # every second part of its memory

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ Gapped.apply(self.weight).T  # pyright: ignore

    part = samples()
    gapped, plain = lanes_of(Net, (1,), True), lanes_of(Net, (1,), True)
    plain.weights.copy_(gapped.weights)
    kept: list[Tensor] = []  # so that no gradient has the address of the last one
    for step in range(6):
        gapped.step(part, BATCH, float(step))
        w = plain.weights.view(3, 4).clone().requires_grad_()
        loss = functional.cross_entropy(part.x[BATCH[0]] @ w.T, part.y[BATCH[0]])
        (g,) = torch.autograd.grad(loss, w)
        kept.append(g)
        plain.step_count += 1
        plain.groups[0].update(plain.weights, [g], plain.step_count, float(step))
    assert gapped.groups[0].is_direct
    assert torch.allclose(gapped.weights, plain.weights, rtol=1e-6, atol=1e-7)


def test_views_of_what_stays_are_made_once_and_follow_it() -> None:
    recording, _ = record(lambda w, x: [x @ w.t(), w.t() + 1, x.t()], [torch.randn(3, 2), torch.randn(4, 2)], fixed=1)
    w = torch.randn(3, 2)
    begun = recording.begin(w)
    for _ in range(2):
        x = torch.randn(4, 2)
        product, more, turned = recording.rest(*begun, w, x)
        assert torch.equal(product, x @ w.t()) and torch.equal(more, w.t() + 1) and torch.equal(turned, x.t())
        w.mul_(3.0)
    head, _, tail = recording.source.partition("def rest")
    assert head.count("=") == 2 and tail.count("=") == 3, "both looks at w are made once, that at x each time"


def test_the_one_that_a_gradient_begins_with_is_a_constant() -> None:
    def work(w: Tensor) -> Sequence[Tensor]:
        leaf = w.detach().requires_grad_()
        return torch.autograd.grad((leaf * leaf).sum().exp(), [leaf])

    recording, _ = record(work, [torch.ones(3)])
    for w in (torch.zeros(3), torch.tensor([0.1, 0.2, 0.3])):
        assert torch.equal(recording.work(w)[0], work(w)[0])
    assert "pin_memory" not in recording.source, recording.source
