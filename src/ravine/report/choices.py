"""Decisions in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.report.numbers import rate


def chosen(choices: Mapping[str, Any]) -> str:
    """Decisions in words: "init he, dropout 0.19".

    >>> chosen({"init": "he", "dropout": 0.18819, "augment": [{"name": "flip"}]})
    'init he, dropout 0.188, augment flip'
    """
    return ", ".join(f"{name} {_value(value)}" for name, value in choices.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return rate(value) if value else "0"
    if isinstance(value, list):
        return "+".join(str(one["name"]) if isinstance(one, Mapping) else str(one) for one in value) or "none"
    return "none" if value is None else str(value["name"] if isinstance(value, Mapping) else value)
