"""The learning-rate range test: what it suggests, what it leaves untouched, how it shows itself, what it refuses."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import from_arrays, load
from ravine.randomness import build, order
from ravine.rates import RangeTest, law_of, lr_range_test, scaled_rate, symptom
from ravine.rates.advice import advise, read
from ravine.rates.lanes import Setting, constant
from ravine.rates.symptoms import Symptom
from ravine.rules.rule import catalogue, make, with_values
from ravine.training.loop import evaluate

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
            index = _order(seed, step, len(problem.train), 16)
            loss = cross_entropy(net(problem.train.x[index]), problem.train.y[index])
            assert found.losses[seed][step] == pytest.approx(loss.item(), rel=2e-4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    ratios = np.array(found.rates[1:]) / np.array(found.rates[:-1])
    assert np.allclose(ratios, ratios[0], rtol=1e-9) and found.rates[-1] == pytest.approx(1.0)


def _order(seed: int, step: int, samples: int, batch: int) -> Tensor:
    epoch, place = divmod(step, samples // batch)
    return order(seed, epoch, samples)[place * batch : (place + 1) * batch]


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


# --- Row L9: symptoms ------------------------------------------------------------------------------------------------


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
        lanes.step(problem.train, torch.stack([_order(s, step, len(problem.train), 64) for s in seeds]), epoch + place)
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
    assert found.advice.doubts and "(not sure)" in found.verdict or found.low is None


def test_a_short_curve_is_refused() -> None:
    with pytest.raises(UserError, match="give 40 or more"):
        symptom([1.0] * 39)


# --- One's own model, optimizer and batches --------------------------------------------------------------------------


class Noisy(nn.Module):
    """With everything that training may change: dropout, batch normalisation, a buffer that no checkpoint holds."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.2),
            nn.Linear(8, 3),
        )
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + 1  # another tensor each time
        return self.last(self.drop(self.norm(self.first(x)).relu() + random.random() * 1e-3 * float(np.random.rand())))


def my_loop() -> tuple[Noisy, DataLoader[Any]]:
    torch.manual_seed(1)
    x = torch.randn(96, 6)
    y = (x[:, :3].argmax(1)).long()
    return Noisy(), DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)


def state_of(net: Noisy, optimizer: torch.optim.Optimizer) -> list[Any]:
    tensors = [*net.parameters(), *net.buffers()]
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    numbers: Any = np.random.get_state()
    generators = [torch.get_rng_state(), random.getstate(), numbers[1].tolist(), numbers[2:]]
    modes = [module.training for module in net.modules()]
    return [[t.detach().clone() for t in tensors], grads, copy.deepcopy(optimizer.state_dict()), generators, modes]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


MAKERS: list[Any] = [
    lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    lambda ps: torch.optim.Adam(ps, lr=torch.tensor(0.01)),
    lambda ps: ravine.optim.NAdam(ps, lr=0.01),
    lambda ps: ravine.optim.of("nesterov/look-ahead")(ps, lr=0.05),
    lambda ps: torch.optim.LBFGS(ps, lr=0.1, max_iter=2),
]


@pytest.mark.parametrize("make_optimizer", MAKERS)
def test_nothing_that_was_given_is_changed_to_the_bit(make_optimizer: Any) -> None:
    net, loader = my_loop()
    optimizer = make_optimizer(list(net.parameters()))
    x, y = next(iter(loader))

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(net(x), y)
        value.backward()
        return value

    optimizer.step(closure)  # so that there is state, and a gradient, to keep
    net.drop.eval()
    held = [optimizer.param_groups[0]["lr"], *net.buffers(), *(p.grad for p in net.parameters())]
    before = state_of(net, optimizer)
    found = lr_range_test(loader, model=net, optimizer=optimizer, loss=cross_entropy, steps=60, seeds=2)
    assert same(state_of(net, optimizer), before)
    now = [optimizer.param_groups[0]["lr"], *net.buffers(), *(p.grad for p in net.parameters())]
    assert all(a is b for a, b in zip(held, now, strict=True))
    assert len(found.losses) == 2 and found.losses[0] != found.losses[1] and not found.checked
    twin, _ = my_loop()
    other = make_optimizer(list(twin.parameters()))
    assert len(other.state) == 0
    lr_range_test(loader, model=twin, optimizer=other, loss=cross_entropy, steps=60, seeds=1)
    assert len(other.state) == 0  # what had no state has none


