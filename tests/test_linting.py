"""The linter: each mistake is found, and what is right is left alone; nothing of the user's changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.errors import UserError
from ravine.linting import Finding, lint_recipe
from ravine.problems import Part, Problem, from_arrays, load
from ravine.recipe import Recipe

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
Net = Callable[[], nn.Module]
BCE_Y = nn.functional.one_hot(Y, 3).float()


def kinds(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found}


class Softmaxed(nn.Module):
    """A softmax that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).softmax(-1)


class Spare(nn.Module):
    """A layer that forward forgets."""

    def __init__(self, forgets: bool) -> None:
        super().__init__()
        self.one, self.other, self.forgets = nn.Linear(4, 3), nn.Linear(3, 3), forgets

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if self.forgets else self.other(self.one(x))


CE = nn.CrossEntropyLoss()
PLAIN: Net = lambda: nn.Linear(4, 3)  # noqa: E731
MODELS: dict[str, tuple[Net, Net, Any, Tensor]] = {  # kind -> with it, without it, loss, targets
    "softmax-before-cross-entropy": (lambda: nn.Sequential(PLAIN(), nn.Softmax(-1)), PLAIN, CE, Y),
    "log-softmax-twice": (lambda: nn.Sequential(PLAIN(), nn.LogSoftmax(-1)), PLAIN, nn.functional.cross_entropy, Y),
    "sigmoid-before-logits": (lambda: nn.Sequential(PLAIN(), nn.Sigmoid()), PLAIN, nn.BCEWithLogitsLoss(), BCE_Y),
    "nll-without-log-softmax": (PLAIN, lambda: nn.Sequential(PLAIN(), nn.LogSoftmax(-1)), nn.NLLLoss(), Y),
    "dropout-before-batch-norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.3), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 3)),
        CE,
        Y,
    ),
    "bias-before-norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        CE,
        Y,
    ),
    "parameter-unused": (lambda: Spare(True), lambda: Spare(False), CE, Y),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_with_the_mistake_and_one_without(kind: str) -> None:
    wrong, right, loss, y = MODELS[kind]
    assert kind in kinds(ravine.lint(wrong(), loss=loss, batch=(X, y)))
    assert kind not in kinds(ravine.lint(right(), loss=loss, batch=(X, y)))


def test_a_softmax_in_forward_is_seen_and_probabilities_for_a_loss_of_logits() -> None:
    assert "softmax-before-cross-entropy" in kinds(ravine.lint(Softmaxed(), loss=CE, batch=(X, Y)))
    assert ravine.lint(Softmaxed(), loss=nn.MSELoss(), batch=(X, BCE_Y)) == []  # a loss of probabilities wants them


Make: TypeAlias = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, tuple[Make, Make]] = {  # kind -> with it, without it
    "parameter-left-out": (
        lambda m: torch.optim.SGD(list(m.parameters())[:1], 0.1),
        lambda m: torch.optim.SGD(m.parameters(), 0.1),
    ),
    "optimizer-of-another-model": (
        lambda m: torch.optim.SGD(copy.deepcopy(m).parameters(), 0.1),
        lambda m: torch.optim.SGD(m.parameters(), 0.1),
    ),
    "decay-on-vectors": (
        lambda m: torch.optim.AdamW(m.parameters()),
        lambda m: torch.optim.AdamW(ravine.optim.groups_for(m, weight_decay=0.01)),
    ),
    "epsilon-underflows": (
        lambda m: torch.optim.Adam(m.half().parameters()),
        lambda m: torch.optim.Adam(m.half().parameters(), eps=1e-4),
    ),
    "rate-out-of-range": (
        lambda m: torch.optim.Adam(m.parameters(), lr=10.0),
        lambda m: torch.optim.Adam(m.parameters()),
    ),
    "option-dead": (
        lambda m: torch.optim.SGD(m.parameters(), 0.1, dampening=0.1),
        lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9, dampening=0.1),
    ),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_with_the_mistake_and_one_without(kind: str) -> None:
    wrong, right = OPTIMIZERS[kind]
    for make, there in ((wrong, True), (right, False)):
        model = PLAIN()
        assert (kind in kinds(ravine.lint(model, make(model)))) == there


def test_batch_normalisation_of_one_sample_and_a_last_batch_of_one() -> None:
    model = nn.Sequential(nn.Conv1d(1, 3, 1), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(12, 3))
    assert "batch-norm-of-one" in kinds(ravine.lint(model, loss=CE, batch=(X[:1, None], Y[:1])))
    assert "batch-norm-of-one" not in kinds(ravine.lint(model, loss=CE, batch=(X[:2, None], Y[:2])))
    data = TensorDataset(X[:, None], Y)
    assert "last-batch-of-one" in kinds(ravine.lint(model, loss=CE, loader=DataLoader(data, 11)))
    assert "last-batch-of-one" not in kinds(ravine.lint(model, loss=CE, loader=DataLoader(data, 11, drop_last=True)))


def test_nothing_of_the_users_changes_and_a_failure_is_one_sentence() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(1)
    want = torch.rand(2)
    torch.manual_seed(1)
    ravine.lint(model, loss=CE, batch=(X, Y))
    assert torch.equal(torch.rand(2), want) and not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(UserError, match="lint: the model or the loss on a batch of shape"):
        ravine.lint(model, loss=CE, batch=(X[:, :2], Y))


# --- Recipes ---------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(0)
ROWS, LABELS = RANDOM.normal(size=(600, 5)).astype(np.float32), RANDOM.integers(0, 2, 600)
TABLE = from_arrays(ROWS, LABELS, name="table")


