"""Penalties and projections: their equations, in anybody's loop, in recipes, and in lanes with a strength each."""

from __future__ import annotations

import math
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import ravine
from ravine import penalties as pen
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.terms import HELD
from ravine.errors import UserError
from ravine.problems.problem import Part as Samples
from ravine.recipe import Recipe, load_recipe
from ravine.rules.rule import make

F64 = torch.float64


class One(nn.Module):
    """A model of one vector."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=F64))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    made.double()
    return made


def weight(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(name).detach()


def number(scalar: Tensor) -> float:
    return float(scalar.detach())


def slope(penalty: pen.Penalty, module: nn.Module) -> Tensor:
    return torch.autograd.grad(penalty(module), next(iter(module.parameters())))[0]


def test_o24_three_conventions_of_l2_map_exactly_on_sgd() -> None:
    """O24: lambda |w|^2 shrinks by 1 - 2 eta lambda, lambda/2 |w|^2 by 1 - eta lambda, Keras' sum as the first."""
    eta, decay, w = 2.0**-3, 2.0**-5, torch.tensor([3.0, -5.0], dtype=F64)
    after = {
        kind.name: w - eta * slope(kind(strength=strength), One(3.0, -5.0))
        for kind, strength in ((pen.L2, decay), (pen.L2Half, 2 * decay), (pen.L2Keras, decay))
    }
    assert all(torch.equal(new, (1 - 2 * eta * decay) * w) for new in after.values())
    module = One(3.0, -5.0)
    optimizer = torch.optim.SGD(module.parameters(), eta, weight_decay=2 * decay)
    module.weight.grad = torch.zeros(2, dtype=F64)
    optimizer.step()
    assert torch.equal(module.weight.detach(), after["l2-half"])


def test_penalties_on_weights_are_their_sums() -> None:
    module = One(3.0, -4.0, 0.0)
    assert number(pen.L2(strength=0.1)(module)) == pytest.approx(2.5)
    assert number(pen.L1(strength=0.1)(module)) == pytest.approx(0.7)
    assert slope(pen.L1(strength=0.1), module).tolist() == [0.1, -0.1, 0.0]
    assert number(pen.ElasticNet(strength=0.1, l1_ratio=0.25)(module)) == pytest.approx(0.1 * (0.25 * 7 + 0.375 * 25))
    linear = nn.Linear(2, 3).double()
    rows = linear.weight.detach()
    gram = rows.T @ rows - torch.eye(2, dtype=F64)  # fewer columns than rows
    assert number(pen.Orthogonal(strength=2.0)(linear)) == pytest.approx(2 * float((gram**2).sum()))
    nn.init.orthogonal_(linear.weight)
    assert number(pen.Orthogonal(strength=1.0)(linear)) == pytest.approx(0, abs=1e-20)
    biases = number(pen.L2(on="*.bias", strength=1.0)(net()))
    assert biases == pytest.approx(sum(number((p**2).sum()) for n, p in net().named_parameters() if "bias" in n))


def test_r6_a_pull_ends_at_its_fixed_point_and_a_tie_in_the_middle() -> None:
    """R6: the minimum of (w - a)^2 + lambda (w - b)^2 is (a + lambda b) / (1 + lambda)."""
    a, b, strength = torch.tensor([1.0, -2.0], dtype=F64), torch.tensor([5.0, 0.0], dtype=F64), 3.0
    module, pull = One(0.0, 0.0), pen.Pull(strength=strength, towards={"weight": b})
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (((module.weight - a) ** 2).sum() + pull(module)).backward()
        optimizer.step()
    torch.testing.assert_close(module.weight.detach(), (a + strength * b) / (1 + strength))
    pair = nn.ModuleDict({"a": One(1.0), "b": One(3.0)})
    assert number(pen.Tie(on="a.*", other="b.*", strength=0.5)(pair)) == pytest.approx(2.0)


