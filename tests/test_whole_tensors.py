"""What engines do for rules of whole tensors: lanes, slots of any shape, tensors of one shape together, sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.engines.column import Column
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.together import fits
from ravine.errors import UserError
from ravine.models import mlp
from ravine.problems.problem import Part
from ravine.rules.matrix import orthogonal
from ravine.rules.muon import Muon
from ravine.rules.rule import catalogue, make
from ravine.rules.spectral import LONGEST, basis, inverse_root, ridged
from tests.driving import normal
from tests.optimizing import drive, flat, parameter, weights

MATRIX_RULES = [name for name, rule in catalogue().items() if rule.companion]


def symmetric(seed: str, n: int, lanes: int) -> Tensor:
    x = normal(seed, lanes, n, n + 2)
    return x @ x.mT


def test_newton_schulz_brings_every_singular_value_near_one() -> None:
    for shape in ((6, 4), (4, 6), (3, 2, 2, 2)):
        x = normal(str(shape), *shape)
        sizes = torch.linalg.svdvals(orthogonal(x, 0.1, 1e-7, False).flatten(1))
        assert bool(((sizes > 0.6) & (sizes < 1.3)).all())
        u, _, v = torch.linalg.svd(x.flatten(1), full_matrices=False)
        assert float((u.mT @ orthogonal(x, 0.1, 1e-7, False).flatten(1) @ v.mT).diagonal().min()) > 0.6


def test_a_square_times_its_inverse_roots_is_the_unit() -> None:
    square = symmetric("root", 5, 3)
    root = inverse_root(torch.zeros_like(square), square, square, 1, 1.0)
    torch.testing.assert_close(torch.linalg.matrix_power(root, 4) @ square, torch.eye(5).double().expand(3, 5, 5))
    alone = inverse_root(torch.zeros_like(square), square, square.new_zeros(3, 0), 1, 1.0)
    torch.testing.assert_close(alone @ alone @ square, torch.eye(5).double().expand(3, 5, 5))


def test_a_basis_holds_the_eigenvectors_largest_first() -> None:
    square = symmetric("basis", 5, 2)
    p = basis(torch.zeros_like(square), square, 1, 10.0)
    sizes = (p.mT @ square @ p).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(p @ sizes.diag_embed() @ p.mT, square)
    assert bool((sizes.diff(dim=-1) < 0).all())


def test_a_space_without_slopes_has_the_same_basis_however_it_was_rounded() -> None:
    x = normal("null", 1, 6, 2)
    one, other = x @ x.mT, (x * (1 + 1e-14)) @ x.mT
    bases = [basis(torch.zeros_like(one), square, 1, 10.0) for square in (one, other)]
    torch.testing.assert_close(bases[0].abs(), bases[1].abs(), rtol=1e-9, atol=1e-9)
    assert float((bases[0].mT @ bases[0] - torch.eye(6).double()).abs().max()) < 1e-12


@pytest.mark.parametrize("make", [basis, lambda p, s, t, period: inverse_root(p, ridged(s, 0.1), s, t, period)])
def test_each_lane_is_renewed_at_its_own_period(make: Any) -> None:
    square, old = symmetric("period", 4, 3), torch.linalg.qr(symmetric("old", 4, 3))[0]
    periods = [2.0, 3.0, 12.9]
    for t in (13, 14, 15, 18, 24):
        together = make(old, square, t, Column(periods))
        for lane, period in enumerate(periods):
            alone = make(old[lane], square[lane], t, period)
            torch.testing.assert_close(together[lane], alone)
            assert torch.equal(together[lane], old[lane]) == bool(t % int(period))


def test_a_side_that_is_too_long_is_left_as_it_is() -> None:
    w = nn.Parameter(torch.ones(LONGEST + 1, 2))
    for rule in ("soap", "shampoo"):
        optimizer = ravine.optim.of(rule)([w], period=1)
        drive(optimizer, 3)
        state = optimizer.state[w]
        assert state["L"].numel() == state["P"].numel() == 0 and state["Q"].shape == (2, 2)
        assert bool(w.isfinite().all())


@pytest.mark.parametrize("rule", MATRIX_RULES)
def test_vectors_take_the_companion_s_step_and_matrices_do_not(rule: str) -> None:
    def walked(shape: tuple[int, ...]) -> Tensor:
        w = nn.Parameter(torch.linspace(-1, 1, 6).reshape(shape))
        drive(ravine.optim.of(rule)([w], lr=0.1), 4)
        return w.detach().flatten()

    assert not torch.allclose(walked((6,)), walked((2, 3)), rtol=1e-3)


@pytest.mark.parametrize("rule", ["muon", "soap", "shampoo", "adafactor", "lamb", "l-dog"])
def test_tensors_of_one_shape_step_together_as_each_would_alone(rule: str) -> None:
    together = weights((3, 4), (5,), (3, 4), (3, 4), (5,), dtype=torch.float64)
    alone = [nn.Parameter(w.detach().clone()) for w in together]
    one, many = ravine.optim.of(rule)(together), [ravine.optim.of(rule)([w]) for w in alone]
    assert fits(one.rules()[0], together[0]) and not fits(make("adam", {}), together[0])
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        for w, other in zip(together, alone, strict=True):
            w.grad = torch.randn(w.shape, generator=generator, dtype=w.dtype)
            other.grad = w.grad.clone()
        one.step()
        for optimizer in many:
            optimizer.step()
    torch.testing.assert_close(flat(together), flat(alone), rtol=1e-10, atol=1e-12)


def test_sums_are_over_all_groups_and_a_checkpoint_keeps_the_rate_found() -> None:
    both = weights((3,), (2, 2))
    groups = [{"params": [both[0]]}, {"params": [both[1]], "weight_decay": 0.1}]
    optimizer = ravine.optim.of("dog")(groups)
    drive(optimizer, 3)
    found = [optimizer.state[p]["n"] for p in both]
    assert found[0] == found[1] > 0
    again = ravine.optim.of("dog")(groups)
    again.load_state_dict(optimizer.state_dict())
    assert [again.state[p]["n"] for p in both] == found


def test_clipped_gradients_are_what_the_sums_are_taken_of() -> None:
    w = parameter(1.0, 2.0)
    optimizer = ravine.optim.of("dog")([w], clip_norm=0.5)
    w.grad = torch.tensor([30.0, 40.0])
    optimizer.step()
    assert optimizer.state[w]["n"] == pytest.approx(0.25, rel=1e-4)


def test_lanes_keep_slots_of_each_parameter_s_own_shape() -> None:
    model = Model(lambda: mlp([3, 4, 2], nn.Tanh))
    lane = model.lane(make("soap", {}), {}, 0)
    assert lane.slots == {}, "made where they are first needed"
    begun = model.slots(rule := make("soap", {}), lane.weights)
    places = model.slot_places(rule)
    assert [tuple(x.shape) for x in places["L"].views(begun["L"])] == [(4, 4), (0,), (2, 2), (0,)]
    assert [tuple(x.shape) for x in places["R"].views(begun["R"])] == [(3, 3), (0,), (4, 4), (0,)]
    part = Part(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2)
    ends: list[Tensor] = []
    for cut in (0, 4):
        lanes = Lanes(model, nn.functional.cross_entropy, [lane, model.lane(make("prodigy", {}), {}, 1)])
        for step in range(12):
            if step and step == cut:
                lanes = Lanes(model, nn.functional.cross_entropy, lanes.export())
            lanes.step(part, torch.arange(8).expand(2, 8), 0.0)
        ends.append(torch.stack([one.weights for one in lanes.export()]))
    assert torch.equal(ends[0], ends[1])


def test_a_slot_of_another_shape_is_refused_by_name() -> None:
    first, second = (ravine.optim.of("muon")([("w", w)]) for w in weights((3, 2), (6,)))
    drive(first, 1)
    with pytest.raises(UserError, match="parameter 'w' has shape"):
        second.load_state_dict(first.state_dict())
    assert Muon.companion.startswith("vectors")


@pytest.mark.parametrize("name", ["adafactor", "muon", "shampoo", "soap", "prodigy", "dog"])
def test_slots_of_any_shape_may_be_kept_in_bfloat16_but_not_the_start(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    start = [p.detach().clone() for p in model.parameters()]
    optimizer = ravine.optim.of(name)(model.parameters(), state_dtype=torch.bfloat16)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(1, 4)).square().sum().backward()
        optimizer.step()
    for p, begun in zip(model.parameters(), start, strict=True):
        state = optimizer.state[p]
        assert bool(torch.isfinite(p).all()) and not torch.equal(p, begun)
        if "p" in state:
            assert torch.equal(state["p"], begun)
        slots = {slot: x.dtype for slot, x in state.items() if isinstance(x, torch.Tensor) and slot != "p"}
        assert set(slots.values()) <= {torch.bfloat16}, slots
