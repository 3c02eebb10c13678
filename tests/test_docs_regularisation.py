"""The page on losses, penalties and noise: its Python runs as it stands, its recipe is one, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ravine import penalties
from ravine.losses import FORMS
from ravine.recipe import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "parts-regularisation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    said = capsys.readouterr().out.splitlines()
    assert said == ["0.391", "2.25", "True", "32", "True", "(32, 1) True"]


def test_its_recipe_is_one(tmp_path: Path) -> None:
    [text] = blocks("toml")
    (tmp_path / "recipe.toml").write_text(text)
    read = load_recipe(tmp_path / "recipe.toml")
    assert [part.name for part in read.make_penalties()] == ["l2", "prune"]
    assert read.loss == "cross_entropy:label_smoothing=0.1"


def test_its_tables_name_every_loss_and_part() -> None:
    named = set(re.findall(r"`([\w-]+)`", PAGE))
    assert {*FORMS, *penalties.catalogue()} <= named
    assert all(f"`{kind.__name__}`" in PAGE for kind in penalties.catalogue().values())
