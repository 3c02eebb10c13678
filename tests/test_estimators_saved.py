"""Saved estimators: the same bits in another process, from a race too; what is damaged or forged, a sentence."""

from __future__ import annotations

import json
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_wine
from torch import nn
from typer.testing import CliRunner

import ravine
from ravine.cli import app
from ravine.errors import UserError
from ravine.estimators import RavineClassifier, RavineRegressor, load_model
from ravine.estimators.trained import of_training
from ravine.files import digest
from ravine.recipe import Recipe

Classifier: Any = RavineClassifier
Regressor: Any = RavineRegressor
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_epochs": 8, "learning_rate": 0.02, "random_state": 0}


def town(rows: int = 120) -> pl.DataFrame:
    """A table as a newcomer has it: an id, numbers, words, gaps, and a price."""
    rng = np.random.default_rng(0)
    place, area = rng.choice(["Lyon", "Nice", "Paris"], rows), rng.uniform(30, 200, rows).round(1)
    garden = [None if i % 5 == 0 else ("yes" if i % 2 else "no") for i in range(rows)]
    price = area * np.where(place == "Paris", 3000, 1500) + rng.normal(0, 5000, rows)
    return pl.DataFrame({"id": range(rows), "area": area, "town": place, "garden": garden, "price": price.round()})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    frame = town()
    model = Classifier(**QUICK).fit(frame.drop("price", "town"), frame["town"].to_numpy())
    return model.save(tmp_path / "model")


def own_network() -> nn.Module:
    return nn.Sequential(nn.Linear(13, 4), nn.Dropout(0.1), nn.Linear(4, 3))


ELSEWHERE = """
import sys, polars as pl, ravine
model = ravine.load_model(sys.argv[1])
out = model.predict(pl.read_csv(sys.argv[2]))
print([float(x).hex() if not isinstance(x, str) else x for x in out.tolist()])
"""


