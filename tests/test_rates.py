"""The learning-rate range test by lanes: what it suggests, how it shows itself, what it refuses."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from ravine.errors import UserError
from ravine.models import model_factory
from ravine.problems import from_arrays, load
from ravine.randomness import build
from ravine.rates import RangeTest, lr_range_test
from ravine.rates.advice import advise, read
from ravine.rates.chance import constant_loss
from tests.optimizing import samples_at

# --- What it suggests ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> RangeTest:
    return lr_range_test("digits", model="mlp:32", optimizer="momentum", seeds=3)


def test_the_suggestion_trains_well_and_what_lies_far_outside_does_not(digits: RangeTest) -> None:
    assert digits.low is not None and digits.high is not None and digits.low < digits.high
    words = {row.rate: row.symptom for row in digits.checked}
    assert len(words) == 12
    inside = [row for row in digits.checked if row.suggested]
    assert len(inside) == 6 and sum(row.symptom == "good" for row in inside) >= 4
    best = min(row.loss for row in digits.checked)
    assert min(row.loss for row in inside) < 1.3 * best
    assert words[min(words)] in ("too low", "flat") and words[max(words)] in ("too high", "diverges", "flat")


def test_a_sweep_is_that_of_a_plain_loop_in_torch() -> None:
    """Lane by lane, one that torch's own optimizer runs on the same batches at the same rates."""
    problem = load("wine")
    found = lr_range_test(problem, model="softmax", optimizer="sgd", batch=16, steps=40, seeds=2, high=1.0, tried=False)
    factory = model_factory("softmax", problem.shape, problem.outputs)
    for seed in (0, 1):
        net = build(factory, seed)
        optimizer = torch.optim.SGD(net.parameters(), lr=found.rates[0])
        for step, rate in enumerate(found.rates):
            optimizer.param_groups[0]["lr"] = rate
            index = samples_at(seed, step, len(problem.train), 16)
            loss = cross_entropy(net(problem.train.x[index]), problem.train.y[index])
            assert found.losses[seed][step] == pytest.approx(loss.item(), rel=2e-4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    ratios = np.array(found.rates[1:]) / np.array(found.rates[:-1])
    assert np.allclose(ratios, ratios[0], rtol=1e-9) and found.rates[-1] == pytest.approx(1.0)


def test_reading_a_sweep_of_known_shape() -> None:
    rates = [10 ** (-6 + 8 * step / 199) for step in range(200)]

    def loss(rate: float) -> float:  # falls around 1e-2, lowest from 0.1 on, explodes from 1
        return 0.1 + 0.9 / (1 + (rate / 0.01) ** 2) + max(0.0, rate - 1) ** 2

    reading = read(rates, [loss(rate) for rate in rates])
    assert reading.steepest == pytest.approx(0.01, rel=0.4)
    assert reading.lowest is not None and 0.03 < reading.lowest < 0.3
    assert reading.diverges == pytest.approx(2.0, rel=0.4)
    advice = advise([reading, reading], rates[0], rates[-1])
    assert advice.low == pytest.approx(min(reading.steepest or 0, reading.lowest / 10))
    assert advice.high == pytest.approx(reading.lowest / 2)
    assert advice.doubts == () and len(advice.reasons) == 3


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([1.0] * 200, "in no run did the loss fall"),
        ([1.0] * 100 + [math.nan] * 100, "lost at"),
        ([math.nan] * 200, "in no run"),
        ([2.0 - step / 200 for step in range(200)], "sweep to a higher rate"),
    ],
)
def test_a_sweep_that_shows_little_says_so(losses: list[float], words: str) -> None:
    rates = [10 ** (-4 + 3 * step / 199) for step in range(200)]
    advice = advise([read(rates, losses)] * 2, rates[0], rates[-1])
    assert any(words in doubt for doubt in advice.doubts)
    assert (advice.low is None) == ("no run" in advice.doubts[0])


def test_one_seed_and_seeds_that_disagree_are_doubts() -> None:
    rates = [10 ** (-6 + 8 * step / 199) for step in range(200)]
    near, far = ([1 / (1 + rate / at) for rate in rates[:150]] + [9.0] * 50 for at in (1e-4, 1e-2))
    one = advise([read(rates, near)], rates[0], rates[-1])
    assert any("no spread" in doubt for doubt in one.doubts)
    both = advise([read(rates, near), read(rates, far)], rates[0], rates[-1])
    assert any("the runs put the steepest between" in doubt for doubt in both.doubts)


