"""Every word and every part of a model: its shape, its lanes, its mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import ACTIVATIONS, activation_of
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.models import DEFAULTS, WORDS, count, model_factory
from ravine.problems.problem import Part
from ravine.racing.plan import refused
from ravine.recipe import Recipe
from ravine.rules.rule import make
from ravine.training.clock import Clock

IMAGE, ROW = (1, 8, 8), (6,)
CASES: list[tuple[str, tuple[int, ...], dict[str, str]]] = [
    ("mlp:8,8", ROW, {"activation": "maxout:3", "norm": "batch", "norm_place": "after"}),
    ("mlp:8,8", ROW, {"activation": "prelu", "norm": "group:4"}),
    ("mlp:8", ROW, {"activation": "swish", "norm": "rms"}),
    ("mlp:8", ROW, {"activation": "leaky-relu:0.2", "norm": "layer"}),
    ("cnn:4", IMAGE, {"norm": "batch"}),
    ("cnn:4", IMAGE, {"norm": "instance", "activation": "maxout"}),
    ("cnn:4", IMAGE, {"norm": "rms"}),
    ("cnn:4", IMAGE, {"norm": "layer", "norm_place": "after"}),
    ("resnet:4,8", IMAGE, {}),
    ("resnet:4,8", IMAGE, {"activation": "maxout", "norm": "group:2", "norm_place": "after"}),
    ("resmlp:8x3", ROW, {"norm": "layer"}),
    ("autoencoder:5,2", ROW, {"activation": "tanh"}),
    ("rnn:5", IMAGE, {"activation": "tanh"}),
    ("rnn:5", ROW, {"activation": "maxout"}),
    ("lstm:5x2:0.2", IMAGE, {}),
    ("transformer:16x1", IMAGE, {"activation": "gelu"}),
    ("transformer:6x1:0.2", ROW, {"activation": "maxout", "norm": "rms", "norm_place": "after"}),
]


@pytest.mark.parametrize(("word", "shape", "parts"), CASES, ids=[f"{w} {' '.join(p.values())}" for w, _, p in CASES])
def test_a_lane_of_it_is_the_run_alone(word: str, shape: tuple[int, ...], parts: dict[str, str]) -> None:
    factory = model_factory(word, shape, 3, **parts)
    model = Model(lambda: factory().double())
    drawn = torch.Generator().manual_seed(0)
    part = Part(torch.randn(16, *shape, dtype=torch.float64, generator=drawn), torch.arange(16) % 3)
    lanes = [model.lane(make("momentum", {"lr": rate}), {}, seed) for rate, seed in ((0.01, 0), (0.02, 1))]
    alone = [Lanes(model, nn.functional.cross_entropy, [lane.copy()]) for lane in lanes]
    both = Lanes(model, nn.functional.cross_entropy, lanes)
    for step in range(3):
        index = torch.stack([torch.randperm(16, generator=drawn)[:8] for _ in lanes])
        both.step(part, index, float(step))
        for place, one in enumerate(alone):
            one.step(part, index[place : place + 1], float(step))
    for together, one in zip(both.export(), alone, strict=True):
        torch.testing.assert_close(together.weights, one.export()[0].weights, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_has_a_default_that_can_be_written_out(kind: str) -> None:
    bare, full = (
        model_factory(word, IMAGE, 3)() for word in (kind, f"{kind}:{DEFAULTS[kind]}" if kind in DEFAULTS else kind)
    )
    assert count(bare) == count(full) and bare(torch.zeros(2, *IMAGE)).shape == (2, 3)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_norm_stands_where_it_was_asked_for(place: str) -> None:
    kinds = [
        type(layer).__name__ for layer in model_factory("mlp:5", ROW, 3, norm="batch", norm_place=place)().children()
    ]
    norm, act = kinds.index("BatchNorm1d"), kinds.index("ReLU")
    assert (norm < act) == (place == "before")


def test_a_resnet_shortens_and_a_second_block_of_a_width_keeps_its_input() -> None:
    made = model_factory("resnet:4,4,8", (3, 9, 9), 2)()
    assert made[:-2](torch.zeros(2, 3, 9, 9)).shape == (2, 8, 3, 3)  # pyright: ignore[reportIndexIssue]
    assert [type(m).__name__ for m in made.modules()].count("BatchNorm2d") == 1 + 2 + 3 + 3


@pytest.mark.parametrize(
    ("word", "shape", "parts", "words"),
    [
        ("cnn:10", IMAGE, {"norm": "group:3"}, "10 channels do not fall into 3 equal groups; use one of 1, 2, 5, 10"),
        ("mlp:5", ROW, {"norm": "bacth"}, "unknown norm 'bacth': did you mean 'batch'"),
        ("mlp:5", ROW, {"norm": "layer:3"}, "only group takes a number"),
        ("mlp:5", ROW, {"norm": "group:x"}, "only group takes a number"),
        ("mlp:5", ROW, {"norm": "instance"}, "one place a channel"),
        ("mlp:5", ROW, {"norm": "layer", "norm_place": "befor"}, "did you mean 'before'"),
        ("transformer:8x1", ROW, {"norm": "batch"}, "tokens take layer, rms or none"),
        ("lstm:5", ROW, {"norm": "layer"}, "has no place for norm layer"),
        ("lstm:5", ROW, {"activation": "gelu"}, "tanh of its own"),
        ("softmax", ROW, {"norm": "batch"}, "has no place for norm batch"),
        ("mlp:5", ROW, {"activation": "swsh"}, "unknown activation 'swsh': did you mean 'swish'"),
        ("mlp:5", ROW, {"activation": "relu:2"}, "relu takes no number"),
        ("mlp:5", ROW, {"activation": "maxout:1.5"}, "the pieces must be a whole number above 1"),
        ("mlp:5", ROW, {"activation": "elu:-1"}, "must be a number above 0"),
        ("mlp:5", ROW, {"activation": "elu:x"}, "the number is alpha"),
        ("resnet:4", ROW, {}, "needs images"),
        ("resnet:4,4,4,4,4", IMAGE, {}, "use at most 4 widths"),
        ("lstm:5,5", IMAGE, {}, "expected whole numbers as in lstm:64x1|widths must be"),
        ("resmlp:5x0", ROW, {}, "widths must be 1 or more"),
        ("trasformer", ROW, {}, "did you mean 'transformer'"),
    ],
)
def test_a_wrong_part_is_one_sentence(word: str, shape: tuple[int, ...], parts: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        model_factory(word, shape, 3, **parts)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_number_after_an_activation_is_its_own(name: str) -> None:
    x = torch.linspace(-2, 2, 12).reshape(2, 6)
    if name in ("leaky-relu", "prelu", "elu", "swish", "softplus", "maxout"):
        one, two = activation_of(name)()(x), activation_of(f"{name}:3")()(x)
        assert one.shape != two.shape or not torch.equal(one, two)
    else:
        with pytest.raises(UserError, match="takes no number"):
            activation_of(f"{name}:3")


def test_torchs_lstm_is_refused_as_lanes_and_ours_is_not() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x.unsqueeze(2))[0][:, -1])

    part = Part(torch.randn(16, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3)
    problem = ravine.from_arrays(part.x.numpy(), part.y.numpy(), name="toy", task="classification")
    for factory, can in ((Own, False), (model_factory("lstm:4", ROW, 3), True)):
        model = Model(factory)
        clock = Clock(len(problem.train), 3, 1)
        told = refused(model, nn.functional.cross_entropy, [model.lane(make("sgd", {}), {}, 0)], problem, clock)
        assert (told == "") == can and ("cannot map" in told and "lstm" in told) != can


def test_a_recipe_of_parts_trains() -> None:
    recipe = Recipe(
        problem="wine",
        model="mlp:16",
        activation="swish:1.5",
        norm="batch",
        init="auto",
        epochs=5,
        batch=16,
        rule={"name": "adam", "lr": 0.02},
    )
    run = ravine.train(recipe)
    assert run.result.curve[-1].valid_loss < 0.7 * run.result.curve[0].valid_loss