@pytest.mark.parametrize("target", ["price", "town"])
def test_a_new_process_predicts_to_the_same_bits(target: str, tmp_path: Path) -> None:
    frame = town()
    kind = Regressor if target == "price" else Classifier
    model = kind(**QUICK, noise={"name": "dropout", "drop": 0.2, "on": "hidden"}, norm="batch")
    x = frame.drop(target)
    model.fit(x, frame[target].to_numpy()).save(tmp_path / "model")
    x.write_csv(tmp_path / "new.csv")
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "model"), str(tmp_path / "new.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    own = [float(v).hex() if target == "price" else v for v in model.predict(x).tolist()]
    assert done.stdout.strip() == str(own)


def test_everything_comes_back(tmp_path: Path) -> None:
    frame = town()
    model = Classifier(early_stopping=True, schedule="cosine", **QUICK)
    model.fit(frame.drop("town"), frame["town"].to_numpy())
    back: Any = load_model(model.save(tmp_path / "model"))
    assert back.get_params() == model.get_params() and back.recipe_ == model.recipe_
    for name in ("classes_", "n_features_in_", "feature_names_in_", "n_iter_", "loss_curve_", "validation_curve_"):
        assert np.array_equal(getattr(back, name), getattr(model, name)), name
    assert (back.predict_proba(frame.drop("town")) == model.predict_proba(frame.drop("town"))).all()
    with pytest.raises(UserError, match="holds a saved model already"):
        model.save(tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="other files are there"):
        model.save(tmp_path / "other", force=True)


def test_a_pickle_of_an_estimator_names_no_code_but_scikit_learns_and_numpys() -> None:
    """Pickling is the user's own act; what it holds is plain values and the bytes of a safetensors file."""
    model = Classifier(**QUICK).fit(*load_wine(return_X_y=True))
    text = pickle.dumps(model)
    kinds = ("GLOBAL", "SHORT_BINUNICODE", "BINUNICODE")
    named = [str(arg) for op, arg, _ in pickletools.genops(text) if op.name in kinds]
    assert not [name for name in named if name.partition(".")[0] == "torch"]
    assert (pickle.loads(text).predict_proba(np.ones((2, 13))) == model.predict_proba(np.ones((2, 13)))).all()


def test_a_network_of_ones_own_is_saved_without_its_code(tmp_path: Path) -> None:
    x, y = load_wine(return_X_y=True)
    model = Classifier(model=own_network, max_epochs=5, random_state=0).fit(x, y)
    folder = model.save(tmp_path / "model")
    with pytest.raises(UserError, match="code of your own"):
        load_model(folder)
    assert (load_model(folder, model=own_network).predict(x) == model.predict(x)).all()
    with pytest.raises(UserError, match="weights are not those"):
        load_model(folder, model=lambda: nn.Linear(13, 3))


def test_from_a_csv_to_predictions_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Race, saved model, predictions: the predictions are those of the winner's model on the same rows."""
    monkeypatch.chdir(tmp_path)
    town().write_csv("my.csv")
    run = CliRunner().invoke
    small = "--epochs 2 --budget 8 --seeds 2 --store s.db --model mlp:8"
    raced = run(app, ["race", "my.csv", "--target", "price", *small.split()])
    assert raced.exit_code == 0, raced.output
    (folder,) = Path().glob("race-my-*")
    done = run(app, f"predict {folder}/model my.csv --out p.csv".split())
    assert done.exit_code == 0 and "left out" in done.stderr and "price" in done.stderr
    model: Any = load_model(folder / "model")
    predicted = model.predict(town().drop("price"))
    assert pl.read_csv("p.csv")["prediction"].to_list() == pytest.approx(predicted.tolist(), rel=1e-12)
    town().drop("price", "id").write_csv("new.csv")  # what only numbered the rows was left out in training
    done = run(app, f"predict {folder}/model new.csv --out n.csv".split())
    assert done.exit_code == 0, done.output
    assert pl.read_csv("n.csv").equals(pl.read_csv("p.csv"))
    town().drop("price", "area").write_csv("few.csv")
    done = run(app, f"predict {folder}/model few.csv --out f.csv".split())
    assert "few.csv: the data lack 'area'" in str(done.exception) and not Path("f.csv").exists()
    trained = run(app, f"train {folder}/winner.toml --out again --store s.db".split())
    assert trained.exit_code == 0, trained.output
    again: Any = load_model("again/model")
    # the recipe repeats the winner's first fresh seed; alone, a run rounds otherwise than among others
    assert again.predict(town().drop("price")).tolist() == pytest.approx(predicted.tolist(), rel=1e-4)


def test_whole_number_labels_of_a_table_come_back_as_numbers() -> None:
    frame = town().with_columns(town=(pl.col("town") == "Paris").cast(pl.Int64) + 3)
    problem = ravine.from_arrays(frame, "town")
    model: Any = of_training(ravine.train(Recipe(problem="x", epochs=40, batch=16, model="mlp:8"), problem))
    assert model.classes_.tolist() == [3, 4] and set(model.predict(frame.drop("town")).tolist()) <= {3, 4}
    assert model.score(frame.drop("town"), frame["town"].to_numpy()) > 0.6


def test_images_are_predicted_from_pixels_and_from_rows() -> None:
    trained = ravine.train(Recipe(problem="digits", epochs=3, model="cnn:4"))
    model: Any = of_training(trained)
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    assert (model.predict(digits.images) == model.predict(digits.data)).all()
    assert model.score(digits.data, digits.target) > 0.5
    own = trained.module(trained.problem.valid.x).argmax(1).numpy()
    places = trained.problem.valid.ids
    assert places is not None and (model.predict(digits.images[places.numpy()]) == own).all()


DAMAGE: dict[str, tuple[str, Any, str]] = {
    "no json": ("model.json", lambda _: b"{", "damaged"),
    "another json": ("model.json", lambda _: b"[1, 2]", "holds no model"),
    "cut": ("model.json", lambda text: text[: len(text) // 2], "damaged"),
    "a changed fact": ("model.json", lambda text: text.replace(b'"n_iter": 8', b'"n_iter": 9'), "SHA-256"),
    "cut weights": ("model.safetensors", lambda text: text[:-8], "SHA-256"),
    "a changed weight": ("model.safetensors", lambda text: text[:-1] + bytes([text[-1] ^ 1]), "SHA-256"),
    "deep nesting": ("model.json", lambda _: b"[" * 100_000, "holds no model"),
    "a pickle": ("model.json", lambda _: pickle.dumps({"a": 1}), "damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_sentence(name: str, saved: Path) -> None:
    file, change, sentence = DAMAGE[name]
    (saved / file).write_bytes(change((saved / file).read_bytes()))
    with pytest.raises(UserError, match=sentence) as caught:
        load_model(saved)
    assert "\n" not in str(caught.value)


def rewritten(folder: Path, **changes: Any) -> None:
    """The facts as someone who knows the format would forge them, with a fitting hash."""
    facts = json.loads((folder / "model.json").read_text())
    network = json.loads(facts["network"])
    network |= {name: changes.pop(name) for name in list(changes) if name in network}
    facts |= {"network": json.dumps(network), **changes}
    facts.pop("check")
    facts = {"check": digest(json.dumps(facts).encode()), **facts}
    (folder / "model.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "mlp:1000000000,1000000000"},
        {"model": "resmlp:64x999999999"},
        {"model": "evil.module:function"},
        {"shape": [10**9, 10**9]},
        {"shape": [-1]},
        {"outputs": 10**12},
        {"labels": ["one"]},
        {"kind": "os.system"},
        {"task": "anything"},
        {"format": 2},
        {"extra": 1},
        {"noise": [{"name": "dropout", "drop": 7}]},
        {"recipe": {"problem": 3}},
        {"label_type": "object; import os"},
    ],
    ids=str,
)
def test_forged_facts_are_refused_before_they_take_memory(changes: dict[str, Any], saved: Path) -> None:
    rewritten(saved, **changes)
    with pytest.raises(UserError):
        load_model(saved)


def test_what_is_no_model_is_said(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UserError, match="no saved model is there"):
        load_model(tmp_path / "nowhere")
    (saved / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no saved model is there"):
        load_model(saved)