# --- What a constant answer does as well -----------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "oracle"), [("mse", np.mean), ("l1", np.median)])
def test_the_best_constant_answer_of_numbers_is_their_mean_or_median(loss: str, oracle: Any) -> None:
    y = torch.randn(301, 1, generator=torch.Generator().manual_seed(0)).exp()
    problem = replace(from_arrays(torch.randn(301, 2), y, name="skewed"), loss=loss)
    train, valid = (np.asarray(part.y, dtype=np.float64) for part in (problem.train, problem.valid))
    error = valid - oracle(train)
    expected = np.mean(error**2 if loss == "mse" else np.abs(error))
    assert constant_loss(problem, torch.zeros(1, 1)) == pytest.approx(expected, rel=0.02)


def test_the_best_constant_answer_of_classes_is_how_often_they_come() -> None:
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    problem = from_arrays(torch.randn(100, 2), y, name="classes")
    shares = np.bincount(problem.train.y.numpy()) / len(problem.train)
    expected = -np.mean(np.log(shares[problem.valid.y.numpy()]))
    assert constant_loss(problem, torch.zeros(1, 3)) == pytest.approx(expected, rel=1e-3)


def test_rates_that_learn_noise_by_heart_are_not_called_good(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(150, 60, generator=draw), torch.randint(2, (150,), generator=draw)
    found = lr_range_test(from_arrays(x, y, name="noise"), model="mlp:64", batch=45, steps=100, seeds=3)
    assert found.readings[0].lowest is not None  # the training loss did fall
    assert "no better than chance" in [row.symptom for row in found.checked]
    assert "good" not in [row.symptom for row in found.checked]
    assert found.low is None and "constant answer" in found.verdict and "give more steps" in found.verdict
    assert found.chance == pytest.approx(math.log(2), abs=0.1)


def test_the_noise_of_the_labels_is_not_taken_for_rates_that_are_too_high() -> None:
    """One label in six is wrong: losses of minibatches of 16 jump once something is learned, and did not before."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(500, 4, generator=draw)
    wrong = torch.rand(500, generator=draw) < 1 / 6
    y = ((x[:, 0] > 0) ^ wrong).long()
    found = lr_range_test(from_arrays(x, y, name="noisy"), model="mlp:64,64", batch=16)
    inside = [row.symptom for row in found.checked if row.suggested]
    assert len(inside) == 6 and "too high" not in inside
    assert found.checked[-1].symptom in ("too high", "diverges")


# --- How it shows itself ---------------------------------------------------------------------------------------------


def shown_in_a_notebook(test: RangeTest) -> str:
    return str(getattr(test, "_repr_html_")())  # noqa: B009


def test_it_shows_itself_in_a_terminal_a_notebook_and_a_page(digits: RangeTest, tmp_path: Path) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(digits)
    text = console.export_text()
    assert "momentum" in text and "too low" in text and "Why: the loss falls most steeply" in text
    assert digits.verdict in text.replace("\n", " ")
    html = shown_in_a_notebook(digits)
    assert "<svg" in html and "<script" not in html and html.count("<tr>") == 13
    page = digits.report(tmp_path / "lr.html").read_text(encoding="utf-8")
    assert digits.verdict in page and "://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    drawn: Any = json.loads(page.split('id="data-sweep">')[1].split("</script>")[0])
    assert [trace["name"] for trace in drawn["data"]] == ["seed 0", "seed 1", "seed 2"]
    facts = json.loads(json.dumps(digits.facts(), allow_nan=False))
    assert facts["low"] == digits.low and len(facts["tried"]) == 12


def test_a_name_that_is_html_does_no_harm_and_a_silent_test_is_shown_too(tmp_path: Path) -> None:
    flat = from_arrays(torch.randn(60, 3), torch.randn(60), name="<b>mine</b>")
    found = lr_range_test(flat, model="linear", optimizer="sgd", steps=40, seeds=2, low=1e-9, high=1e-8)
    assert found.low is None and "No learning rate can be suggested" in found.verdict
    assert "<b>" not in found.report(tmp_path / "r.html").read_text(encoding="utf-8").split("<main>")[1][:2000]
    assert "No learning rate" in shown_in_a_notebook(found)


# --- What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "digts"}, "did you mean 'digits'"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"model": "mpl:3"}, "did you mean 'mlp'"),
        ({"low": 0.0}, "two positive rates"),
        ({"low": 1.0, "high": 0.1}, "the lower one first"),
        ({"high": math.inf}, "two positive rates"),
        ({"steps": 10}, "give 40 or more"),
        ({"seeds": 0}, "give 1 or more"),
        ({"batch": 100000}, "does not fit the"),
        ({"batch": 0}, "does not fit the"),
        ({"loss": "mse"}, "does not fit wine"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"data": "wine", **options}
    with pytest.raises(UserError, match=words) as refused:
        lr_range_test(given.pop("data"), **given)
    assert "\n" not in str(refused.value)