def test_an_error_within_leaves_all_as_it_was_too() -> None:
    net, loader = my_loop()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = state_of(net, optimizer)
    seen: list[int] = []

    def failing(out: Tensor, y: Tensor) -> Tensor:
        seen.append(1)
        return cross_entropy(out, y) if len(seen) < 9 else cross_entropy(out, y[:3])

    with pytest.raises(UserError, match="the model and loss on a batch of yours"):
        lr_range_test(loader, model=net, optimizer=optimizer, loss=failing)
    assert len(seen) == 9 and same(state_of(net, optimizer), before)


def test_groups_keep_the_ratio_of_their_rates_and_a_loaders_generator_its_place() -> None:
    net, loader = my_loop()
    generator = torch.Generator().manual_seed(4)
    own = DataLoader(loader.dataset, batch_size=16, shuffle=True, generator=generator)
    seen: list[tuple[float, float]] = []
    optimizer = torch.optim.SGD(
        [{"params": net.first.parameters(), "lr": 0.2}, {"params": net.last.parameters()}], lr=0.1
    )
    hook = optimizer.register_step_pre_hook(
        lambda o, *_: seen.append((o.param_groups[0]["lr"], o.param_groups[1]["lr"]))
    )
    before = generator.get_state()
    lr_range_test(own, model=net, optimizer=optimizer, loss=cross_entropy, steps=40, seeds=1, high=1.0)
    hook.remove()
    assert len(seen) == 40 and all(a == pytest.approx(2 * b) for a, b in seen)
    assert seen[0][0] == pytest.approx(1e-6) and torch.equal(generator.get_state(), before)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def test_a_module_is_copied_and_arrays_will_do() -> None:
    net, loader = my_loop()
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    before = copy.deepcopy(net.state_dict())
    found = lr_range_test(
        (x, y), model=nn.Sequential(net.first, nn.ReLU(), nn.Linear(8, 3)), optimizer="adam", steps=60
    )
    assert found.model == "Sequential" and found.low is not None
    assert same(dict(net.state_dict()), dict(before))


def shown_in_a_notebook(test: RangeTest) -> str:
    return str(getattr(test, "_repr_html_")())  # noqa: B009


# --- How it shows itself ---------------------------------------------------------------------------------------------


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


def test_what_does_not_fit_ones_own_loop_is_one_sentence() -> None:
    net, loader = my_loop()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": "mlp:3"}, "must be the nn.Module"),
        ({"loss": "auto"}, "must be a function"),
        ({"data": iter(loader)}, "an iterator, which a test would use up"),
        ({"data": []}, "empty"),
        ({"data": [torch.zeros(2, 6)]}, "a pair"),
        ({"data": 3}, "give a DataLoader"),
        ({"model": nn.Linear(6, 3)}, "no parameter of this model"),
        ({"loss": lambda out, y: out}, "it must give one number"),
        ({"optimizer": torch.optim.Adadelta(net.parameters()), "data": 3}, "give a DataLoader"),
    ]
    for changes, words in cases:
        given: dict[str, Any] = {"data": loader, "model": net, "optimizer": optimizer, "loss": cross_entropy, **changes}
        with pytest.raises(UserError, match=words):
            lr_range_test(given.pop("data"), **given)
    for wrong in ({"batch": 0}, {"new_batch": 0}, {"lr": -1.0}, {"lr": math.nan}, {"law": "cubic"}, {"rule": "adm"}):
        call: dict[str, Any] = {"lr": 0.1, "batch": 8, "new_batch": 16, **wrong}
        with pytest.raises(UserError):
            scaled_rate(**call)
