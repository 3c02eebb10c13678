"""Which decisions there are: the keys of a recipe, and every penalty and noise by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ravine import noise, penalties
from ravine.decisions.decision import Amount, Decision, Field, Listed, Optional, Smoothing, Whole
from ravine.decisions.growth import Growth
from ravine.errors import UserError, unknown
from ravine.losses.catalogue import CrossEntropy
from ravine.schedules.schedule import settings

KEYS: Mapping[str, type[Field]] = {
    "activation": Field, "augment": Listed, "batch": Whole, "growth": Growth, "init": Optional, "loss": Field,
    "model": Field, "norm": Field, "norm_place": Field, "preprocess": Listed,
    "sampling": Field,
}  # fmt: skip


def names() -> list[str]:
    """Every decision by name, but for settings of parts."""
    parts = [*penalties.catalogue(), *noise.catalogue()]
    return sorted([*KEYS, *settings(CrossEntropy), *parts])


def decision(name: str) -> Decision:
    """The decision of that name: "init", "label_smoothing", "l2", "elastic-net.l1_ratio", "dropout@input".

    A part's own number is meant where no setting is named, and its usual place where no pattern follows "@".

    >>> decision("dropout@input").setting
    'drop'
    """
    if name in KEYS:
        return KEYS[name](name)
    if name in settings(CrossEntropy):
        return Smoothing(name)
    word, _, on = name.partition("@")
    word, dot, setting = word.partition(".")
    for key, kinds in (("penalty", penalties.catalogue()), ("noise", noise.catalogue())):
        if word in kinds:
            return _amount(name, key, kinds[word], setting if dot else kinds[word].amount, on)
    raise unknown("decision", word, names())


def _amount(name: str, key: Any, kind: Any, setting: str, on: str) -> Amount:
    declared = {field: made for field, made in settings(kind).items() if made.kind == "number"}
    if setting not in declared:
        raise unknown(f"setting of {kind.name}", setting, declared)
    usual = next(field.default for field in fields(kind) if field.name == "on")
    if name.endswith("@"):
        raise UserError(f"--over {name}: a pattern of names follows @, as in {kind.name}@{usual}")
    share = {"drop", "keep"} <= set(declared)
    leads = setting == kind.amount or share
    return Amount(name, key, kind.name, setting, on, str(usual), share, leads)
