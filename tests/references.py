"""Other people's optimizers beside ours, family by family: for tests/test_references.py.

A row says which of our rules an implementation is, with which options on both sides, and the step at which each other
dialect of the family first parts from it by more than a millionth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import torch

from ravine.rules import combine
from ravine.rules.descent import SGD
from ravine.rules.rule import Rule
from ravine.rules.sign import Lion

Maker: TypeAlias = Callable[[Any], Any]  # parameters -> an optimizer


@dataclass(frozen=True)
class Reference:
    """One implementation: ours by the name in the catalogue with options, or a rule inside its combinators."""

    ours: str | Rule
    theirs: Maker
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    apart: Mapping[str, int] = field(default_factory=dict[str, int])
    closure: bool = False  # the step takes its gradients itself
    within: float = 1e-10  # relative; larger where they keep a number in float32


def _schedule_free(kind: Any, **options: Any) -> Maker:
    def make(params: Any) -> Any:
        made = kind(params, **options)
        made.train()
        return made

    return make


WHY = "needs the extra 'references'"
heavyball: Any = pytest.importorskip("heavyball", reason=WHY)
po: Any = pytest.importorskip("pytorch_optimizer", reason=WHY)
schedulefree: Any = pytest.importorskip("schedulefree", reason=WHY)
heavyball.utils.compile_mode = None  # its steps are compiled otherwise, for seconds and more

BETAS = (0.8, 0.95)
SIGN = [
    Reference("signsgd", lambda w: po.SignSGD(w, lr=0.01, momentum=0.0), {"lr": 0.01}),
    Reference("signum", lambda w: po.SignSGD(w, lr=0.01, momentum=0.9), {"lr": 0.01, "momentum": 0.9}),
    Reference(
        "lion",
        lambda w: po.Lion(w, lr=0.01, betas=BETAS, weight_decay=0.1),
        {"lr": 0.01, "betas": BETAS, "weight_decay": 0.1},
    ),
]
MOMENTS = [
    Reference(  # which starts the first moment at the initial mean square as well
        "yogi/corrected",
        lambda w: po.Yogi(w, lr=0.05, betas=BETAS, initial_accumulator=0.0),
        {"lr": 0.05, "betas": BETAS, "start": 0.0},
        {"yogi": 1},
    ),
    Reference(
        "adabelief",
        lambda w: po.AdaBelief(w, lr=0.05, betas=BETAS, eps=1e-4),
        {"lr": 0.05, "betas": BETAS, "eps": 1e-4},
    ),
    Reference(
        "adopt",
        lambda w: po.ADOPT(w, lr=0.05, betas=BETAS, clip_lambda=None),
        {"lr": 0.05, "betas": BETAS},
        {"adopt/clipped": 2},
    ),
    Reference(  # it counts the step that only begins the mean square, as its authors' code does not
        "adopt/clipped",
        lambda w: po.ADOPT(w, lr=0.05, betas=BETAS, clip_lambda=lambda t: (t - 1) ** 0.25),
        {"lr": 0.05, "betas": BETAS},
        {"adopt": 2},
    ),
    Reference(
        "adan/corrected",
        lambda w: po.Adan(w, lr=0.05, weight_decay=0.1),
        {"lr": 0.05, "weight_decay": 0.1},
        {"adan": 2},
    ),
]
MIXED = [
    Reference(
        "ademamix",
        lambda w: heavyball.AdEMAMix(w, lr=0.01, betas=(*BETAS, 0.999), alpha=5.0),
        {"lr": 0.01, "betas": BETAS, "beta3": 0.999, "alpha": 5.0},
        within=1e-6,
    ),
    Reference(
        "qhm",
        lambda w: po.QHM(w, lr=0.1, momentum=0.9, nu=0.7),
        {"lr": 0.1, "momentum": 0.9, "nu": 0.7},
    ),
    Reference(
        "qhadam",
        lambda w: po.QHAdam(w, lr=0.05, betas=BETAS, nus=(0.7, 0.9)),
        {"lr": 0.05, "betas": BETAS, "nu1": 0.7, "nu2": 0.9},
        within=1e-6,
    ),
    Reference(
        "ademamix",
        lambda w: po.AdEMAMix(w, lr=0.01, betas=(*BETAS, 0.999), alpha=5.0, t_alpha_beta3=30),
        {"lr": 0.01, "betas": BETAS, "beta3": 0.999, "alpha": 5.0, "warmup": 30},
    ),
]
SCHEDULE_FREE = [
    Reference(
        "schedule-free-adamw",
        lambda w: heavyball.SFAdamW(w, lr=0.05, betas=BETAS),
        {"lr": 0.05, "beta": 0.8, "beta2": 0.95},
        within=1e-6,
    ),
    Reference(
        "schedule-free-sgd",
        _schedule_free(schedulefree.SGDScheduleFree, lr=0.5, momentum=0.8),
        {"lr": 0.5, "beta": 0.8},
    ),
    Reference(
        "schedule-free-adamw",
        _schedule_free(schedulefree.AdamWScheduleFree, lr=0.05, betas=BETAS, weight_decay=0.1),
        {"lr": 0.05, "beta": 0.8, "beta2": 0.95, "weight_decay": 0.1},
    ),
]
COMBINED = [
    Reference(
        combine.Lookahead(SGD(0.1), 3.0, 0.7), lambda w: po.Lookahead(torch.optim.SGD(w, lr=0.1), k=3, alpha=0.7)
    ),
    Reference(combine.Cautious(Lion(0.01, *BETAS), 1.0), lambda w: po.Lion(w, lr=0.01, betas=BETAS, cautious=True)),
    Reference(combine.Centralized(Lion(0.01, *BETAS)), lambda w: po.Lion(w, lr=0.01, betas=BETAS, use_gc=True)),
    Reference(
        combine.SAM(SGD(0.1), 0.3),
        lambda w: po.SAM(w, base_optimizer=torch.optim.SGD, lr=0.1, rho=0.3),
        closure=True,
        within=1e-8,
    ),
    Reference(
        combine.ASAM(SGD(0.1), 0.3, 0.0),
        lambda w: po.SAM(w, base_optimizer=torch.optim.SGD, lr=0.1, rho=0.3, adaptive=True),
        closure=True,
        within=1e-8,
    ),
]
TABLE: dict[str, list[Reference]] = {
    "sign": SIGN,
    "moments": MOMENTS,
    "mixed": MIXED,
    "schedule-free": SCHEDULE_FREE,
    "combined": COMBINED,
}
