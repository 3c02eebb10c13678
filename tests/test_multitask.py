"""Several targets at once: the joint loss, each target's own metric, tables and arrays, lanes and races."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

import ravine
from ravine import api
from ravine.cli import app
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.ensembles import Members, save, study
from ravine.ensembles import load as load_ensemble
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.losses.learned import learned_weights
from ravine.losses.tasks import weighted_sum
from ravine.models import model_factory
from ravine.problems import Problem, from_arrays, load
from ravine.problems.decide import decided
from ravine.problems.heads import JointLoss
from ravine.racing.outcome import result_of
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.rules.rule import make
from ravine.training.model import model_for
from ravine.training.train import Training


class TwoHeads(nn.Module):
    """A trunk that both targets share, and a head for each."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 16), nn.Tanh())
        self.kind, self.price = nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.trunk(x)
        return torch.cat([self.kind(hidden), self.price(hidden)], 1)


def drawn() -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3))
    total = x[:, 0] + x[:, 1]
    kind = np.where(total > 0.5, "big", np.where(total < -0.5, "small", "mid"))
    return x, {"kind": kind, "price": 100 + 3 * x[:, 0] - 2 * x[:, 1] + 0.3 * draw.normal(size=300)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    x, y = drawn()
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], **y}).write_csv(tmp_path / "two.csv")
    return tmp_path / "two.csv"


def recipe(**changes: Any) -> Recipe:
    start: dict[str, Any] = {"problem": "two", "model": "mlp:16", "epochs": 12, "batch": 16}
    return Recipe.model_validate({**start, "rule": {"name": "adam", "lr": 0.01}, **changes})


def trained(problem: Problem, made: Recipe) -> Training:
    running = Training(made, problem)
    for _ in running.run():
        pass
    return running


def test_a_table_and_a_dict_of_arrays_are_the_same_problem(table: Path) -> None:
    x, y = drawn()
    one, other = load(str(table), target="kind,price"), from_arrays(x, y)
    for problem in (one, other):
        assert [head.name for head in problem.heads] == ["kind", "price"] and problem.outputs == 4
        assert problem.heads[0].classes == ("big", "mid", "small") and problem.train.y.shape[1] == 2
    assert torch.allclose(one.train.y, other.train.y) and torch.allclose(one.train.x, other.train.x, atol=1e-5)
    price = other.heads[1]
    back = torch.cat([part.y for part in (other.train, other.valid, other.test)])[:, 1] * price.scale + price.mean
    assert sorted(back.tolist()) == pytest.approx(sorted(y["price"]), rel=1e-5)
    assert float(other.train.y[:, 1].mean()) == pytest.approx(0, abs=1e-5)


def test_the_joint_loss_is_the_weighted_sum_of_torchs(table: Path) -> None:
    problem = load(str(table), target="kind:2,price:0.5")
    out, y = torch.randn(7, 4), problem.train.y[:7]
    each = [functional.cross_entropy(out[:, :3], y[:, 0].long()), functional.mse_loss(out[:, 3], y[:, 1])]
    assert float(loss_of(problem)(out, y)) == pytest.approx(float(weighted_sum(each, [2.0, 0.5])), rel=1e-6)


def test_both_targets_are_learnt_and_measured_apart(table: Path) -> None:
    running = trained(load(str(table), target="kind,price"), recipe())
    best = {name: float(value or 0.0) for name, value in running.result.metrics.items()}
    assert set(best) == {"kind accuracy", "price R²"}
    with torch.no_grad():
        out, y = running.module(running.problem.valid.x), running.problem.valid.y
    assert best["kind accuracy"] == pytest.approx(accuracy_score(y[:, 0], out[:, :3].argmax(1)))
    assert best["price R²"] == pytest.approx(r2_score(y[:, 1], out[:, 3]), rel=1e-5)
    assert best["kind accuracy"] > 0.8 and best["price R²"] > 0.9
    score = (best["kind accuracy"] + 1 - float((out[:, 3] - y[:, 1]).square().mean())) / 2
    assert running.result.metric == pytest.approx(score, rel=1e-5)


def test_a_weight_turns_a_target_up() -> None:
    x, y = drawn()
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], **y})
    errors: list[float] = []
    for target in ("kind:0.01,price", "kind,price:0.01"):
        problem = from_arrays(frame, target)
        running = trained(problem, recipe(model="mlp:1", epochs=12))
        with torch.no_grad():
            errors.append(float((running.module(problem.valid.x)[:, 3] - problem.valid.y[:, 1]).square().mean()))
    assert errors[0] < 0.7 * errors[1]


def test_a_model_of_ones_own_with_two_heads_races_as_lanes() -> None:
    x, y = drawn()
    problem = from_arrays(x, y, name="two", model=TwoHeads)
    spec = RaceSpec(problem="two", model="own", rules=["adam", "sgd"], budget=4, epochs=3, seeds=2, lanes=4)
    race = api.start(spec, problem)
    for _ in race.run():
        pass
    result = result_of(race)
    assert result.metric_name == "mean score" and race.plan is not None and not race.plan.refusal
    assert {"kind accuracy", "price R²"} <= set(result.runs[-1].curve[-1].metrics)


