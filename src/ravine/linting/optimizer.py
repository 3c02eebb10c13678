"""A torch optimizer beside a model: what it lacks, what it decays, what its numbers cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ravine.rules.rule import catalogue, hypers
from ravine.training.lint import Finding

SMALLEST = 2.0**-24  # the smallest number above 0 in float16


def of_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Finding]:
    """Findings on a torch optimizer beside the model whose parameters it should hold."""
    names = {id(p): n for n, p in model.named_parameters()}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [names[id(p)] for p in model.parameters() if p.requires_grad and id(p) not in held]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield Finding(
            "parameter-left-out",
            f"the optimizer does not hold {missing[0]}{more}, which asks for gradients: it stays as it was drawn",
            "mistake",
            "make the optimizer after the last layer, of model.parameters(); or freeze it with requires_grad_(False)",
        )
    if held and not held & names.keys():
        yield Finding(
            "optimizer-of-another-model",
            "the optimizer holds none of this model's parameters",
            "mistake",
            "make it of this model.parameters(), after any copy or move",
        )
    for group in optimizer.param_groups:
        yield from _group(group, names, type(optimizer).__name__)


def _group(group: dict[str, Any], names: dict[int, str], kind: str) -> Iterator[Finding]:
    flat = [names.get(id(p), "a parameter") for p in group["params"] if p.dim() <= 1]
    if float(group.get("weight_decay", 0.0)) > 0 and flat:
        yield decay_on_vectors(flat)
    short = any(p.dtype == torch.float16 for p in group["params"])
    if short and 0 < float(group.get("eps", 1.0)) < SMALLEST:
        yield Finding(
            "epsilon-underflows",
            f"eps {group['eps']:g} is 0 in float16, the type of the parameters: the first small denominator divides by "
            "zero",
            "mistake",
            "eps=1e-4, or parameters in float32 with autocast",
        )
    if group.get("nesterov") and not group.get("momentum"):
        yield Finding("option-dead", "nesterov=True without momentum changes nothing", "warning", "momentum=0.9")
    if "dampening" in group and group["dampening"] and not group.get("momentum"):
        yield Finding("option-dead", "dampening without momentum changes nothing", "warning", "leave it out")
    yield from rate_in_range(kind.lower(), float(group["lr"]) if "lr" in group else None)


def decay_on_vectors(names: list[str]) -> Finding:
    """Decay on norms and biases."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Finding(
        "decay-on-vectors",
        f"weight decay pulls biases and the factors of norms to 0 too ({names[0]}{more}), which seldom helps",
        "note",
        "groups of their own: ravine.optim.groups_for(model, weight_decay=...)",
    )


def rate_in_range(rule: str, rate: float | None) -> Iterator[Finding]:
    """A learning rate far from all that the rule is used with, if the rule is known."""
    known = catalogue().get(rule)
    search = hypers(known)["lr"].search if known is not None and "lr" in hypers(known) else None
    if rate is None or search is None or rate == 0 or search.low <= rate <= search.high:
        return
    way = "above" if rate > search.high else "below"
    yield Finding(
        "rate-out-of-range",
        f"the learning rate {rate:g} is {way} the range {search.low:g} to {search.high:g} that {rule} is used with",
        "warning",
        "ravine lr, which measures a range",
    )
