"""Reproduction: the same bits again from a folder or a store, and an honest word where something has changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ravine import api
from ravine.errors import UserError
from ravine.made_with import data_digest, made_with, versions
from ravine.problems import from_arrays, load
from ravine.racing.outcome import result_of
from ravine.recipe import Recipe
from ravine.reproduction import Kept, find, reproduce
from ravine.reproduction.again import compare
from ravine.reproduction.report import in_words, markdown, wanting, write
from ravine.results import Point
from ravine.store import Store
from ravine.store import Training as Record
from ravine.training.train import Training
from tests.racing import raced

RECIPE = Recipe(
    problem="wine", model="mlp:8:0.2", epochs=6, batch=16, rule={"name": "nadam", "lr": 0.02},
    schedule={"lr": {"name": "cosine"}}, metrics=["f1-macro"],
)  # fmt: skip
WINE = load("wine")


def recorded(**changes: Any) -> Record:
    running = api.train(RECIPE)
    fields: dict[str, Any] = {
        "id": "run-wine-1", "created": "2026-11-30T00:00:00+00:00", "command": "ravine train r.toml", "problem": "wine",
        "model": RECIPE.model, "metric_name": "accuracy", "seconds": 1.0, "result": running.result,
        "recipe": RECIPE.model_dump(exclude_none=True), "made_with": made_with(running),
    }  # fmt: skip
    return Record(**{**fields, **changes})


@pytest.fixture(scope="module")
def kept() -> Record:
    return recorded()


def from_store(record: Record) -> Kept:
    with Store("sqlite://") as store:
        store.save_run(record)
        return find(record.id[:7], store)


def test_row_r27_a_run_is_reproduced_to_the_bit_and_the_report_says_how(kept: Record, tmp_path: Path) -> None:
    found = reproduce(from_store(kept), WINE)
    assert found.verdict == "to the bit" and found.worst == 0 and found.since is None and found.changed == {}
    text = write(found, tmp_path / "r.md").read_text()
    for needed in (
        "Reproduced to the bit", "nadam (lr 0.02", "178 rows", "split seed 0", "cosine", 'problem = "wine"',
        "ravine train r.toml", versions()["torch"], data_digest(WINE), "fingerprint", "one seed",
    ):  # fmt: skip
        assert needed in text, needed
    assert Recipe.model_validate(__import__("tomllib").loads(text.split("```toml")[1].split("```")[0])) == RECIPE
    page = write(found, tmp_path / "r.html").read_text()
    assert "Reproduced to the bit" in page and "<script>" in page


def test_row_r27_what_differs_is_dated_and_its_cause_is_looked_for(kept: Record) -> None:
    curve = [
        p.model_copy(update={"valid_loss": p.valid_loss * (1.01 if p.epoch > 3 else 1)}) for p in kept.result.curve
    ]
    other = recorded(
        result=kept.result.model_copy(update={"curve": curve}), made_with={**kept.made_with, "torch": "2.9.0"}
    )
    found = reproduce(from_store(other), WINE)
    first = next(point.epoch for point in curve if point.epoch > 3)
    assert (found.verdict, found.since) == ("differs", first)
    assert f"differs from epoch {first:g} on" in found.sentence and "what has changed: torch" in found.sentence
    assert found.changed == {"torch": ("2.9.0", versions()["torch"])}


def test_other_data_are_named_as_the_cause(kept: Record) -> None:
    shifted = from_arrays(WINE.train.x + 0.5, [WINE.classes[k] for k in WINE.train.y.tolist()], name="wine")
    found = reproduce(from_store(kept), shifted)
    assert found.verdict == "differs" and "the data are other data" in found.sentence


def test_rounding_is_told_from_a_difference_and_what_was_not_recorded_is_said(kept: Record) -> None:
    curve = [point.model_copy(update={"valid_loss": point.valid_loss * (1 + 1e-7)}) for point in kept.result.curve]
    record = recorded(result=kept.result.model_copy(update={"curve": curve}), made_with={})
    found = reproduce(from_store(record), WINE)
    assert found.verdict == "within rounding" and "1.0e-07" in found.sentence
    assert "torch was not recorded" in wanting(found) and "not recorded" in markdown(found)


def test_a_curve_that_goes_on_longer_differs_from_its_end() -> None:
    def points(*losses: float) -> list[Point]:
        return [Point(epoch=e, train_loss=None, valid_loss=v, metric=0) for e, v in enumerate(losses)]

    assert compare(points(1, 2), points(1, 2)) == (0.0, None)
    assert compare(points(1, 2), points(1, 2, 3)) == (math.inf, 2)
    assert compare(points(1, 2, 3), points(1, 2.5, 3)) == (0.25, 1)


def test_a_races_winner_is_reproduced_within_rounding() -> None:
    race = raced()
    with Store("sqlite://") as store:
        store.save_race(result_of(race))
        kept = find(race.about["id"], store)
    found = reproduce(kept, load("wine"))
    assert found.verdict in ("to the bit", "within rounding")
    assert (
        found.changed == {"fingerprint": found.changed["fingerprint"]}
        if "fingerprint" in found.changed
        else not found.changed
    )
    assert kept.recipe.seed == kept.result.seed and kept.result.rule in " ".join(in_words(found))


def test_a_folder_that_ravine_train_left_and_one_that_it_did_not(kept: Record, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(kept.model_dump_json())
    with Store("sqlite://") as store:
        assert find(str(tmp_path), store).recipe == RECIPE
        (tmp_path / "result.json").write_text("{}")
        with pytest.raises(UserError, match="it is not what ravine train leaves"):
            find(str(tmp_path), store)
        with pytest.raises(UserError, match="holds none yet"):
            find("run-none", store)


def test_a_hash_of_data_sees_every_part_and_no_more() -> None:
    assert data_digest(WINE) == data_digest(load("wine"))
    x = WINE.test.x.clone()
    x[0, 0] += 1e-3
    from dataclasses import replace

    assert data_digest(replace(WINE, test=replace(WINE.test, x=x))) != data_digest(WINE)
    running = Training(RECIPE, WINE)
    assert "fingerprint" not in made_with(running)