def test_lanes_of_a_joint_loss_step_as_torch_does() -> None:
    x, y = drawn()
    problem = from_arrays(x, y)
    model = Model(model_factory("mlp:8", problem.shape, problem.outputs))
    lanes = Lanes(model, loss_of(problem), [model.lane(make("sgd", {"lr": 0.1}), {}, seed) for seed in (0, 1)])
    modules = [model.load(lane) for lane in lanes.export()]
    index = torch.arange(32)
    for _ in range(8):
        lanes.step(problem.train, torch.stack([index, index + 32]), 0.0)
    for place, module in enumerate(modules):
        for _ in range(8):
            out, want = module(problem.train.x[index + 32 * place]), problem.train.y[index + 32 * place]
            loss = functional.cross_entropy(out[:, :3], want[:, 0].long()) + functional.mse_loss(out[:, 3], want[:, 1])
            grads = torch.autograd.grad(loss, list(module.parameters()))
            with torch.no_grad():
                for p, g in zip(module.parameters(), grads, strict=True):
                    p -= 0.1 * g
        ours = model.views(lanes.export()[place].weights)
        assert all(torch.allclose(ours[name], p, atol=1e-5) for name, p in module.named_parameters())


def test_two_numbers_are_standardised_each_by_itself() -> None:
    x, y = drawn()
    problem = from_arrays(x, {"price": y["price"], "small": 0.001 * x[:, 2] + 5})
    spread = problem.train.y.std(0, correction=0)
    assert torch.allclose(spread, torch.ones(2), atol=1e-4) and isinstance(problem.loss, JointLoss)


