"""A lane is the run alone: in any company, whatever the neighbours do, and from any point on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine import prove as proof
from ravine.engines.classes import FEW, lane_loss, lane_losses
from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.engines.noise import KeyedDropout
from ravine.engines.updates import rule_of
from ravine.models import mlp
from ravine.problems import Problem, from_arrays
from ravine.problems.problem import Part
from ravine.racing.plan import refused
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.rules.rule import catalogue, make, name_of, values
from ravine.rules.spec import rule_from_spec
from ravine.schedules import Cosine, Schedule
from ravine.training.clock import Batches, Clock
from ravine.training.feed import FETCHED, Feed

STEPS = 12
COSINE: dict[str, Schedule] = {"lr": Cosine(duration=2)}


class OwnNoise(nn.Sequential):
    """Draws by itself, out of reach of a lane's seed."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 0.1 * torch.rand(input.shape) if self.training else input)


class OwnPath(nn.Sequential):
    """Goes one way or the other by the values of the data."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if input.sum() > 0 else -input)


def layers() -> list[nn.Module]:
    # No bias before the normalisation: its gradient is zero but for rounding, which Adam divides by itself.
    return [nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)]


def network() -> nn.Module:
    return nn.Sequential(*layers())


def frozen() -> nn.Module:
    made = nn.Sequential(*layers())
    for parameter in made[0].parameters():
        parameter.requires_grad_(False)
    return made


def double(factory: Callable[[], nn.Module]) -> nn.Module:
    return factory().double()


def samples(dtype: torch.dtype = torch.float32) -> Part:
    drawn = torch.Generator().manual_seed(3)
    x = torch.randn(60, 4, generator=drawn)
    return Part(x.to(dtype), (x.sum(1) > 0).long() + (x[:, 0] > 1).long())


def problem(model: Callable[[], nn.Module] = network) -> Problem:
    part = samples()
    return from_arrays(part.x.numpy(), part.y.numpy(), name="toy", task="classification", model=model)


def go(lanes: Lanes, part: Part, begin: int = 0, end: int = STEPS) -> Lanes:
    """The lanes after those steps."""
    clock = Clock(len(part), 10, 2)
    batches = Batches(clock)
    for step in range(begin, end):
        lanes.step(part, batches.at(lanes.seeds, step), step / clock.steps_per_epoch)
    return lanes


def together(model: Model, lanes: Sequence[Lane]) -> Lanes:
    return Lanes(model, functional.cross_entropy, lanes)


def mixed(model: Model) -> list[Lane]:
    """Lanes of six rules, three inside combinators, and three seeds, in an order that separates those of one rule."""
    limit = {"name": "max-norm", "max_norm": 0.5}
    limited = {"name": "momentum", "lr": 0.03, "with": [limit, {"name": "clip-norm", "clip": 0.5}]}
    averaged = {"name": "sgd", "lr": 0.1, "with": [limit, {"name": "averaged", "ema": 0.9}]}
    clipped = {"name": "momentum", "lr": 0.03, "with": [{"name": "clip-global-norm", "clip": 0.5}]}
    specs: list[tuple[dict[str, Any], int]] = [
        ({"name": "adam", "lr": 1e-2}, 1),
        (clipped, 2),
        (limited, 1),
        (averaged, 2),
        ({"name": "adam", "lr": 1e-3}, 2),
        (averaged, 1),
        ({"name": "nesterov/look-ahead"}, 1),
        ({"name": "nadam"}, 3),
        ({"name": "adam", "lr": 3e-2}, 3),
    ]
    return [model.lane(rule_from_spec(spec), COSINE, seed) for spec, seed in specs]


def assert_equal(one: Lane, other: Lane) -> None:
    """To the bit, the state of the rule included."""
    assert (name_of(one.rule), one.seed, one.step) == (name_of(other.rule), other.seed, other.step)
    assert torch.equal(one.weights, other.weights)
    assert one.scalars == other.scalars
    for mine, theirs in ((one.slots, other.slots), (one.buffers, other.buffers)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_every_rule_in_company_is_the_run_in_plain_torch() -> None:
    seen = list(proof.prove(steps=6))
    assert {one.rule for one in seen} >= {n for n, r in catalogue().items() if not r.differs.startswith("erratum")}
    assert {one.dtype for one in seen} == {torch.float64, torch.float32}
    assert [one for one in seen if not one.holds] == []


def test_each_lane_of_mixed_rules_and_seeds_equals_itself_alone() -> None:
    model, part = Model(partial(double, network)), samples(torch.float64)
    company = go(together(model, mixed(model)), part).export()
    for lane, start in zip(company, mixed(model), strict=True):
        alone = go(together(model, [start]), part).export()[0]
        assert (lane.weights - alone.weights).abs().max() <= 1e-10 * alone.weights.abs().max()
        for name, buffer in alone.buffers.items():
            torch.testing.assert_close(lane.buffers[name], buffer, rtol=1e-10, atol=1e-12)


def test_a_max_norm_holds_and_an_average_is_kept_in_every_lane() -> None:
    model = Model(network)
    ended = go(together(model, mixed(model)), samples()).export()
    limited = [lane for lane in ended if "max_norm" in values(lane.rule)]
    assert len(limited) == 3
    for lane in limited:
        views = model.views(lane.weights.unsqueeze(0)).values()
        assert all(bool((view[0].flatten(1).norm(dim=1) <= 0.5001).all()) for view in views if view.dim() > 2)
    for lane in (lane for lane in limited if "average" in lane.slots):
        assert not lane.slots["average"].equal(lane.weights)


def test_lanes_of_other_seeds_start_and_end_elsewhere() -> None:
    model = Model(network)
    lanes = [model.lane(make("sgd", {}), {}, seed) for seed in (1, 2, 1)]
    assert torch.equal(lanes[0].weights, lanes[2].weights)
    assert not torch.equal(lanes[0].weights, lanes[1].weights)
    ended = go(together(model, lanes), samples()).export()
    assert torch.equal(ended[0].weights, ended[2].weights)
    assert not torch.equal(ended[0].weights, ended[1].weights)


def test_dropout_masks_are_those_of_the_run_alone() -> None:
    drawn: list[Tensor] = []

    class Spy(KeyedDropout):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(torch.ones_like(x))
            drawn.append(torch.func.debug_unwrap(out, recurse=True).clone())
            return x * out

    model = Model(lambda: nn.Sequential(nn.Linear(4, 8), Spy(0.5), nn.Linear(8, 3)))
    lanes = [model.lane(make("sgd", {}), {}, seed) for seed in (1, 2)]
    go(together(model, lanes), samples(), end=3)
    company, drawn = drawn, []
    for place, lane in enumerate(lanes):
        drawn.clear()
        go(together(model, [lane]), samples(), end=3)
        for mine, theirs in zip(drawn, company, strict=True):
            assert torch.equal(mine, theirs[place])
    assert not torch.equal(company[0][0], company[0][1])
    assert not torch.equal(company[0], company[1])


@pytest.mark.parametrize("where", ["weights", "slots"])
def test_a_nan_neighbour_changes_nothing_to_the_bit(where: str) -> None:
    model, part = Model(network), samples()
    clean = go(together(model, mixed(model)), part).export()
    lanes = mixed(model)
    spoilt = lanes[2]
    if where == "weights":
        spoilt.weights = torch.full_like(spoilt.weights, torch.nan)
    else:
        begun = model.slots(rule_of(spoilt), spoilt.weights)
        spoilt.slots = {name: torch.full_like(slot, torch.nan) for name, slot in begun.items()}
    hurt = go(together(model, lanes), part).export()
    assert bool(torch.isnan(hurt[2].weights).any())
    for row in (0, 1, 3, 4, 5):
        assert_equal(hurt[row], clean[row])


def test_going_on_from_an_export_is_bit_equal() -> None:
    model, part = Model(network), samples()
    whole = go(together(model, mixed(model)), part).export()
    half = go(together(model, mixed(model)), part, end=STEPS // 2).export()
    for got, want in zip(go(together(model, half), part, STEPS // 2).export(), whole, strict=True):
        assert_equal(got, want)


def test_an_export_shares_no_memory_with_the_lanes() -> None:
    model, part = Model(network), samples()
    lanes = go(together(model, mixed(model)), part, end=2)
    kept = lanes.export()
    before = [replace(lane, weights=lane.weights.clone()) for lane in kept]
    go(lanes, part, 2, 6)
    assert all(torch.equal(lane.weights, old.weights) for lane, old in zip(kept, before, strict=True))


@pytest.mark.parametrize("company", [1, 3])
def test_frozen_parameters_stay_and_take_no_place_in_the_weights(company: int) -> None:
    model = Model(frozen)
    lanes = [model.lane(make("adam", {"lr": 0.1}), {}, seed) for seed in range(company)]
    ended = go(together(model, lanes), samples()).export()
    for lane, start in zip(ended, lanes, strict=True):
        assert len(lane.weights) == sum(p.numel() for p in frozen().parameters() if p.requires_grad)
        assert torch.equal(lane.buffers["0.weight"], start.buffers["0.weight"])
        assert not torch.equal(lane.weights, start.weights)
        assert torch.equal(model.load(lane).state_dict()["0.weight"], start.buffers["0.weight"])


def test_batch_statistics_belong_to_each_lane() -> None:
    model, part = Model(network), samples()
    ended = go(together(model, mixed(model)), part).export()
    means = [lane.buffers["1.running_mean"] for lane in ended]
    assert all(not torch.equal(means[0], other) for other in means[1:])
    assert all(int(lane.buffers["1.num_batches_tracked"]) == STEPS for lane in ended)


def test_prediction_of_lanes_is_that_of_each_loaded_module() -> None:
    model, part = Model(network), samples()
    lanes = go(together(model, mixed(model)), part)
    out = lanes.predict(part.x)
    with torch.no_grad():
        for row, lane in enumerate(lanes.export()):
            torch.testing.assert_close(out[row], model.load(lane).eval()(part.x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "reason"), [(OwnNoise, "random numbers by itself"), (OwnPath, "values of the data")])
def test_a_model_that_cannot_be_mapped_says_why_and_races_one_after_another(
    kind: type[nn.Sequential], reason: str
) -> None:
    def factory() -> nn.Module:
        return kind(*layers())

    results: list[list[float]] = []
    for _ in range(2):  # twice the same numbers, though the model draws by itself
        running = raced(factory, lanes=None)
        assert reason in running.plan.refusal if running.plan else False
        assert any("one after another" in note and reason in note for note in running.notes)
        results.append([run.score for run in running.runs])
    assert results[0] == results[1]


def test_a_model_that_can_be_mapped_is_not_refused() -> None:
    made = problem()
    model = Model(network)
    assert refused(model, functional.cross_entropy, mixed(model), made, Clock(36, 4, 2)) == ""


def raced(factory: Callable[[], nn.Module], lanes: int | None) -> Race:
    spec = RaceSpec(
        problem="toy", model="own", rules=["adam", "sgd"], budget=4, epochs=2, batch=6, seeds=2, finalists=1,
        lanes=lanes, widen=False,
    )  # fmt: skip
    running = Race(spec, problem(factory), Model(factory))
    for _ in running.run():
        pass
    return running


def test_one_after_another_gives_the_results_of_lanes() -> None:
    def factory() -> nn.Module:
        return mlp([4, 8, 3], nn.Tanh, dropout=0.2)

    alone, company = raced(factory, lanes=1), raced(factory, lanes=64)
    assert [run.id for run in alone.runs] == [run.id for run in company.runs]
    for one, other in zip(alone.runs, company.runs, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)
    assert [row.config for row in alone.standings] == [row.config for row in company.standings]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("classes", [1, 2, 3, FEW - 1, FEW, 40])
@pytest.mark.parametrize("shared", [True, False])
def test_cross_entropy_of_lanes_is_torchs_in_each(classes: int, dtype: torch.dtype, shared: bool) -> None:
    """Few classes are laid out another way, in which torch is quicker: loss and slope are the same."""
    draw = torch.Generator().manual_seed(classes)
    logits = (torch.randn(5, 33, classes, dtype=dtype, generator=draw) * 20).requires_grad_()
    logits.data[0, 0] += 300  # what has to be taken off before exp
    labels = torch.randint(classes, (33,) if shared else (5, 33), generator=draw)
    each = torch.vmap(lane_loss(functional.cross_entropy), in_dims=(0, None if shared else 0))(logits, labels)
    weights = torch.arange(1.0, 6.0, dtype=dtype)
    (slope,) = torch.autograd.grad((each * weights).sum(), logits)
    own = [functional.cross_entropy(x, y) for x, y in zip(logits, labels.expand(5, 33), strict=True)]
    (expected,) = torch.autograd.grad((torch.stack(own) * weights).sum(), logits)
    torch.testing.assert_close(each, torch.stack(own))
    torch.testing.assert_close(slope, expected)
    if shared:
        torch.testing.assert_close(lane_losses(functional.cross_entropy, logits.detach(), labels), each.detach())


@pytest.mark.parametrize("width", [2, FETCHED // 4 // 16 + 1], ids=["many steps at once", "one step at once"])
def test_samples_that_are_fetched_ahead_are_those_of_each_step(width: int) -> None:
    """From any step on, over the ends of epochs, for another seed in between."""
    x = torch.arange(70.0).unsqueeze(1).expand(70, width)
    problem = replace(from_arrays(torch.randn(200, 2), torch.randn(200)), train=Part(x, torch.arange(70)))
    clock = Clock(70, 16, 3)
    places, taken = Feed(problem, clock), Feed(problem, clock)
    for seed, step in [*((1, step) for step in range(2, clock.steps)), (2, 5), (1, 6), (1, 7), (2, 7), (1, 0)]:
        part, index = places.at([seed], step)
        batch = taken.take([seed], step)
        assert torch.equal(batch.x, part.x[index[0]]) and torch.equal(batch.y, part.y[index[0]])
        assert batch.x.is_contiguous()


def test_a_step_on_samples_is_that_on_their_places() -> None:
    part, index = samples(), torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    for company in (1, 3):
        model = Model(network)
        lanes = [model.lane(make("adam", {"lr": 0.01 * (k + 1)}), {}, 1) for k in range(company)]
        runs = [Lanes(model, functional.cross_entropy, lanes) for _ in range(2)]
        for step in range(5):
            first = runs[0].step(part, index + step, float(step))
            second = runs[1].step_on(part.take(index[0] + step), float(step))
            assert torch.equal(first, second)
        assert torch.equal(runs[0].weights, runs[1].weights)