def test_activations_are_seen_by_name_and_every_call_counts() -> None:
    model, x = net(), torch.randn(5, 4, dtype=F64)
    penalty = pen.ActivityL1(on="1", strength=0.5)
    with pen.watching(model, penalty) as seen:
        model(x)
    h = torch.sigmoid(model[0](x))
    torch.testing.assert_close(penalty(seen), 0.5 * h.abs().sum(1).mean())
    mean = h.mean(0)
    divergence = (0.2 * (0.2 / mean).log() + 0.8 * (0.8 / (1 - mean)).log()).sum()
    torch.testing.assert_close(pen.KLSparsity(on="1", strength=2.0, rho=0.2)(seen), 2 * divergence)
    shared = nn.ReLU()
    twice, active = nn.Sequential(shared, nn.Linear(4, 4).double(), shared), pen.ActivityL1(on="0", strength=1.0)
    with pen.watching(twice, active) as seen:
        out = twice(x)
    torch.testing.assert_close(active(seen), (shared(x).sum() + out.sum()) / 5)
    before = dict(seen)
    twice(x)
    assert seen == before  # nothing is collected outside


def lasso() -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(100, 20, generator=drawn, dtype=F64)
    return x, x[:, :3] @ torch.tensor([2.0, -3.0, 1.0], dtype=F64) + 0.1 * torch.randn(100, generator=drawn, dtype=F64)


def test_r5_the_proximal_step_gives_exact_zeros_and_scikit_learns_lasso() -> None:
    from sklearn.linear_model import Lasso

    x, y = lasso()
    zeros: dict[str, int] = {}
    strength, rate = 0.2, 0.1
    found: dict[str, Tensor] = {}
    for way in ("l1", "l1-proximal"):
        model = nn.Linear(20, 1, bias=False).double()
        nn.init.constant_(model.weight, 0.01)
        optimizer = torch.optim.SGD(model.parameters(), rate)
        for _ in range(400):
            optimizer.zero_grad()
            loss = ((model(x)[:, 0] - y) ** 2).mean() / 2
            (loss + pen.L1(strength=strength)(model) if way == "l1" else loss).backward()
            optimizer.step()
            if way == "l1-proximal":
                pen.L1Proximal(strength=strength).after(model, rate)
        found[way] = model.weight.detach()[0]
        zeros[way] = int((found[way] == 0).sum())
    assert zeros == {"l1": 0, "l1-proximal": 17}
    exact = torch.tensor(Lasso(alpha=strength, fit_intercept=False, tol=1e-12).fit(x, y).coef_)
    torch.testing.assert_close(found["l1-proximal"], exact, rtol=1e-6, atol=1e-8)


def test_r9_rows_and_whole_parameters_stay_in_their_balls() -> None:
    model = net()
    weight(model, "0.weight")[0] *= 1e-3
    short = weight(model, "0.weight")[0].clone()
    pen.MaxNorm(max_norm=0.3).after(model)
    pen.Ball(on="*.bias", radius=0.1).after(model)
    for place in (0, 2, 4):
        assert bool((weight(model, f"{place}.weight").norm(dim=1) <= 0.3 + 1e-12).all())
        assert float(weight(model, f"{place}.bias").norm()) <= 0.1 + 1e-12
    assert torch.equal(weight(model, "0.weight")[0], short)


def test_pruned_weights_stay_zero_in_a_loop_of_ones_own() -> None:
    model, x = net(), torch.randn(30, 4, dtype=F64)
    before = weight(model, "2.weight").clone()
    masks = pen.Prune(fraction=0.75).masks(model)
    assert list(masks) == ["0.weight", "2.weight", "4.weight"]
    cut = before.abs().flatten().sort().values[26]
    assert torch.equal(masks["2.weight"], before.abs() > cut) and int(masks["2.weight"].sum()) == 9
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), torch.arange(30) % 3).backward()
        optimizer.step()
        pen.apply_masks(model, masks)
    mask = masks["2.weight"]
    now = weight(model, "2.weight")
    assert int((now != 0).sum()) == 9 and not torch.equal(now[mask], before[mask])


