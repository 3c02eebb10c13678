"""A recipe: the same after a round trip through TOML, and every mistake one sentence that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import ravine
from ravine.errors import UserError
from ravine.recipe import Recipe, load_recipe
from ravine.rules.rule import Rule, catalogue, make, name_of
from ravine.rules.spec import combinators, rule_to_spec
from ravine.schedules import catalogue as schedules

FULL: dict[str, Any] = {
    "problem": "my.csv", "target": "price", "model": "mlp:8,8:0.5", "activation": "gelu", "loss": "huber", "epochs": 7,
    "batch": 9, "seed": 11, "split_seed": 2, "patience": 3,
    "rule": {"name": "adam", "lr": 1e-3, "with": [{"name": "clip-global-norm", "clip": 1.5}]},
    "schedule": {"lr": {"name": "cosine"}},
}  # fmt: skip


def test_a_round_trip_keeps_everything(tmp_path: Path) -> None:
    made = Recipe.model_validate(FULL)
    assert load_recipe(made.save(tmp_path / "new" / "r.toml")) == made
    short = Recipe(problem="wine")
    assert load_recipe(short.save(tmp_path / "r.toml")) == short
    assert "target" not in short.toml()


@pytest.mark.parametrize("name", catalogue())
def test_every_rule_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    rule = make(name, {})
    read = load_recipe(Recipe(problem="wine", rule=rule_to_spec(rule)).save(tmp_path / "r.toml"))
    assert read.make_rule() == rule and name_of(read.make_rule()) == name


@pytest.mark.parametrize("name", combinators())
def test_every_combinator_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    spec = {"name": "adam", "with": [{"name": name}]}
    made = Recipe(problem="wine", rule=spec).make_rule()
    assert isinstance(made, Rule)
    read = load_recipe(Recipe(problem="wine", rule=rule_to_spec(made)).save(tmp_path / "r.toml"))
    assert read.make_rule() == made


def test_a_schedule_of_any_hyperparameter_is_bound_to_the_run() -> None:
    made = Recipe.model_validate(
        {**FULL, "schedule": {"lr": {"name": "cosine"}, "beta1": {"name": "linear"}}}
    ).make_schedules()
    assert made["lr"](0) == 1.0 and made["lr"](7) == pytest.approx(0.0)
    assert set(made) == {"lr", "beta1"} and "cosine" in schedules()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs = 3\n", "problem is missing"),
        ('problem = "wine"\nepoch = 3\n', "unknown key 'epoch': did you mean 'epochs'"),
        ('problem = "wine"\nepochs = "3"\n', "epochs must be a whole number, got '3'"),
        ('problem = "wine"\nepochs = 0\n', "epochs must be greater than or equal to 1, got 0"),
        ('problem = "wine"\nbatch = 1.5\n', "batch must be a whole number, got 1.5"),
        ('problem = "wine"\nseed = true\n', "seed must be a whole number, got True"),
        ("problem = 3\n", "problem must be text in quotes, got 3"),
        ('problem = "wine"\nravine = 2\n', "recipe format 2 is not known"),
        ('problem = "wine"\nravine = 2\nnew_key = 1\n', "recipe format 2 is not known"),
        ('problem = "wine"\nrule = "adam"\n', "rule must be a table, got 'adam'; write [rule]"),
        ('problem = "wine"\n[rule]\nlr = 0.1\n', "a rule needs a name"),
        ('problem = "wine"\n[rule]\nname = "adm"\n', "did you mean 'adam'"),
        ('problem = "wine"\n[rule]\nname = 3\n', "name"),
        ('problem = "wine"\n[rule]\nname = "adam"\nrate = 0.1\n', "unknown hyperparameter of adam 'rate'"),
        ('problem = "wine"\n[rule]\nname = "adam"\nlr = "a"\n', "lr must be a number"),
        ('problem = "wine"\n[rule]\nname = "adam"\nlr = nan\n', "lr must lie in"),
        (
            'problem = "wine"\n[rule]\nname = "adam"\nbeta2 = 1.0\n',
            r"Adam(beta2=1.0): beta2 must lie in [0, 1), got 1.0",
        ),
        ('problem = "wine"\n[rule]\nname = "adam"\nwith = 3\n', "with"),
        ('problem = "wine"\n[rule]\nname = "adam"\nwith = [{name = "clip"}]\n', "unknown combinator 'clip'"),
        ('problem = "wine"\n[rule]\nname = "adam"\nwith = ["clip-norm"]\n', "with"),
        ('problem = "wine"\n[schedule.rate]\nname = "cosine"\n', "hyperparameter of adam to schedule 'rate'"),
        ('problem = "wine"\n[schedule.lr]\nname = "cosin"\n', "did you mean 'cosine'"),
        ('problem = "wine"\n[schedule.lr]\nname = "cosine"\nends = 1\n', "unknown setting of cosine 'ends'"),
        ("problem = \n", "not valid TOML"),
        ("\0", "not valid TOML"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UserError) as refused:
        load_recipe(tmp_path / "r.toml")
    said = str(refused.value)
    assert said.startswith(str(tmp_path / "r.toml")) and words in said and "\n" not in said


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_recipe(tmp_path / "r.toml")
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid TOML: it is not UTF-8 text"):
        load_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"budget": 0}, "budget must be greater than or equal to 1, got 0"),
        ({"seeds": 1}, "seeds must be greater than or equal to 2, got 1"),
        ({"epoch": 3}, "unknown argument of race 'epoch': did you mean 'epochs'"),
        ({"rules": ["adm"]}, "did you mean 'adam'"),
        ({"model": lambda: 3}, "give a function that makes an nn.Module"),
        ({"loss": "mse"}, "does not fit wine"),
    ],
)
def test_a_mistake_in_python_is_the_same_kind_of_sentence(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ravine.UserError) as refused:
        ravine.race("wine", **arguments)
    assert words in str(refused.value)


def test_race_and_train_from_python(tmp_path: Path) -> None:
    def net() -> torch.nn.Module:
        return torch.nn.Linear(3, 2)

    x = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    data = (x, (x[:, 0] > 0).long())
    outcome = ravine.race(data, model=net, rules=["adam", "sgd"], budget=4, epochs=2, seeds=2, progress=False)
    assert outcome.winner is not None and len(outcome.winner.models) == 2
    assert outcome.winner.models[0](x).shape == (80, 2)
    again = ravine.train(outcome.winner.recipe, data, model=net)
    assert again.result.valid_loss == pytest.approx(outcome.result.ranking[0].valid_loss.values[0], rel=1e-3)
    assert "<html" in outcome.report(tmp_path / "r.html").read_text()