@pytest.mark.parametrize(
    ("y", "options", "words"),
    [
        ({"a": [0, 1] * 20}, {}, "names 1 target: give two or more"),
        ({"a": [0, 1] * 20, "b": [1.0] * 39}, {}, r"y\['b'\] has 39"),
        ({"a": [0, 1] * 20, "b": [1.5] * 40}, {}, "always 1.5"),
        ({"a": [0, 1] * 20, "b": [0.5, 1] * 20}, {"loss": "mse"}, "leave out loss"),
        ({"a": [0, 1] * 20, "b": np.zeros((40, 2))}, {}, "always|columns"),
    ],
)
def test_targets_that_do_not_go_together_are_one_sentence(y: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_arrays(np.random.default_rng(0).normal(size=(40, 3)), y, **options)


def test_learned_weights_step_as_torch_does() -> None:
    x, y = drawn()
    problem = decided(from_arrays(x, y), recipe(task_weights="learned"))
    model = Model(model_for(recipe(), problem))
    lanes = Lanes(model, loss_of(problem), [model.lane(make("sgd", {"lr": 0.1}), {}, seed) for seed in (0, 1)])
    modules = [model.load(lane).train() for lane in lanes.export()]
    index = torch.arange(32)
    for _ in range(8):
        lanes.step(problem.train, torch.stack([index, index + 32]), 0.0)
    for place, module in enumerate(modules):
        named = dict(module.named_parameters())
        s = next(p for name, p in named.items() if name.endswith("log_variance"))
        for _ in range(8):
            out, want = module(problem.train.x[index + 32 * place])[:, :4], problem.train.y[index + 32 * place]
            kind, price = (
                functional.cross_entropy(out[:, :3], want[:, 0].long()),
                functional.mse_loss(out[:, 3], want[:, 1]),
            )
            loss = kind * torch.exp(-s[0]) + s[0] / 2 + price * torch.exp(-s[1]) / 2 + s[1] / 2
            grads = torch.autograd.grad(loss, list(named.values()))
            with torch.no_grad():
                for p, g in zip(named.values(), grads, strict=True):
                    p -= 0.1 * g
        ours = model.views(lanes.export()[place].weights)
        assert all(torch.allclose(ours[name], p, atol=1e-5) for name, p in named.items())
        assert float(s.detach().abs().min()) > 0.01


def test_learned_weights_find_the_variance_whatever_weights_were_given(table: Path) -> None:
    """At the minimum over s a number has exp(s) = L; and what is measured is the sum with the given weights."""
    made = recipe(task_weights="learned", epochs=60, rule={"name": "adam", "lr": 0.02})
    running = trained(decided(load(str(table), target="kind,price:0.5"), made), made)
    module, train, valid = running.module, running.problem.train, running.problem.valid
    with torch.no_grad():
        error = float((module(train.x)[:, 3] - train.y[:, 1]).square().mean())
        out = module(valid.x)
    assert out.shape[1] == 4  # in evaluation nothing is behind the outputs
    weights = learned_weights(module, running.problem)
    assert weights["price"] == pytest.approx(1 / (2 * error), rel=0.6) and weights["price"] > 5
    measured = functional.cross_entropy(out[:, :3], valid.y[:, 0].long()) + 0.5 * functional.mse_loss(
        out[:, 3], valid.y[:, 1]
    )
    assert running.result.valid_loss == pytest.approx(float(measured), rel=1e-5)


def test_classes_count_by_their_weights_in_each_target(table: Path) -> None:
    x, y = drawn()
    both = {**y, "side": np.where(x[:, 2] > 0.8, "left", "right")}
    problem = decided(from_arrays(x, both), recipe(class_weights="balanced"))
    out, want = torch.randn(9, 6), problem.train.y[:9]
    total = torch.tensor(0.0)
    for head in problem.heads:
        own = out[:, head.outputs]
        if not head.classes:
            total += functional.mse_loss(own[:, 0], want[:, head.column])
            continue
        labels = problem.train.y[:, head.column].long()
        weight = torch.tensor(compute_class_weight("balanced", classes=np.arange(len(head.classes)), y=labels.numpy()))
        each = functional.cross_entropy(own, want[:, head.column].long(), reduction="none")
        total += (each * weight[want[:, head.column].long()]).mean()
    assert float(loss_of(problem)(out, want)) == pytest.approx(float(total), rel=1e-5)
    named = decided(from_arrays(x, both), recipe(class_weights={"left": 3.0, "kind.mid": 0.5}))
    assert [head.class_weights and head.class_weights.weights for head in named.heads] == [
        (1.0, 0.5, 1.0),
        None,
        (3.0, 1.0),
    ]


def test_a_run_of_learned_weights_goes_on_to_the_same_bits(table: Path, tmp_path: Path) -> None:
    made = recipe(problem=str(table), target="kind,price", task_weights="learned", class_weights="balanced", patience=9)
    problem = api.prepare(str(table), "kind,price", wanted=made)
    whole = trained(problem, made)
    first = Training(made, problem, tmp_path / "run")
    for point in first.run():
        if point.epoch >= 5:
            os.kill(os.getpid(), signal.SIGINT)
    assert first.interrupted
    second = Training(made, problem, tmp_path / "run")
    second.restore(tmp_path / "run")
    for _ in second.run():
        pass
    assert second.fingerprint() == whole.fingerprint() and second.state.curve == whole.state.curve


@pytest.mark.parametrize("kind", ["seeds", "snapshots", "dropout"])
def test_an_ensemble_of_several_targets_combines_each_by_itself(table: Path, tmp_path: Path, kind: str) -> None:
    noise = [{"name": "dropout", "drop": 0.2}] if kind == "dropout" else []
    made = recipe(problem=str(table), target="kind,price", task_weights="learned", noise=noise, epochs=6)
    members = Members(made, api.prepare(str(table), "kind,price", wanted=made), kind, 3)
    for _ in members.run():
        pass
    problem = members.problem
    outs = members.outputs(problem.valid.x).double()
    chances = outs[..., :3].softmax(-1).mean(0)
    save(members, tmp_path / "all")
    said = load_ensemble(tmp_path / "all")(problem.valid.x).double()
    assert torch.allclose(said[:, :3].exp(), chances, atol=1e-6)
    assert torch.allclose(said[:, 3], outs[..., 3].mean(0), atol=1e-5)
    found = study(members)
    assert found.whole.squared <= np.mean([member.squared for member in found.members]) + 1e-9
    assert found.rho is not None and 0 < found.rho <= 1


def test_several_targets_train_race_and_are_explained(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path / 's.db'}"
    words = f"race {table} --target kind,price --task-weights learned --class-weights balanced --rules adam,sgd"
    run = CliRunner().invoke(app, f"{words} --budget 4 --epochs 3 --seeds 2 --store {store}".split())
    assert run.exit_code == 0, run.output
    (winner,) = tmp_path.glob("race-*/winner.toml")
    assert 'task_weights = "learned"' in winner.read_text()
    run = CliRunner().invoke(app, ["train", str(winner), "--out", "mine", "--test", "--store", store])
    assert run.exit_code == 0 and "weight of price" in run.output, run.output
    run = CliRunner().invoke(app, ["recipe", "explain", str(winner)])
    assert "weights are learned" in " ".join(run.output.split())
    recipe(problem=str(table), target="kind,price").save("other.toml")
    run = CliRunner().invoke(app, ["recipe", "diff", str(winner), "other.toml"])
    assert "task_weights" in run.output
    run = CliRunner().invoke(app, ["evaluate", str(winner), "--folds", "3", "--json"])
    assert {"kind accuracy", "price R²"} <= set(json.loads(run.stdout)), run.output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task_weights": "lernt"}, "write 'learned'"),
        ({"metrics": ["mae"]}, "each has its own metric already"),
        ({"class_weights": {"bigg": 2.0}}, "did you mean"),
    ],
)
def test_what_several_targets_do_not_take_is_one_sentence(table: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        api.prepare(str(table), "kind,price", wanted=recipe(**changes))


def test_what_needs_several_targets_or_one_says_so(table: Path) -> None:
    with pytest.raises(UserError, match="several targets"):
        api.prepare(str(table), "kind,price", loss="mse")
    with pytest.raises(UserError, match="task_weights weigh several targets, and two has one"):
        api.prepare(str(table), "kind", wanted=recipe(task_weights="learned"))
    assert ravine.load("wine").heads == ()
