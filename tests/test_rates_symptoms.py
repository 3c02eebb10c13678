"""What a loss curve says of its rate (row L9), and how a rate goes with the batch (row B2)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import load
from ravine.rates import law_of, lr_range_test, scaled_rate, symptom
from ravine.rates.lanes import Setting, constant
from ravine.rates.symptoms import Symptom
from ravine.rules.rule import catalogue, make, with_values
from ravine.training.loop import evaluate
from tests.optimizing import samples_at


def truth(start: float, ends: list[float]) -> list[Symptom]:
    """By the loss over the whole training part after the last step, relative to the best rate of the sweep."""
    falls = [start - end if math.isfinite(end) else -math.inf for end in ends]
    best = max(falls)
    found: list[Symptom] = []
    for place, fall in enumerate(falls):
        side: Symptom = "too low" if place < falls.index(best) else "too high"
        label: Symptom = "good" if fall >= 0.9 * best else "flat" if fall < 0.05 * best else side
        found.append("diverges" if ends[place] > 1.1 * start or not math.isfinite(fall) else label)
    return found


@pytest.mark.parametrize("rule", ["momentum", "rmsprop"])
def test_row_l9_the_symptoms_of_a_labelled_race_of_twelve_rates(rule: str) -> None:
    problem = load("digits")
    factory = model_factory("mlp:64", problem.shape, problem.outputs)
    made, seeds = make(rule, {}), (0, 1, 2)
    low, high = (1e-4, 100.0) if rule == "momentum" else (1e-6, 10.0)
    rates = np.geomspace(low, high, 12).tolist()
    losses, _ = constant(Setting(problem, factory, made, 64, seeds, 200), rates)
    model, loss = Model(factory), loss_of(problem)
    lanes = Lanes(model, loss, [model.lane(with_values(made, {"lr": r}), {}, s) for r in rates for s in seeds])
    start = evaluate(lanes.predict, len(lanes), loss, problem, problem.train)[0].mean().item()
    for step in range(200):
        epoch, place = divmod(step, len(problem.train) // 64)
        lanes.step(
            problem.train, torch.stack([samples_at(s, step, len(problem.train), 64) for s in seeds]), epoch + place
        )
    ends = evaluate(lanes.predict, len(lanes), loss, problem, problem.train)[0].view(12, 3).mean(1).tolist()
    want = truth(start, ends)
    said = [symptom(losses[:, place].mean(1).tolist(), start) for place in range(12)]
    assert sum(a == b for a, b in zip(want, said, strict=True)) >= 11, list(zip(rates, want, said, strict=True))
    assert set(want) >= {"flat", "too low", "good", "too high"}  # so that agreement is worth something


@pytest.mark.parametrize(
    ("curve", "word"),
    [
        (lambda t: 2.0, "flat"),
        (lambda t: 2.0 * math.exp(-t / 20), "good"),
        (lambda t: 2.0 - t / 150, "too low"),
        (lambda t: 2.0 + t / 100, "diverges"),
        (lambda t: math.nan if t > 150 else 1.0, "diverges"),
        (lambda t: 9.0 if t < 20 else 1.0, "too high"),
        (lambda t: 1.0 + 0.4 * math.sin(t / 10), "too high"),
        (lambda t: -1.0 - 2 * (1 - math.exp(-t / 20)), "good"),
    ],
)
def test_the_rules_of_the_symptoms(curve: Any, word: str) -> None:
    assert symptom([curve(t) for t in range(200)], start=-1.0 if curve(0) < 0 else 2.0) == word


def test_the_noise_of_minibatches_is_no_sign_of_a_high_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    curve = (1.0 - torch.arange(200) / 800 + 0.5 * torch.randn(200, generator=generator)).tolist()
    assert symptom(curve, start=1.0) == "too high" and symptom(curve, start=1.0, noise=0.5) == "too low"


def test_a_sweep_too_short_for_the_problem_says_so() -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 8)
    found = lr_range_test((x, (x[:, 0] * x[:, 1] * x[:, 2] > 0).long()), model="mlp:16", steps=60, seeds=3)
    assert (found.advice.doubts and "(not sure)" in found.verdict) or found.low is None


def test_a_short_curve_is_refused() -> None:
    with pytest.raises(UserError, match="give 40 or more"):
        symptom([1.0] * 39)


# --- Scaling with the batch ------------------------------------------------------------------------------------------


def test_row_b2_the_rate_scales_with_the_batch() -> None:
    assert scaled_rate(0.1, 256, 512) == 0.2 and scaled_rate(1.0, 256, 8192) == 32.0
    assert scaled_rate(0.001, 64, 16, law="sqrt") == 0.0005
    assert scaled_rate(0.1, 64, 128, rule="momentum") == 0.2
    laws = {name: law_of(name) for name in catalogue()}
    assert {name for name, law in laws.items() if law == "linear"} >= {"sgd", "momentum", "nesterov"}
    assert all(laws[name] == "sqrt" for name in ("adam", "adamw", "rmsprop", "adagrad", "nadam", "adamax"))


def test_row_b2_the_linear_law_keeps_the_curve_below_the_critical_batch() -> None:
    """Four times the batch at four times the rate: the loss an epoch is the same; at the old rate it is not."""
    problem = load("digits")

    def ends(batch: int, lr: float) -> float:
        factory = model_factory("softmax", problem.shape, problem.outputs)
        steps = 3 * (len(problem.train) // batch)
        _, valid = constant(Setting(problem, factory, make("sgd", {}), batch, (0, 1, 2), steps), [lr])
        return float(valid.mean())

    base = ends(8, 0.02)
    assert ends(32, scaled_rate(0.02, 8, 32)) == pytest.approx(base, rel=0.05)
    assert ends(32, 0.02) > 1.5 * base


def test_what_cannot_be_scaled_is_refused() -> None:
    for wrong in ({"batch": 0}, {"new_batch": 0}, {"lr": -1.0}, {"lr": math.nan}, {"law": "cubic"}, {"rule": "adm"}):
        call: dict[str, Any] = {"lr": 0.1, "batch": 8, "new_batch": 16, **wrong}
        with pytest.raises(UserError):
            scaled_rate(**call)