def test_r5_pruning_four_fifths_and_training_on_costs_little() -> None:
    recipe = Recipe(problem="digits", model="mlp:64", epochs=12, batch=32, rule={"name": "adam", "lr": 3e-3})
    pruned = recipe.model_copy(update={"penalty": [{"name": "prune", "fraction": 0.8, "start": 6.0}]})
    dense, sparse = ravine.train(recipe), ravine.train(pruned)
    weights = [w for n, w in sparse.weights().items() if n.endswith("weight")]
    assert all(float((w == 0).double().mean()) == pytest.approx(0.8, abs=0.01) for w in weights)
    assert sparse.result.best_epoch > 6
    assert dense.result.metric is not None and sparse.result.metric is not None
    assert sparse.result.metric > dense.result.metric - 0.03


PARTS: list[dict[str, Any]] = [
    {"name": "l2", "strength": 0.02, "on": "*.bias"},
    {"name": "orthogonal", "strength": 0.01, "on": "2.weight"},
    {"name": "pull", "strength": 0.1, "on": "4.weight"},
    {"name": "activity-l1", "strength": 0.05, "on": "3"},
    {"name": "kl-sparsity", "strength": 0.05, "on": "1"},
    {"name": "l1-proximal", "strength": 0.05, "on": "0.weight"},
    {"name": "max-norm", "max_norm": 0.8, "on": "4.weight"},
    {"name": "prune", "fraction": 0.5, "on": "2.weight", "start": 1.0},
]


def company(parts: list[dict[str, Any]], lanes: list[tuple[int, float]], steps: int = 12) -> tuple[Model, list[Any]]:
    """Lanes of (seed, factor on every part's number), trained together."""
    made = [pen.part_from_spec(spec) for spec in parts]
    model = Model(net, partial(pen.Bound, made))
    begun = [model.lane(make("momentum", {"lr": 0.1}), {}, seed) for seed, _ in lanes]
    for lane, (_, factor) in zip(begun, lanes, strict=True):
        numbers = [name for name in lane.buffers if name.startswith(HELD) and name.count("|") == 2]
        lane.buffers = {n: b * factor if n in numbers else b.clone() for n, b in lane.buffers.items()}
    x = torch.randn(40, 4, dtype=F64, generator=torch.Generator().manual_seed(3))
    running = Lanes(model, functional.cross_entropy, begun)
    for step in range(steps):
        index = torch.stack([torch.arange(10) + 7 * (step % 4) for _ in running.seeds])
        running.step(Samples(x, (x[:, 0] > 0).long()), index, step / 4)
    return model, running.export()


def test_a_lane_with_a_strength_of_its_own_is_the_run_alone() -> None:
    """To 1e-10, projections and masks included; and another strength ends elsewhere."""
    lanes = [(1, 1.0), (1, 0.5), (2, 1.0)]
    _, together = company(PARTS, lanes)
    for lane, one in zip(lanes, together, strict=True):
        alone = company(PARTS, [lane])[1][0]
        torch.testing.assert_close(one.weights, alone.weights, rtol=1e-10, atol=1e-12)
        for name, buffer in alone.buffers.items():
            torch.testing.assert_close(one.buffers[name], buffer)
    assert not torch.allclose(together[0].weights, together[1].weights)


