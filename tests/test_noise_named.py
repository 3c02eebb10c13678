"""Noise by name: put into anybody's model by the names of its modules, lanes with a rate each, recipes and races."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ravine
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.noise import KeyedDropout
from ravine.errors import UserError
from ravine.models import model_factory
from ravine.noise import DropConnect, Noised, WeightNoise, catalogue, noise_from_spec, put_noise, set_keys
from ravine.problems.problem import Part
from ravine.recipe import Recipe
from ravine.rules.rule import make

F64 = torch.float64


def noise(name: str, **settings: Any) -> Any:
    return noise_from_spec({"name": name, **settings})


class Functions(nn.Module):
    """A model of a user's own, one nonlinearity called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 50), nn.Linear(50, 50), nn.Linear(50, 2)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.second(self.act(self.first(x)))))


def test_dropout_of_inputs_and_hidden_units_is_what_the_layers_in_a_row_are() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    noisy = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    noisy.load_state_dict(plain.state_dict())
    put_noise(noisy, [noise("dropout", drop=0.2, on="input"), noise("dropout", keep=0.5)])
    set_keys(noisy, 3, 7)
    keys = {name.rpartition(".")[0]: int(b) for name, b in noisy.named_buffers() if name.endswith("noise_key")}
    assert sorted(keys) == ["1.noise_behind.0", "3.noise_behind.0", "noise_before.0"] and len(set(keys.values())) == 3

    def mask(place: str, x: Tensor, p: float) -> Tensor:
        layer = KeyedDropout(p)
        layer.noise_key.fill_(keys[place])
        return layer(x)

    x = torch.randn(9, 4)
    h = mask("1.noise_behind.0", plain[:2](mask("noise_before.0", x, 0.2)), 0.5)
    wanted = plain[4](mask("3.noise_behind.0", plain[2:4](h), 0.5))
    assert torch.equal(noisy(x), wanted)
    assert torch.equal(noisy.eval()(x), plain(x))
    assert [n for n, _ in noisy.named_parameters()] == [n for n, _ in plain.named_parameters()]


def test_words_and_patterns_name_places_in_models_of_any_kind() -> None:
    def names(word: str, **settings: Any) -> list[str]:
        return noise("dropout", drop=0.5, **settings).names(model_factory(word, (1, 8, 8), 3)())

    assert names("mlp:8,8") == ["2", "4"] and names("mlp:8,8", on="4") == ["4"] and names("mlp:8,8", on="input") == [""]
    assert names("cnn:4,4") == ["1", "4"]
    assert names("resnet:4,4", on="branches") == ["3.body", "4.body"]
    assert names("transformer:16x1", on="branches") == ["3.inner", "4.inner"]
    assert noise("dropout", drop=0.5).names(Functions()) == ["act"]  # though no layer stands behind it
    assert noise("dropconnect", drop=0.5).names(Functions()) == ["first", "second", "last"]
    out = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2), nn.Sigmoid())
    assert noise("gaussian", std=0.1, on="hidden").names(out) == ["1"]  # what a model puts out stays


def test_noise_on_weights_keeps_them_and_their_names() -> None:
    model = Functions()
    before = {name: p.clone() for name, p in model.named_parameters()}
    put_noise(model, [noise("dropconnect", drop=0.5, on="first"), noise("weight-noise", std=0.1, on="last")])
    assert isinstance(model.first, DropConnect) and isinstance(model.last, WeightNoise)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    x = torch.randn(3, 4)
    assert not torch.equal(model(x), model(x)) and torch.equal(model.eval()(x), model(x))


def test_stochastic_depth_drops_the_branch_of_a_sample_and_keeps_its_shortcut() -> None:
    model = model_factory("resmlp:6x1", (4,), 3)()
    block = model.get_submodule("2")
    assert isinstance(block, nn.Module)
    put_noise(model, [noise("stochastic-depth", drop=0.5)])
    set_keys(model, 0, 1)
    h = torch.rand(64, 6) + 1
    with torch.no_grad():
        added = block(h) - h
        whole = block.eval()(h) - h
    share = (added / whole).nan_to_num(0).round(decimals=3)
    assert set(share.unique().tolist()) == {0.0, 2.0}


def test_a_layer_put_in_leaves_the_draws_of_the_others() -> None:
    word = model_factory("mlp:20,20:0.5", (4,), 3)
    alone, more = Model(word), Model(Noised(word, [noise("gaussian", std=0.1)]))
    assert [alone.noise[n] for n in alone.noise] == [more.noise[n] for n in alone.noise] == [0, 1]
    assert more.noise["noise_before.0.noise_key"] == "gaussian on input"


