"""Which samples a step sees: shuffled, in order, with replacement, balanced; the same in lanes and alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.problems import from_arrays, load
from ravine.problems.prepare import prepared
from ravine.problems.problem import Problem
from ravine.problems.sampling import SAMPLINGS, visits
from ravine.recipe import Recipe
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.train import Training

LABELS = torch.tensor([0] * 40 + [1] * 8 + [2] * 12)


def test_cyclic_goes_round_and_leaves_none_out() -> None:
    problem = prepared(load("wine", rows=60), None, [], "cyclic")
    samples = len(problem.train)
    feed = Feed(problem, Clock(samples, 7, epochs=7))
    seen = torch.cat([feed.at([3], step)[1][0] for step in range(feed.clock.steps)])
    assert samples % 7 and torch.equal(seen, torch.arange(len(seen)) % samples)


def test_random_draws_with_replacement_as_often_as_chance_has_it() -> None:
    seen = torch.cat([visits("random", 0, epoch, 0, torch.zeros(50)) for epoch in range(400)])
    counts = torch.bincount(seen, minlength=50)
    assert len(set(seen[:50].tolist())) < 50
    assert abs(counts.double() - 400).max() < 6 * 400**0.5  # binomial: a deviation of 20, six of them


def test_b5_balanced_minibatches_hold_the_classes_in_equal_numbers() -> None:
    for epoch in range(3):
        places = visits("balanced", 5, epoch, 0, LABELS)
        for batch in places[:57].split(9):
            counts = torch.bincount(LABELS[batch], minlength=3)
            assert counts.min() >= len(batch) // 3 - 2 and counts.max() <= len(batch) // 3 + 2
        own = [places[LABELS[places] == label] for label in range(3)]
        assert [len(rows) for rows in own] == [20, 20, 20]
        assert len(set(own[0].tolist())) == 20  # a large class shows another half of itself, none twice
        assert min(torch.bincount(own[1])[40:48]) >= 2  # a small one goes through all of its samples again
    shuffled = torch.bincount(LABELS[visits("shuffled", 5, 0, 0, LABELS)[:9]], minlength=3)
    assert shuffled.max() > 5  # which is what balancing is for


def test_b5_sorted_samples_end_worse_than_shuffled_ones() -> None:
    digits = load("digits")
    rows = digits.train.y.argsort(stable=True)
    x, y = digits.train.x[rows].reshape(-1, 64).numpy(), digits.train.y[rows].numpy()
    problem = from_arrays(x.astype(np.float64), y, classes=digits.classes)
    final = {}
    for sampling in ("cyclic", "shuffled", "balanced"):
        rule = {"name": "sgd", "lr": 0.2}
        running = Training(
            Recipe(problem="digits", model="mlp:32", epochs=3, batch=16, sampling=sampling, rule=rule), problem
        )
        *_, last = running.run()
        final[sampling] = last.metric
    assert min(final["shuffled"], final["balanced"]) > 0.9 > final["cyclic"] + 0.05, final


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_order_is_a_function_of_seed_and_epoch_alone(sampling: str) -> None:
    def seen(seed: int, epoch: int) -> Tensor:
        return visits(sampling, seed, epoch, 48 * epoch, LABELS)

    assert torch.equal(seen(1, 2), seen(1, 2)) and len(seen(1, 2)) == len(LABELS)
    assert not torch.equal(seen(1, 2), seen(1, 3))
    if sampling != "cyclic":
        assert not torch.equal(seen(1, 2), seen(2, 2))


def problem_of(sampling: str) -> Problem:
    return prepared(load("wine"), None, [], sampling)


@pytest.mark.parametrize("sampling", ["cyclic", "random", "balanced"])
def test_lanes_of_other_seeds_change_no_order_and_steps_may_be_asked_for_anew(sampling: str) -> None:
    clock = Clock(len(problem_of(sampling).train), 16, 3)
    feed = Feed(problem_of(sampling), clock)
    first = [feed.at([4, 9], step)[1] for step in range(clock.steps)]
    alone = Feed(problem_of(sampling), clock)
    for step in (11, 2, 17):
        assert torch.equal(alone.at([9], step)[1][0], first[step][1])


def test_what_has_no_classes_or_no_minibatches_is_refused() -> None:
    with pytest.raises(UserError, match="diabetes has none: it predicts numbers"):
        prepared(load("diabetes"), None, [], "balanced")
    with pytest.raises(UserError, match="lbfgs takes the whole training part"):
        Recipe(problem="wine", sampling="cyclic", rule={"name": "lbfgs"}).check()
    assert any("take turns" in clause for clause in problem_of("balanced").understood)


def test_a_recipe_keeps_its_sampling_through_a_file(tmp_path: Path) -> None:
    from ravine.recipe import load_recipe

    wanted = Recipe(problem="wine", sampling="balanced")
    assert load_recipe(wanted.save(tmp_path / "r.toml")) == wanted
