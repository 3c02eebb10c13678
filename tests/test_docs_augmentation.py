"""The page on augmentation: its Python runs as it stands, its recipe is one, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ravine.augment import catalogue
from ravine.problems.preprocess import STEPS
from ravine.recipe import load_recipe
from ravine.training.lint import lint

PAGE = (Path(__file__).parents[1] / "docs" / "data-augmentation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    assert capsys.readouterr().out.splitlines() == ["(4, 3, 32, 32) True", "(4, 10) True", "(2, 13)"]


def test_its_recipe_is_one_without_a_note(tmp_path: Path) -> None:
    [text] = blocks("toml")
    (tmp_path / "recipe.toml").write_text(text)
    assert lint(load_recipe(tmp_path / "recipe.toml"), 40_000) == []


def test_its_tables_name_every_step() -> None:
    firsts = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| "))
    for name in [*catalogue(), *STEPS]:
        assert f"`{name}`" in firsts or f'"{name}"' in firsts, f"{name} is in no table of the page"