@pytest.mark.parametrize("name", catalogue())
def test_lanes_of_other_amounts_are_the_runs_alone(name: str) -> None:
    """A lane's amount lies in its buffers; in company it walks to the bit of its type where the run alone walks."""
    kind = catalogue()[name]
    word = model_factory("resmlp:12x2", (6,), 3)
    word_of = {"spatial-dropout": model_factory("cnn:4,4", (1, 8, 8), 3)}.get(name, word)
    generator = torch.Generator().manual_seed(0)
    shape = (40, 1, 8, 8) if name == "spatial-dropout" else (40, 6)
    part = Part(torch.randn(shape, generator=generator, dtype=F64), torch.arange(40) % 3)
    amounts = (0.1, 0.4)

    def made(amount: float) -> Model:
        return Model(lambda: Noised(word_of, [noise(name, **{kind.amount: amount})])(0).double())

    one = made(amounts[0])
    lanes = [one.lane(make("sgd", {"lr": 0.1}), {}, seed) for seed in (1, 2)]
    held = [n for n in lanes[0].buffers if n.endswith(f".{kind.held}")]
    lanes[1].buffers = {**lanes[1].buffers, **{n: torch.tensor(amounts[1], dtype=F64) for n in held}}
    company = Lanes(one, functional.cross_entropy, lanes)
    for step in range(12):
        company.step(part, torch.arange(step % 3, 40, 3)[:12].expand(2, -1), 0.0)
    for lane, amount, seed in zip(company.export(), amounts, (1, 2), strict=True):
        model = made(amount)
        alone = Lanes(model, functional.cross_entropy, [model.lane(make("sgd", {"lr": 0.1}), {}, seed)])
        for step in range(12):
            alone.step(part, torch.arange(step % 3, 40, 3)[:12].expand(1, -1), 0.0)
        torch.testing.assert_close(lane.weights, alone.export()[0].weights, rtol=1e-10, atol=1e-12)
    assert company.stepping.records and company.stepping.is_settled  # noise does not keep a step from being recorded


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"drop": 0.5}, 'noise needs a name, such as name = "dropout"'),
        ({"name": "dropuot", "drop": 0.5}, "did you mean 'dropout'"),
        ({"name": "dropout", "dropp": 0.5}, "did you mean 'drop'"),
        ({"name": "dropout"}, "give drop"),
        ({"name": "dropout", "drop": 0.5, "keep": 0.5}, "one of them"),
        ({"name": "dropout", "drop": 1.0}, r"drop must lie in \(0, 1\)"),
        ({"name": "gaussian", "std": 0.0}, "std must be positive"),
        ({"name": "dropout", "drop": 0.5, "on": 3}, "on is a word in quotes"),
    ],
)
def test_a_wrong_noise_is_one_sentence(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Recipe(problem="wine", noise=[spec]).check()


def test_a_recipe_with_noise_trains_and_tells_where_it_is_not_possible() -> None:
    noises = [{"name": "dropout", "drop": 0.2, "on": "input"}, {"name": "dropout", "drop": 0.5}]
    recipe = Recipe(problem="wine", model="mlp:16", epochs=2, batch=16, noise=noises, init="he")
    noisy, again = ravine.train(recipe), ravine.train(recipe)
    assert noisy.fingerprint() == again.fingerprint()
    assert noisy.fingerprint() != ravine.train(recipe.model_copy(update={"noise": []})).fingerprint()
    x = noisy.problem.valid.x
    assert torch.equal(noisy.module(x), noisy.module(x))  # nothing is drawn at test
    with pytest.raises(UserError, match="no nonlinearity is a module"):
        ravine.train(recipe.model_copy(update={"model": "softmax"}))


def test_a_race_gives_every_run_the_noise_and_its_recipe_the_numbers() -> None:
    out = ravine.race(
        "wine", model="mlp:8", rules=["sgd", "adam"], budget=4, epochs=2, seeds=2, finalists=1, defaults=False,
        noise=[{"name": "dropout", "drop": 0.2, "on": "input"}, {"name": "weight-noise", "std": 0.05}],
        progress=False,
    )  # fmt: skip
    assert out.winner is not None
    recipe = out.winner.recipe
    assert [spec["name"] for spec in recipe.noise] == ["dropout", "weight-noise"]
    again = ravine.train(recipe)
    row = out.result.ranking[0]
    assert again.result.valid_loss == pytest.approx(row.valid_loss.values[0], rel=1e-5)
