"""The page on ensembles and transfer: its Python runs as it stands, its recipes are recipes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ravine.recipe import load_recipe
from ravine.transfer.spec import KEYS

PAGE = (Path(__file__).parents[1] / "docs" / "ensembles-transfer.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    said = capsys.readouterr().out.splitlines()
    assert said.pop(0) == "3 3"
    assert said[0] == "9 tensors from the file; drawn anew: 5.weight, 5.bias"
    assert said[2:5] == [
        "0 ('5.weight', '5.bias')",
        "1 ('5.weight', '5.bias')",
        "2 ('3.weight', '3.bias', '5.weight', '5.bias')",
    ]


def test_its_recipes_are_recipes(tmp_path: Path) -> None:
    for text in blocks("toml"):
        (tmp_path / "recipe.toml").write_text(text)
        load_recipe(tmp_path / "recipe.toml")


def test_its_table_names_every_setting_of_a_transfer() -> None:
    firsts = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| "))
    for name in KEYS:
        assert f"`{name}`" in firsts or name == "sha256", f"{name} is in no table of the page"