def changed(x: Any = None, y: Any = None, **more: Any) -> Problem:
    train = Part(TABLE.train.x if x is None else x, TABLE.train.y if y is None else y)
    return replace(TABLE, train=train, **more)


def numbers(scale: float) -> Problem:
    made = from_arrays(ROWS, ROWS[:, 0] + RANDOM.normal(size=600), name="numbers")
    return replace(made, train=replace(made.train, y=made.train.y * scale))


LEAKED = torch.cat([TABLE.train.x[:, :4], (TABLE.train.y * 2.0 - 1)[:, None]], 1)
RARE = torch.where(torch.arange(len(TABLE.train)) % 50 == 0, 1, 0)
STILL = torch.cat([TABLE.train.x[:, :4], torch.zeros(len(TABLE.train), 1)], 1)
DATA: dict[str, tuple[Problem, Problem]] = {
    "target-constant": (changed(y=torch.zeros_like(TABLE.train.y)), TABLE),
    "target-unscaled": (numbers(1e4), numbers(1.0)),
    "classes-uneven": (changed(y=RARE), TABLE),
    "feature-constant": (changed(x=STILL), TABLE),
    "input-unscaled": (changed(x=TABLE.train.x * torch.tensor([1, 1, 1, 1, 1e4])), TABLE),
    "target-leak": (changed(x=LEAKED), TABLE),
    "parts-overlap": (changed(valid=Part(TABLE.train.x[:50], TABLE.train.y[:50])), TABLE),
    "validation-small": (changed(valid=Part(TABLE.valid.x[:20], TABLE.valid.y[:20])), TABLE),
}
SMALL: dict[str, Any] = {"problem": "table", "model": "mlp:4", "epochs": 20, "batch": 16}


@pytest.mark.parametrize("kind", DATA)
def test_data_with_the_mistake_and_without(kind: str) -> None:
    wrong, right = DATA[kind]
    assert kind in kinds(lint_recipe(Recipe(**SMALL), wrong))
    assert kind not in kinds(lint_recipe(Recipe(**SMALL), right))


def test_a_rare_class_that_was_thought_of_is_left_alone() -> None:
    problem = DATA["classes-uneven"][0]
    assert "classes-uneven" not in kinds(lint_recipe(Recipe(**SMALL, class_weights="balanced"), problem))
    assert "classes-uneven" not in kinds(lint_recipe(Recipe(**SMALL, sampling="balanced"), problem))


RULE_OF: Callable[[float], dict[str, Any]] = lambda clip: {  # noqa: E731
    "name": "sgd", "with": [{"name": "clip-global-norm", "clip": clip}]
}  # fmt: skip
RECIPES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("option-dead", {"min_delta": 0.1}, {"min_delta": 0.1, "patience": 4}),
    ("option-dead", {"weighted_mean": "samples"}, {"weighted_mean": "samples", "class_weights": "balanced"}),
    ("option-dead", {"class_weights": {"0": 1.0}}, {"class_weights": {"0": 2.0}}),
    ("option-dead", {"rule": {"name": "momentum", "momentum": 0.0}}, {"rule": {"name": "momentum"}}),
    (
        "option-dead",
        {"rule": {"name": "sgd", "with": [{"name": "coupled-decay", "weight_decay": 0.0}]}},
        {"rule": {"name": "sgd", "with": [{"name": "coupled-decay", "weight_decay": 1e-4}]}},
    ),
    ("decay-on-vectors", {"rule": {"name": "adamw"}}, {"rule": {"name": "adam"}}),
    ("rate-out-of-range", {"rule": {"name": "adam", "lr": 5.0}}, {"rule": {"name": "adam", "lr": 1e-3}}),
    ("clip-always-acts", {"rule": RULE_OF(1e-3)}, {"rule": RULE_OF(100.0)}),
    ("batch-norm-of-one", {"norm": "batch", "batch": 4, "accumulate": 4}, {"norm": "batch", "batch": 4}),
    ("batch-norm-in-parts", {"norm": "batch", "accumulate": 4}, {"norm": "layer", "accumulate": 4}),
    ("model-larger-than-data", {"model": "mlp:512,512"}, {"model": "mlp:512,512", "patience": 4}),
    ("plateau-after-stop", {"patience": 3, "plateau": {"patience": 5}}, {"patience": 9, "plateau": {"patience": 5}}),
]


@pytest.mark.parametrize(("kind", "wrong", "right"), RECIPES)
def test_a_recipe_with_the_mistake_and_without(kind: str, wrong: dict[str, Any], right: dict[str, Any]) -> None:
    assert kind in kinds(lint_recipe(Recipe(**{**SMALL, **wrong}), TABLE))
    assert kind not in kinds(lint_recipe(Recipe(**{**SMALL, **right}), TABLE))


def test_each_finding_has_a_kind_a_severity_and_a_cure() -> None:
    found = lint_recipe(Recipe(**SMALL, rule={"name": "adamw", "lr": 9.0}, min_delta=1.0), DATA["parts-overlap"][0])
    assert [finding.severity for finding in found] == ["mistake", "warning", "warning", "note", "note"]
    assert all(finding.cure and finding.cure in str(finding) for finding in found)


def test_a_plain_recipe_on_good_data_has_no_mistakes_or_warnings() -> None:
    for problem in ("digits", "diabetes"):
        found = lint_recipe(Recipe(problem=problem, model="mlp:16"), load(problem))
        assert [finding for finding in found if finding.severity != "note"] == []
