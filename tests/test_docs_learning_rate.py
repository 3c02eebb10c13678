"""The page on learning rates: its Python runs as it stands, its recipe is one, its numbers are those that come out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.recipe import load_recipe
from ravine.training.lint import lint

PAGE = (Path(__file__).parents[1] / "docs" / "learning-rate.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Train AdamW at a learning rate from")
    assert said[1:6] == ["good", "too low", "0.4", "0.002", "linear sqrt"]
    assert "numerical and analytic gradients agree" in said[-1]
    assert (tmp_path / "lr.html").is_file()


def test_its_recipe_is_one_without_a_note(tmp_path: Path) -> None:
    [text] = blocks("toml")
    (tmp_path / "recipe.toml").write_text(text)
    assert lint(load_recipe(tmp_path / "recipe.toml"), 1077) == []
