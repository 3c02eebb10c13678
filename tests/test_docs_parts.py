"""The page on parts: its Python runs, its recipe trains, its command races, its words exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import ravine
from ravine.cli.app import app
from ravine.models import WORDS, model_factory
from ravine.recipe import load_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "parts.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_python_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks("python"):
        exec(block, {})
    said = capsys.readouterr().out.strip()
    assert f"`{said}`" in PAGE


def test_its_recipe_trains(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(blocks("toml")[0])
    run = ravine.train(load_recipe(tmp_path / "r.toml"))
    assert run.result.metric is not None and run.result.metric > 0.85


def test_its_table_names_every_model() -> None:
    words = re.findall(r"`([\w:,]+)`", PAGE.split("| model |")[1].split("After a second")[0])
    assert {word.partition(":")[0] for word in words} == set(WORDS)
    for word in words:
        assert model_factory(word, (1, 8, 8), 3)


def test_its_commands_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    [command] = re.findall(r"\n(ravine race .*)", PAGE)
    app(command.split()[1:], prog_name="ravine", standalone_mode=False)
    winner = load_recipe(next(tmp_path.glob("race-*/winner.toml")))
    assert (winner.norm, winner.init, winner.activation) == ("group:4", "he", "swish")
    for words in (["parts"], ["parts", "he"], ["parts", "glorot", "--json"], ["parts", "--plot", "p.html"]):
        app(words, prog_name="ravine", standalone_mode=False)
    assert (
        "transformer:64x2" in (told := capsys.readouterr().out) and '"name": "xavier"' in told and "1502.01852" in told
    )
    with pytest.raises(ravine.UserError, match="did you mean 'xavier'"):
        app(["parts", "xaver"], prog_name="ravine", standalone_mode=False)
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert page.count('data-figure="data-') == 4 and "lsuv" in page and "softplus" in page
