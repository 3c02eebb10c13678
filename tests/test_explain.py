"""Recipes in words: every key is told, what is default and unusual is marked, and two are compared by decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ravine import penalties
from ravine.decisions import decision, names
from ravine.errors import UserError
from ravine.explain import Line, differences, explain
from ravine.recipe import Recipe
from ravine.rules.rule import catalogue
from tests.test_cli import call

ODD = Recipe(
    problem="digits", model="mlp:64,64", activation="tanh", init="he", batch=32, epochs=12, patience=3,
    loss="cross_entropy:label_smoothing=0.3", plateau={"patience": 5}, augment=[{"name": "crop", "pad": 1}],
    noise=[{"name": "dropout", "drop": 0.2, "on": "input"}, {"name": "dropout", "drop": 0.7}],
    penalty=[{"name": "max-norm", "max_norm": 3.0}],
    rule={"name": "momentum", "lr": 20.0, "with": [{"name": "clip-global-norm", "clip": 1.0}]},
    schedule={"lr": {"name": "warm-up", "duration": 2, "then": {"name": "cosine"}}},
)  # fmt: skip


def lines(recipe: Recipe) -> dict[str, Line]:
    return {line.what: line for group in explain(recipe).groups.values() for line in group}


def test_every_key_of_a_recipe_is_told_in_a_group_of_its_own() -> None:
    made = explain(ODD)
    told = [key for group in made.groups.values() for line in group for key in line.keys]
    assert sorted(told) == sorted(Recipe.model_fields.keys() - {"ravine"}) and "Other" not in made.groups


def test_what_is_default_and_what_is_unusual_is_marked() -> None:
    plain = lines(Recipe(problem="digits"))
    assert [line.what for line in plain.values() if not line.default] == ["problem"]
    assert not any(line.unusual for line in plain.values())
    odd = lines(ODD)
    assert "10 to 50 % is usual" in odd["noise"].unusual[0] and len(odd["noise"].unusual) == 1
    assert "xavier is for tanh" in odd["weights"].unusual[0] and "smoothed by 0.3" in odd["trained by"].unusual[0]
    assert "lr 20 lies outside of 0.0001 to 1" in odd["rule"].unusual[0]
    assert "lr 20, momentum 0.9 (default)" in odd["rule"].text
    assert "dropout (drop 0.2) on the samples" in odd["noise"].text and "rows" not in odd["noise"].text
    assert "warm-up (duration 2, then cosine)" in odd["schedule"].text
    assert [note.kind for note in explain(ODD).notes] == ["plateau-after-stop"]
    small = Recipe(problem="digits", model="resnet:8", batch=4)
    assert "batch normalisation over 4 samples" in lines(small)["norm"].unusual[0]
    twice = Recipe(problem="digits", rule={"name": "adamw"}, penalty=[{"name": "l2", "strength": 1e-4}])
    assert "both pull weights to 0" in lines(twice)["penalties"].unusual[0]


def test_every_rule_and_every_decision_can_be_told() -> None:
    for name, rule in catalogue().items():
        if rule.contender:
            assert name in lines(Recipe(problem="wine", rule={"name": name}))["rule"].text
    words: dict[str, Any] = {
        "activation": "tanh", "augment": "flip", "batch": 32, "growth": "step", "init": "he", "loss": "hinge",
        "model": "mlp:4", "norm": "layer", "norm_place": "after", "preprocess": "centre", "sampling": "cyclic",
    }  # fmt: skip
    plain = Recipe(problem="wine")
    for name in names():
        if name in ("tie", *penalties.catalogue()) and name not in ("l2", "max-norm", "prune"):
            continue
        edited = decision(name).apply(plain, words.get(name, 0.1))
        [change] = differences(plain, edited)
        assert (change.old, change.new) != ("", "") and change.old != change.new
        assert str(explain(edited)) != str(explain(plain)), name


def test_a_recipe_that_is_not_allowed_is_one_sentence() -> None:
    with pytest.raises(UserError, match="accumulate 65 is more than the 64 samples"):
        explain(Recipe(problem="wine", accumulate=65))


def test_differences_are_by_decision_and_say_what_they_mean() -> None:
    other = ODD.model_copy(
        update={
            "batch": 64,
            "rule": {"name": "momentum", "lr": 0.2},
            "noise": [{"name": "dropout", "drop": 0.5}],
            "penalty": [{"name": "l2", "strength": 1e-4}],
        }
    )
    found = {change.name: change for change in differences(ODD, other)}
    assert found["batch"].meaning.endswith("the learning rate times 2") and (found["batch"].new == "64")
    assert (found["lr"].old, found["lr"].new, found["lr"].meaning) == ("20", "0.2", "0.01 times")
    assert found["with"].new == "–" and found["dropout on input"].meaning == "noise left out"
    assert (found["dropout drop"].old, found["dropout drop"].new) == ("0.7", "0.5")
    assert found["max-norm"].meaning == "penalty left out" and found["l2"].new == "strength 0.0001"
    assert "clip" in found and "momentum" not in found and "epochs" not in found
    assert differences(ODD, ODD) == []
    written = ODD.model_copy(update={"rule": {**ODD.rule, "momentum": 0.9}})
    assert differences(ODD, written) == []  # a default that is written out is no difference


def test_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = ODD.save(tmp_path / "a.toml"), Recipe(problem="digits").save(tmp_path / "b.toml")
    assert call("recipe", "explain", str(a)) == 0
    shown = capfd.readouterr().out
    assert "What regularises" in shown and "unusual:" in shown and "Note: patience 3 stops" in " ".join(shown.split())
    assert call("recipe", "diff", str(a), str(b), "--json") == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)}
    assert rows["rule"]["new"] == "adam" and rows["epochs"]["meaning"] == "2.5 times as long"
    assert call("recipe", "diff", str(a), str(a)) == 0
    assert "decide the same" in capfd.readouterr().out
    assert call("recipe", "explain", str(a), "--json") == 0
    assert json.loads(capfd.readouterr().out)["notes"][0]["kind"] == "plateau-after-stop"
