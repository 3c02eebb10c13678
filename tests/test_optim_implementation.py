"""Torch's foreach, fused and capturable: each has an effect that is said, or is refused in one sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from ravine import optim
from ravine.errors import UserError
from ravine.optim.stepper import Stepper
from tests.optimizing import drive, flat, weights


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        ({}, "auto"),
        ({"fused": True}, "kernel"),
        ({"fused": False}, "eager"),
        ({"foreach": False}, "eager"),
        ({"foreach": True}, "auto"),
        ({"fused": False, "engine": "kernel"}, "kernel"),
    ],
)
def test_fused_and_foreach_choose_the_engine_and_change_no_number(options: dict[str, Any], engine: str) -> None:
    ours, theirs = weights((3, 2), (4,)), weights((3, 2), (4,))
    optimizer = optim.Adam(ours, lr=0.01, **options)
    assert stepper(optimizer).engine == stepper(copy.deepcopy(optimizer)).engine == engine
    drive(optimizer, 5)
    plain = {name: value for name, value in options.items() if name != "engine"}
    drive(torch.optim.Adam(theirs, lr=0.01, **plain), 5)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-6, atol=1e-7)


def stepper(optimizer: optim.RuleOptimizer) -> Stepper:
    return vars(optimizer)["_stepper"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fused": True, "foreach": True}, "cannot be `True` together"),
        ({"fused": True, "differentiable": True}, "does not support `differentiable`"),
        ({"fused": True, "engine": "eager"}, "both choose how to step"),
        ({"engine": "gpu"}, "engine"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        optim.Adam(weights((2,)), **options)


def test_a_group_cannot_have_an_engine_of_its_own() -> None:
    with pytest.raises(UserError, match="fused=True in a group: one engine steps them all, give it to SGD"):
        optim.SGD([{"params": weights((2,)), "fused": True}])


def test_a_checkpoint_of_a_capturable_optimizer_is_taken_over() -> None:
    theirs, ours = weights((3, 2)), weights((3, 2))
    other = torch.optim.Adam(theirs, lr=0.01)
    drive(other, 3)
    saved = other.state_dict()
    saved["param_groups"][0]["capturable"] = True  # as of a run on a GPU
    optimizer = optim.Adam(ours)
    with torch.no_grad():
        ours[0].copy_(theirs[0])
    optimizer.load_state_dict(saved)
    drive(optimizer, 3, seed=4)
    drive(other, 3, seed=4)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-6, atol=1e-7)