@pytest.mark.parametrize("spec", PARTS, ids=lambda spec: spec["name"])
def test_a_part_in_a_run_is_the_part_in_a_loop_of_ones_own(spec: dict[str, Any]) -> None:
    spec = {**spec, **({"start": 0.0} if spec["name"] == "prune" else {})}
    model, [lane] = company([spec], [(1, 1.0)], steps=4)
    module = model.load(company([], [(1, 1.0)], steps=0)[1][0])
    part = pen.part_from_spec(spec)
    if isinstance(part, pen.Pull):
        part = pen.Pull(part.on, part.strength, {n: p.detach().clone() for n, p in module.named_parameters()})
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    x = torch.randn(40, 4, dtype=F64, generator=torch.Generator().manual_seed(3))
    masks: dict[str, Tensor] = {}
    for step in range(4):
        rows = torch.arange(10) + 7 * (step % 4)
        optimizer.zero_grad()
        active = isinstance(part, pen.ActivityL1 | pen.KLSparsity)
        with pen.watching(module, part if active else pen.ActivityL1(on="1")) as seen:
            loss = functional.cross_entropy(module(x[rows]), (x[rows, 0] > 0).long())
        if isinstance(part, pen.Penalty):
            loss = loss + part(seen if active else module)
        loss.backward()
        optimizer.step()
        if isinstance(part, pen.Prune):
            masks = masks or part.masks(module)
            pen.apply_masks(module, masks)
        elif isinstance(part, pen.Projection):
            part.after(module, 0.1)
    for name, weight in model.views(lane.weights).items():
        torch.testing.assert_close(weight, module.get_parameter(name).detach(), rtol=1e-9, atol=1e-12)
    plain = company([], [(1, 1.0)], steps=4)[1][0]
    assert not torch.allclose(plain.weights, lane.weights)


def test_every_part_of_the_catalogue_survives_a_recipe_and_trains(tmp_path: Path) -> None:
    own = {"tie": {"on": "1.bias", "other": "3.bias"}, "kl-sparsity": {"on": "2"}, "activity-l1": {"on": "2"}}
    for name in pen.catalogue():
        made = Recipe(
            problem="wine", model="mlp:6,6", activation="sigmoid", epochs=1, batch=16, rule={"name": "sgd", "lr": 0.05},
            penalty=[{"name": name, **own.get(name, {})}],
        )  # fmt: skip
        read = load_recipe(made.save(tmp_path / "r.toml"))
        assert read == made and len(read.make_penalties()) == 1
        loss = ravine.train(read).result.curve[-1].train_loss
        assert loss is not None and math.isfinite(loss)


def test_a_pull_reads_weights_from_a_file_and_methods_see_penalties(tmp_path: Path) -> None:
    given = ravine.train(recipe := Recipe(problem="wine", model="softmax", epochs=1, batch=16)).weights()
    save_file(given, tmp_path / "w.safetensors")
    pull = [{"name": "pull", "strength": 100.0, "towards": str(tmp_path / "w.safetensors")}]
    for rule in ({"name": "lbfgs"}, {"name": "kfac"}, {"name": "sgd", "lr": 1e-3}):
        away: list[float] = []
        for penalty in (pull, []):
            chosen = {"rule": rule, "penalty": penalty, "epochs": 10, "seed": 1}
            ended = ravine.train(recipe.model_copy(update=chosen))
            assert ended.state.lane is not None
            away.append(float((ended.model.views(ended.state.lane.weights)["1.weight"] - given["1.weight"]).norm()))
        assert away[0] < 0.1 * away[1]


def test_a_pruned_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    from ravine.training.train import Training

    recipe = Recipe(
        problem="wine", model="mlp:6", epochs=4, batch=16,
        penalty=[{"name": "prune", "start": 1.0}, {"name": "pull"}, {"name": "l1"}],
    )  # fmt: skip
    problem = ravine.load("wine")
    whole = Training(recipe, problem)
    for _ in whole.run():
        pass
    half = Training(recipe, problem, tmp_path)
    for _ in half.run():
        if half.state.tick == half.clock.ticks // 2:
            os.kill(os.getpid(), signal.SIGINT)
    assert half.interrupted
    again = Training(recipe, problem, tmp_path)
    again.restore(tmp_path)
    for _ in again.run():
        pass
    assert again.fingerprint() == whole.fingerprint()


