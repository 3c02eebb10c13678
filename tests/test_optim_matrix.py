"""ravine.optim.Muon and Adafactor beside torch's, and what is said of vectors under a rule of matrices."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from ravine import optim
from ravine.errors import UserError
from tests.optimizing import drive, flat, weights

CASES: list[tuple[str, dict[str, Any], float]] = [
    ("Muon", {}, 2e-2),  # torch iterates in bfloat16, whatever the weights
    ("Muon", {"nesterov": False}, 2e-2),
    ("Muon", {"adjust_lr_fn": "match_rms_adamw", "lr": 3e-3, "momentum": 0.9}, 2e-2),
    ("Adafactor", {}, 1e-10),
    ("Adafactor", {"beta2_decay": -0.5, "d": 2.0, "eps": (1e-6, 1e-2), "weight_decay": 0.1}, 1e-10),
    ("Adafactor", {"maximize": True, "lr": 0.1}, 1e-10),
]


def shapes(name: str) -> list[tuple[int, ...]]:
    return [(6, 4), (4, 6)] + [(5,)] * (name == "Adafactor")


def pair(name: str, options: dict[str, Any], dtype: torch.dtype) -> list[tuple[list[nn.Parameter], Any]]:
    made = [getattr(kind, name) for kind in (optim, torch.optim)]
    both = [weights(*shapes(name), dtype=dtype) for _ in made]
    return [(params, make(params, **options)) for make, params in zip(made, both, strict=True)]


@pytest.mark.parametrize(("name", "options", "tolerance"), CASES)
def test_the_path_is_that_of_torch(name: str, options: dict[str, Any], tolerance: float) -> None:
    dtype = torch.float32 if name == "Muon" else torch.float64
    (ours, optimizer), (theirs, other) = pair(name, options, dtype)
    start = flat(ours)
    for made in (optimizer, other):
        drive(made, 20)
    assert float((flat(ours) - flat(theirs)).norm() / (flat(theirs) - start).norm()) <= tolerance


@pytest.mark.parametrize(("name", "options", "tolerance"), CASES)
def test_checkpoints_go_both_ways(name: str, options: dict[str, Any], tolerance: float) -> None:
    (ours, optimizer), (theirs, other) = pair(name, options, torch.float64)
    drive(optimizer, 5)
    drive(other, 5)
    saved = optimizer.state_dict()
    assert all(other.state[p].keys() <= saved["state"][i].keys() for i, p in enumerate(theirs))
    (mine, again), (back, torchs) = pair(name, options, torch.float64)
    again.load_state_dict(other.state_dict())
    torchs.load_state_dict(saved)
    with torch.no_grad():
        for p, q in [*zip(mine, theirs, strict=True), *zip(back, ours, strict=True)]:
            p.copy_(q)
    start = flat(mine)
    for made in (again, other, torchs, optimizer):
        drive(made, 10, seed=3)
    for x, y in ((mine, theirs), (back, ours)):
        assert float((flat(x) - flat(y)).norm() / (flat(y) - start).norm()) <= tolerance


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ns_steps": 6}, "ns_steps=6"),
        ({"ns_coefficients": (3.0, -4.0, 2.0)}, "leave both out"),
        ({"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}, "no rule has both"),
        ({"adjust_lr_fn": "match_rms"}, "match_rms_adamw"),
    ],
)
def test_what_no_rule_of_muon_has_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        optim.Muon(weights((3, 2)), **options)


def test_vectors_under_a_rule_of_matrices_are_said_once_by_name() -> None:
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(5)))
    said = r"^Muon: vectors step by AdamW at lr times rest: parameter '0.bias', .*'2.bias' and 2 more$"
    with pytest.warns(RuntimeWarning, match=said) as seen:
        optimizer = optim.Muon(net.named_parameters())
        drive(optimizer, 3)
    assert len(seen) == 1 and seen[0].filename == __file__


@pytest.mark.parametrize("make", [optim.Muon, optim.of("muon"), optim.Adam])
def test_nothing_is_said_of_matrices_or_of_rules_for_all(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(weights((3, 2), (4, 2, 3, 3)))
        if make is optim.Adam:
            make(weights((3,)))
