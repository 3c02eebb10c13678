"""Initialisers: torch's numbers where torch has them, keyed draws on any module, and one sentence on a mistake."""

from __future__ import annotations

import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import Tensor, nn

import ravine
from ravine import initial
from ravine.blocks import Maxout
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.initial import Fans, Initial, Initialised, init_
from ravine.losses import loss_of
from ravine.problems import load
from ravine.randomness import build, generator
from ravine.recipe import Recipe, load_recipe
from ravine.rules.rule import make
from ravine.training.model import model_for
from ravine.training.train import Training

SIZES = {"linear": (40, 24), "conv": (12, 6, 3, 3)}
TORCH: dict[str, Any] = {
    "zeros": lambda w, g: nn.init.zeros_(w),
    "constant:value=0.3": lambda w, g: nn.init.constant_(w, 0.3),
    "normal:std=0.2,mean=1": lambda w, g: nn.init.normal_(w, 1.0, 0.2, generator=g),
    "uniform:std=0.5": lambda w, g: nn.init.uniform_(w, -(3**0.5) * 0.5, 3**0.5 * 0.5, generator=g),
    "truncated-normal": lambda w, g: nn.init.trunc_normal_(w, 0, 0.02, -0.04, 0.04, generator=g),
    "xavier:gain=3": lambda w, g: nn.init.xavier_normal_(w, 3.0, generator=g),
    "glorot:distribution=uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "he": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "kaiming:distribution=uniform,fan=out": lambda w, g: nn.init.kaiming_uniform_(
        w, mode="fan_out", nonlinearity="relu", generator=g
    ),
    "he:slope=0.2": lambda w, g: nn.init.kaiming_normal_(w, 0.2, generator=g),
    "lecun": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="linear", generator=g),
    "orthogonal:gain=2": lambda w, g: nn.init.orthogonal_(w, 2.0, generator=g),
}


def layer(shape: tuple[int, ...]) -> nn.Module:
    return nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3)


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("spec", TORCH)
def test_the_numbers_are_torchs(spec: str, shape: tuple[int, ...]) -> None:
    made = layer(shape)
    init_(made, spec, seed=3)
    want = TORCH[spec](torch.empty(shape), generator(3, "initial", "weight"))
    torch.testing.assert_close(made.get_parameter("weight"), want, rtol=2e-7, atol=0)
    assert not made.get_parameter("bias").any()


def everything() -> nn.Module:
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(20, 8, padding_idx=0),
            "conv": nn.Conv1d(8, 6, 3, groups=2),
            "back": nn.ConvTranspose2d(4, 6, 3),
            "norm": nn.BatchNorm1d(8),
            "lstm": nn.LSTM(5, 4),
            "attention": nn.MultiheadAttention(8, 2),
            "head": nn.Linear(8, 2),
        }
    )