def test_a_race_has_the_penalty_in_every_run_and_in_the_winners_recipe() -> None:
    outcome = ravine.race(
        "wine", model="mlp:8", rules=["sgd"], budget=2, epochs=2, seeds=2, progress=False, lanes=2,
        penalty=[{"name": "max-norm", "max_norm": 0.25}, {"name": "l2", "strength": 0.01}],
    )  # fmt: skip
    assert outcome.winner is not None
    for model in outcome.winner.models:
        assert all(number(w.norm(dim=1).max()) <= 0.2501 for n, w in model.named_parameters() if n.endswith("weight"))
    assert outcome.winner.recipe.penalty[0]["max_norm"] == 0.25
    again = ravine.train(outcome.winner.recipe)
    assert again.result.valid_loss == pytest.approx(outcome.result.ranking[0].valid_loss.values[0], rel=1e-3)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"name": "l1-proxmal"}, "unknown penalty 'l1-proxmal': did you mean 'l1-proximal'"),
        ({"strength": 1}, "a penalty needs a name"),
        ({"name": "l2", "strenght": 1}, "did you mean 'strength'"),
        ({"name": "l2", "strength": 0}, "strength must be positive, got 0"),
        ({"name": "l2", "on": 3}, "on is a word in quotes"),
        ({"name": "l2", "on": "9.weight"}, "l2: no parameter is named 9.weight; there are 1.weight"),
        ({"name": "max-norm", "max_norm": 0}, "max_norm must be positive, got 0"),
        ({"name": "max-norm", "on": "*.bias"}, "max-norm: 1.bias of shape (6,) has no rows"),
        ({"name": "orthogonal", "on": "*.bias"}, "has no rows"),
        ({"name": "prune", "start": 5}, "not before the end of 2 epochs: it would do nothing"),
        ({"name": "prune", "fraction": 1}, "fraction must lie in (0, 1), got 1"),
        ({"name": "tie", "on": "1.*"}, "give other"),
        ({"name": "tie", "on": "1.bias", "other": "1.*"}, "both name 1.bias"),
        ({"name": "tie", "on": "1.bias", "other": "3.bias"}, "has shapes [(6,)], but 3.bias has [(3,)]"),
        ({"name": "pull", "towards": "nowhere.safetensors"}, "nowhere.safetensors cannot be read"),
        ({"name": "activity-l1"}, "no module is named *.weight"),
        ({"name": "kl-sparsity", "on": "1"}, "puts out numbers outside of [0, 1]"),
    ],
)
def test_a_mistake_is_one_sentence(part: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        ravine.train(Recipe(problem="wine", model="mlp:6", epochs=2, penalty=[part]))
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"name": "lbfgs"}, "lbfgs is a method"),
        ({"name": "schedule-free-sgd"}, "would miss"),
        ({"name": "sgd", "with": [{"name": "averaged"}]}, "Averaged would miss"),
    ],
)
def test_a_projection_that_does_not_go_with_a_rule_says_so(rule: dict[str, Any], words: str) -> None:
    recipe = Recipe(problem="wine", rule=rule, penalty=[{"name": "l1-proximal"}])
    with pytest.raises(UserError, match=words):
        recipe.check()


def test_a_mistake_in_a_loop_of_ones_own_is_one_sentence() -> None:
    with pytest.raises(UserError, match="sees activations"):
        pen.ActivityL1(on="1")(net())
    with pytest.raises(UserError, match="give the learning rate"):
        pen.L1Proximal().after(net())
    with pytest.raises(UserError, match="give towards"):
        pen.Pull()(net())
    with pytest.raises(UserError, match="strength must be positive"):
        pen.L2(strength=-1.0)(net())
    with pytest.raises(UserError, match="in a race start is 0"):
        ravine.race("wine", rules=["sgd"], budget=2, epochs=2, penalty=[{"name": "prune", "start": 1.0}])
