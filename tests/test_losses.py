"""Losses: torch's where torch has them, the papers' where not, finite at any logit, the same in lanes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional

import ravine
from ravine.errors import UserError
from ravine.losses import FORMS, LearnedWeights, form_of, loss_of, loss_text, names_for, weighted_sum
from ravine.losses import functions as f
from ravine.problems import from_arrays
from ravine.problems.target import CLASS_LOSSES, NUMBER_LOSSES
from ravine.recipe import Recipe

F64 = torch.float64


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=F64)


def data(task: str, n: int = 7) -> tuple[Tensor, Tensor]:
    out = drawn(n, 4)
    return (out, torch.arange(n) % 4) if task == "classification" else (out, drawn(4 * n).view(n, 4).flip(0))


def with_slope(loss: Any, out: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    at = out.clone().requires_grad_()
    value = loss(at, y)
    return value.detach(), torch.autograd.grad(value, at)[0]


def same(one: Any, other: Any, out: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(with_slope(one, out, y), with_slope(other, out, y), rtol=1e-9, atol=1e-12)


def torch_margin(out: Tensor, y: Tensor) -> Tensor:
    return functional.multi_margin_loss(out, y) * 2  # torch divides by the number of classes


def soft_margin(out: Tensor, y: Tensor) -> Tensor:
    return functional.soft_margin_loss(out[:, 1] - out[:, 0], 2.0 * y - 1)


def one_versus_rest(out: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(out, functional.one_hot(y, 4).double())


def test_losses_equal_torchs_forward_and_backward() -> None:
    out, y = data("classification")
    same(form_of("cross_entropy"), functional.cross_entropy, out, y)
    smooth = form_of("cross_entropy:label_smoothing=0.1")
    same(smooth, lambda a, b: functional.cross_entropy(a, b, label_smoothing=0.1), out, y)
    same(form_of("binary_cross_entropy"), one_versus_rest, out, y)
    two, sign = out[:, :2], y % 2
    same(form_of("hinge"), torch_margin, two, sign)
    same(form_of("logistic"), soft_margin, two, sign)
    same(form_of("logistic"), functional.cross_entropy, two, sign)
    out, y = data("regression")
    same(form_of("mse"), functional.mse_loss, out, y)
    same(form_of("l1"), functional.l1_loss, out, y)
    same(form_of("huber:delta=0.5"), lambda a, b: functional.huber_loss(a, b, delta=0.5), out, y)


@pytest.mark.parametrize("name", FORMS)
def test_n7_gradients_are_those_of_finite_differences(name: str) -> None:
    out, y = data(FORMS[name].task)
    at = out.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: form_of(name)(a, y), (at,))


def test_n7_the_margin_losses_in_closed_form_and_the_misprint() -> None:
    m = torch.tensor([-40.0, -2.0, 0.5, 3.0], dtype=F64)
    assert float(f.hinge(m)) == pytest.approx((41 + 3 + 0.5 + 0) / 4)
    assert float(f.logistic(m)) == pytest.approx(sum(math.log1p(math.exp(-float(x))) for x in m) / 4)
    inside = m[1:]
    assert float(f.exponential(inside)) == pytest.approx(sum(math.exp(-float(x)) for x in inside) / 3)
    assert float(f.exponential(m[:1])) == pytest.approx(math.exp(30) * 11)
    scores = torch.zeros(2, dtype=F64)
    signs = torch.tensor([1.0, -1.0], dtype=F64)
    meant = with_slope(lambda s, y: f.exponential(y * s), scores, signs)[1]
    printed = with_slope(f.exponential_misprint, scores, signs)[1]
    assert meant[0] < 0 < meant[1]  # the score of the positive rises, of the negative falls
    assert bool((printed > 0).all())  # as printed, every score falls, whatever its label


def test_n8_squared_error_on_a_saturated_output_hardly_moves() -> None:
    z, y = torch.tensor([-10.0], dtype=F64), torch.tensor([1.0], dtype=F64)
    squared = with_slope(lambda z, y: ((z.sigmoid() - y) ** 2).mean() / 2, z, y)[1].abs()
    cross = with_slope(functional.binary_cross_entropy_with_logits, z, y)[1].abs()
    assert float(squared) == pytest.approx(4.5e-5, rel=0.02) and float(cross) == pytest.approx(1.0, rel=1e-3)
    assert float(cross / squared) == pytest.approx(2.2e4, rel=0.02)
    wrong, label = torch.tensor([[10.0, -10.0]], dtype=F64), torch.tensor([1])
    assert float(with_slope(form_of("squared_sigmoid"), wrong, label)[1].abs().max()) == pytest.approx(4.5e-5, rel=0.02)

    def escape(loss: Any) -> int:
        at = torch.tensor([[5.0, -5.0]], dtype=F64)
        for step in range(20_000):
            if at.argmax() == 1:
                return step
            at = at - 1.0 * with_slope(loss, at, label)[1]
        return 20_000

    assert escape(form_of("cross_entropy")) < 20 < 100 * 20 < escape(form_of("squared_softmax"))


@pytest.mark.parametrize("name", [*names_for("classification"), "cross_entropy:label_smoothing=0.1"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_n9_logits_of_ten_thousand_stay_finite(name: str, dtype: torch.dtype) -> None:
    out = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype)
    value, slope = with_slope(form_of(name), out, torch.tensor([1, 0]))
    assert bool(value.isfinite()) and bool(slope.isfinite().all())


def test_n9_cross_entropy_is_unmoved_by_a_shift_and_is_logsumexp_minus_the_right_logit() -> None:
    out, y = data("classification")
    plain = form_of("cross_entropy:label_smoothing=0.2")
    torch.testing.assert_close(plain(out + 1e3, y), plain(out, y), rtol=1e-11, atol=0)
    rows = torch.arange(len(y))
    torch.testing.assert_close(functional.cross_entropy(out, y), (out.logsumexp(1) - out[rows, y]).mean())


def test_r16_the_two_conventions_of_label_smoothing() -> None:
    best = torch.tensor([[math.log(0.9), *[math.log(0.1 / 9)] * 9]], dtype=F64)
    label = torch.tensor([0])
    deck = form_of("cross_entropy:smoothing_to_others=0.1")
    value, slope = with_slope(deck, best, label)
    assert float(value) == pytest.approx(0.5448, abs=5e-5) and float(slope.abs().max()) < 1e-12
    out, y = drawn(6, 10), torch.arange(6)
    alpha = 0.1 * 10 / 9
    same(deck, lambda a, b: functional.cross_entropy(a, b, label_smoothing=alpha), out, y)


@pytest.mark.parametrize("name", [*FORMS, "cross_entropy:label_smoothing=0.1", "mse:weights=[1,0.1,2,0]"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_lane_has_the_loss_of_the_run_alone(name: str, shared: bool) -> None:
    form = form_of(name)
    _, y = data(form.task)
    lanes = drawn(3, 7, 4).requires_grad_()
    ys = y if shared else torch.stack([y, y.flip(0), y])
    got = vmap(form, in_dims=(0, None if shared else 0))(lanes, ys)
    slopes = torch.autograd.grad(got.sum(), lanes)[0]
    for k in range(3):
        alone = with_slope(form, lanes[k].detach(), y if shared else ys[k])
        torch.testing.assert_close((got[k].detach(), slopes[k]), alone, rtol=1e-12, atol=1e-14)


def test_tasks_are_summed_with_given_and_with_learned_weights() -> None:
    out, y = data("regression")
    each = ((out - y) ** 2).mean(0)
    weights = (1.0, 0.1, 2.0, 0.0)
    named = form_of(loss_text({"name": "mse", "weights": list(weights)}))
    torch.testing.assert_close(named(out, y), weighted_sum(list(each), weights))
    torch.testing.assert_close(form_of("mse:weights=[0.25,0.25,0.25,0.25]")(out, y), functional.mse_loss(out, y))
    learned = LearnedWeights(2)
    losses = [torch.tensor(4.0), torch.tensor(0.01)]
    optimizer = torch.optim.Adam(learned.parameters(), 0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        learned(losses).backward()
        optimizer.step()
    torch.testing.assert_close(learned.log_variance.detach().exp(), torch.stack(losses), rtol=1e-3, atol=0)
    torch.testing.assert_close(learned.weights, torch.tensor([1 / 8, 50.0]), rtol=1e-3, atol=0)


def test_the_names_that_problems_know_are_those_of_the_catalogue() -> None:
    assert list(CLASS_LOSSES) == names_for("classification") and list(NUMBER_LOSSES) == names_for("regression")
    whole = from_arrays(drawn(60, 2).numpy(), list(range(3)) * 20, loss="hinge")
    assert whole.task == "classification" and loss_of(whole) == form_of("hinge")


def test_a_recipe_holds_a_loss_with_settings_and_trains_with_it() -> None:
    table = Recipe.model_validate({"problem": "diabetes", "loss": {"name": "huber", "delta": 0.5}})
    assert table.loss == "huber:delta=0.5" and Recipe.model_validate(table.model_dump()) == table
    trained = ravine.train(table.model_copy(update={"epochs": 1, "model": "linear"}))
    assert trained.loss == form_of("huber:delta=0.5")
    assert trained.result.valid_loss is not None


@pytest.mark.parametrize(
    ("problem", "loss", "words"),
    [
        ("diabetes", "mse:label_smoothing=0.1", "label_smoothing is a setting of cross_entropy, not of mse"),
        ("diabetes", "cross_entropy:label_smoothing=0.1", "does not fit diabetes"),
        ("wine", "cross_entropy:label_smoothing=1", "must lie in (0, 1), got 1"),
        ("wine", "cross_entropy:label_smoothing=0", "must lie in (0, 1), got 0"),
        ("wine", "cross_entropy:label_smoothing=0.1,smoothing_to_others=0.1", "give one"),
        ("wine", "hinge:margin=2", "hinge has no settings"),
        ("wine", "hing", "did you mean 'hinge'"),
        ("diabetes", "huber:delta=-1", "delta must be positive"),
        ("diabetes", "huber:delta", "write settings as in huber:delta=0.5"),
        ("diabetes", "huber:dleta=1", "did you mean 'delta'"),
        ("diabetes", "mse:weights=[1,2]", "2 weights for the 1 outputs"),
        ("diabetes", "mse:weights=[0]", "nothing is left to learn"),
    ],
)
def test_a_mistake_is_one_sentence(problem: str, loss: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        ravine.train(Recipe(problem=problem, loss=loss, epochs=1))
    assert words in str(refused.value) and "\n" not in str(refused.value)
