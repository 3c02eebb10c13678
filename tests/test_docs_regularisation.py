"""The page on losses, penalties and noise: its Python runs as it stands, its recipe is one, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ravine import noise, penalties
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
    kept = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert said == ["0.391", "2.25", "True", "32", "True", "(32, 1) True", str(kept)]


def test_its_recipes_are_recipes(tmp_path: Path) -> None:
    first, second = (load_recipe(path) for path in _written(blocks("toml"), tmp_path))
    assert [part.name for part in first.make_penalties()] == ["l2", "prune"]
    assert first.loss == "cross_entropy:label_smoothing=0.1"
    assert [(part.on, part.number) for part in second.make_noises()] == [("input", 0.2), ("hidden", 0.5)]


def _written(texts: list[str], folder: Path) -> list[Path]:
    paths = [folder / f"{place}.toml" for place in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def test_its_tables_name_every_loss_and_part() -> None:
    named = set(re.findall(r"`([\w-]+)`", PAGE))
    assert {*FORMS, *penalties.catalogue(), *noise.catalogue()} <= named
    assert all(f"`{kind.__name__}`" in PAGE for kind in penalties.catalogue().values())