@pytest.mark.parametrize("name", [n for n in initial.catalogue() if n not in ("zeros", "constant", "lsuv")])
def test_a_draw_depends_on_seed_and_name_alone(name: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two = everything(), everything()
    torch.set_rng_state(state)
    init_(one, name, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    init_(two, name, seed=4)
    alone = nn.ModuleDict({"head": nn.Linear(8, 2)})
    init_(alone, name, seed=4)
    both = list(zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in both)
    assert torch.equal(alone.get_parameter("head.weight"), one.get_parameter("head.weight"))
    init_(two, name, seed=5)
    assert not torch.equal(two.get_parameter("head.weight"), one.get_parameter("head.weight"))


def test_norms_frozen_and_own_parameters_stay_and_are_named() -> None:
    made = everything()
    made.register_parameter("mine", nn.Parameter(torch.full((3, 3), 7.0)))
    frozen = made.get_parameter("head.weight").requires_grad_(False).clone()
    told = init_(made, "he", seed=0)
    assert told.left == ("mine", "norm.weight", "norm.bias") and "left alone: mine" in str(told)
    assert torch.equal(made.get_parameter("norm.weight"), torch.ones(8)) and bool(
        (made.get_parameter("mine") == 7).all()
    )
    assert torch.equal(made.get_parameter("head.weight"), frozen)
    assert not made.get_parameter("embed.weight")[0].any()  # the padding's row


def test_stacked_maps_are_drawn_one_by_one_and_fans_are_those_of_one() -> None:
    made = everything()
    init_(made, "orthogonal")
    for gate in made.get_parameter("lstm.weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(4))
    fans = {place.name: place.fans for place in initial.places(made) if place.kind == "weight"}
    assert fans["lstm.weight_ih_l0"] == Fans(5, 4) and fans["attention.in_proj_weight"] == Fans(8, 8)
    assert fans["back.weight"] == Fans(36, 54) and fans["embed.weight"] == Fans(1, 8)


def test_a_shared_weight_is_drawn_once() -> None:
    made = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    made[1].weight = made[0].weight
    assert [drawn.name for drawn in init_(made, "he").weights] == ["0.weight"]


def test_biases_are_set_too() -> None:
    made = nn.Linear(4, 5000)
    init_(made, "he:bias=1")
    assert bool((made.bias == 1).all())
    init_(made, "zeros:bias_std=0.5")
    assert float(made.bias.detach().std()) == pytest.approx(0.5, rel=0.05) and not made.weight.any()


def test_auto_goes_by_what_follows_and_says_so() -> None:
    acts: list[nn.Module] = [nn.ReLU(), nn.LeakyReLU(0.5), nn.Tanh(), nn.Sigmoid(), nn.GELU(), Maxout(2)]
    made = nn.Sequential(*[part for act in acts for part in (nn.Linear(300, 300), nn.BatchNorm1d(300), act)])
    made.append(nn.Linear(300, 300))
    told = init_(made, "auto")
    want = [2**0.5, 1.6**0.5, 1.0, 4.0, initial.gain(nn.GELU()), 1.0, 1.0]
    assert [d.std * 300**0.5 for d in told.weights] == pytest.approx(want, rel=0.02)
    assert "he normal" in str(told) and "for Sigmoid after it" in str(told) and "for nothing after it" in str(told)
    functional = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
    again = init_(functional, "auto", activation="relu")
    assert [d.std * 300**0.5 for d in again.weights] == pytest.approx([2**0.5, 1.0], rel=0.02)


@pytest.mark.parametrize(
    ("act", "torchs"), [(nn.ReLU(), nn.init.calculate_gain("relu")), (nn.LeakyReLU(0.3), (2 / 1.09) ** 0.5)]
)
def test_the_gain_is_torchs_where_it_is_exact(act: nn.Module, torchs: float) -> None:
    assert initial.gain(act) == pytest.approx(torchs, rel=1e-8)


@pytest.mark.parametrize("act", [nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.ELU(), nn.PReLU(4), Maxout(3)])
def test_the_gain_keeps_the_mean_square(act: nn.Module) -> None:
    z = torch.randn(200_000, 4 * getattr(act, "pieces", 1), generator=torch.Generator().manual_seed(0))
    assert float((initial.gain(act) * act(z).detach()).square().mean()) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("name", initial.catalogue())
def test_every_initialiser_is_written_read_back_and_explained(name: str) -> None:
    made = initial.from_spec(name)
    spec = tomllib.loads(tomli_w.dumps(initial.to_spec(made)))
    assert initial.from_spec(spec) == made and type(made).__name__ in initial.__all__
    told = type(made).__doc__ or ""
    assert (" = " in told or " ~ " in told or "<-" in told or ": " in told) and "\n\n" in told


def test_an_initialiser_of_ones_own_is_in_the_catalogue() -> None:
    class Ones(Initial):
        """Ones."""

        def draw(self, shape: Any, fans: Fans, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
            return torch.ones(tuple(shape), dtype=dtype)

    made = nn.Linear(2, 2)
    init_(made, Ones())
    assert bool((made.weight == 1).all()) and initial.catalogue()["ones"] is Ones


@pytest.mark.parametrize(
    ("module", "spec", "words"),
    [
        (nn.ReLU(), "he", "ReLU has no weights to draw"),
        (nn.BatchNorm1d(3), "he", "has no weights to draw"),
        (nn.LazyLinear(3), "he", "a lazy layer has no sizes yet"),
        (nn.Linear(2, 2), "hee", "unknown initialiser 'hee': did you mean 'he'"),
        (nn.Linear(2, 2), "xaver", "did you mean 'xavier'"),
        (nn.Linear(2, 2), "he:fanout", "settings are written as"),
        (nn.Linear(2, 2), "he:fann=in", "did you mean 'fan'"),
        (nn.Linear(2, 2), "he:fan=both", "fan must be 'in' or 'out'"),
        (nn.Linear(2, 2), "normal:std=-1", "std must be positive, got -1"),
        (nn.Linear(2, 2), "he:follow=true", "gain of ReLU already"),
        (nn.Linear(2, 2), "sparse:connections=1.5", "give a whole number"),
        (nn.Linear(2, 2), "lsuv", "give data, a batch of inputs"),
        (nn.Linear(2, 2), {"gain": 2.0}, "an initialiser needs a name"),
        (nn.Linear(2, 2), ["he"], "or a table with a name, got"),
        (nn.Linear(2, 2), 3, "or a table with a name, got 3"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(module: nn.Module, spec: Any, words: str) -> None:
    before = [p.clone() for p in module.parameters() if not isinstance(module, nn.LazyLinear)]
    with pytest.raises(UserError, match=words):
        init_(module, spec)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=False))


def test_a_module_without_numbers_and_data_that_do_not_fit_are_told() -> None:
    with pytest.raises(UserError, match="on the meta device"):
        init_(nn.Linear(2, 2, device="meta"))
    made = nn.Linear(2, 2)
    before = made.weight.detach().clone()
    with pytest.raises(UserError, match=r"a batch of shape \(4, 5\) raised RuntimeError"):
        init_(made, "lsuv", data=torch.randn(4, 5, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(made.weight, before)


def test_lsuv_on_data_that_it_cannot_scale_changes_nothing() -> None:
    made = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    before = [p.clone() for p in made.parameters()]
    with pytest.raises(UserError, match=r"the outputs of 0\.weight on the data are all the same"):
        init_(made, "lsuv", data=torch.zeros(4, 3))
    assert all(torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True)) and made.training
    assert not made[0]._forward_hooks  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("init", ["he", "lsuv", {"name": "xavier", "gain": 4.0}])
def test_a_recipe_is_the_same_alone_in_lanes_and_after_a_resume(init: Any, tmp_path: Path) -> None:
    recipe = load_recipe(
        Recipe(problem="wine", model="mlp:8", epochs=6, batch=16, init=init, norm="layer").save(tmp_path / "r")
    )
    problem = load("wine")
    factory = model_for(recipe, problem)
    assert isinstance(factory, Initialised)
    by_hand = build(factory.factory, 0)
    init_(by_hand, init, 0, data=factory.data)
    model, loss = Model(factory), loss_of(problem)
    rule = make("adam", {})
    first = Training(recipe, problem).state.lane
    assert first is not None
    for name, view in model.views(first.weights).items():
        assert torch.equal(view, by_hand.get_parameter(name))
    lanes = Lanes(model, loss, [model.lane(rule, {}, seed) for seed in (0, 1)])
    assert torch.equal(lanes.export()[0].weights, first.weights)
    whole = ravine.train(recipe).fingerprint()
    begun = Training(recipe, problem, tmp_path / "run")
    for _ in begun.run():
        if begun.state.tick == 2:
            signal.raise_signal(signal.SIGINT)
    assert begun.interrupted
    again = Training(recipe, problem, tmp_path / "run")
    again.restore(tmp_path / "run")
    for _ in again.run():
        pass
    assert again.fingerprint() == whole


def test_a_recipe_with_a_wrong_part_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('problem = "wine"\ninit = "hee"\n')
    with pytest.raises(UserError, match="unknown initialiser 'hee'"):
        load_recipe(path)
    with pytest.raises(UserError, match="has the norms that its code gives it"):
        model_for(Recipe(problem="wine", model="own", norm="batch"), ravine.from_arrays(
            load("wine").train.x.numpy(), load("wine").train.y.numpy(), name="w", model=lambda: nn.Linear(13, 3)
        ))  # fmt: skip


def test_spreads_are_those_of_the_outputs_and_leave_the_module_alone() -> None:
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3), nn.Tanh())
    init_(made, "he")
    made.get_parameter("1.bias").data[0] = -100.0  # one channel of four is dead
    x = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    first, last = initial.spreads(made, x)
    assert made.training and not made.get_buffer("1.num_batches_tracked") and first.dead == 0.25 and last.dead == 0
    out = made.eval()(x).detach()
    assert (last.name, last.mean, last.std) == (
        "5",
        pytest.approx(float(out.mean())),
        pytest.approx(float(out.std(correction=0))),
    )
    with pytest.raises(UserError, match="has no nonlinearity that is a module"):
        initial.spreads(nn.Linear(2, 2), x)
