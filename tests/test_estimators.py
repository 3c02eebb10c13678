"""The estimators are scikit-learn's: its checks, pipelines, searches, frames, sparse data, stopping, races."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from ravine.errors import UserError
from ravine.estimators import RavineClassifier, RavineRegressor

Classifier: Any = RavineClassifier
Regressor: Any = RavineRegressor
Data = tuple[NDArray[Any], NDArray[Any]]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_epochs": 20, "learning_rate": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def wine() -> Data:
    data: Any = load_wine(return_X_y=True)
    return data


@pytest.fixture(scope="module")
def diabetes() -> Data:
    data: Any = load_diabetes(return_X_y=True)
    return data


def own_network() -> nn.Module:
    return nn.Sequential(nn.Linear(13, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.parametrize("kind", [Classifier, Regressor])
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
def test_scikit_learns_checks_pass_whole(kind: Callable[..., Any]) -> None:
    results = check_estimator(kind(**{**QUICK, "random_state": None}), on_fail=None, on_skip=None)
    assert [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")] == []
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input", "check_dataframe_column_names_consistency"}  # need more packages
    assert len(results) > 50


def test_in_a_pipeline_a_grid_search_and_cross_validation(wine: Data) -> None:
    piped = make_pipeline(StandardScaler(), Classifier(**QUICK))
    assert np.mean(cross_val_score(piped, *wine, cv=3)) > 0.9
    grid = {"learning_rate": [1e-6, 0.02], "optimizer": ["sgd", "nadam"]}
    search: Any = GridSearchCV(Classifier(**QUICK), grid, cv=2)
    search.fit(*wine)
    assert search.best_params_["learning_rate"] == 0.02
    again: Any = clone(search.best_estimator_)
    assert again.get_params() == search.best_estimator_.get_params()


def test_polynomial_features_before_a_linear_network_fit_a_parabola() -> None:
    x = np.linspace(-1, 1, 80)[:, None]
    y = 2 - x[:, 0] + 3 * x[:, 0] ** 2
    line = Regressor((), learning_rate=0.05, max_epochs=120, random_state=0)
    assert line.fit(x, y).score(x, y) < 0.5
    assert make_pipeline(PolynomialFeatures(2), line).fit(x, y).score(x, y) > 0.999


def test_labels_of_words_and_probabilities(wine: Data) -> None:
    x, y = wine[0], np.array(["red", "white", "rosé"])[wine[1]]
    model = Classifier(**QUICK).fit(x, y)
    chances = model.predict_proba(x)
    assert list(model.classes_) == ["red", "rosé", "white"] and model.score(x, y) > 0.95
    assert np.allclose(chances.sum(axis=1), 1) and (chances.argmax(1) == model.decision_function(x).argmax(1)).all()
    assert np.allclose(np.exp(model.predict_log_proba(x)), chances)


def test_scores_that_are_no_probabilities_are_not_given_as_such(wine: Data) -> None:
    model = Classifier(loss="hinge", **QUICK).fit(*wine)
    assert not hasattr(model, "predict_proba") and model.score(*wine) > 0.95


def test_several_numbers_a_sample_each_in_its_units() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    y = np.stack([1e4 * x[:, 0], 1e-3 * x[:, 1] + 7], axis=1)
    model = Regressor(**{**QUICK, "max_epochs": 60}).fit(x, y)
    assert model.predict(x).shape == (200, 2) and model.score(x, y) > 0.98
    assert np.allclose(model.predict(x[:1]), model.predict(x)[:1], rtol=1e-12)  # whoever stands beside it


def test_sparse_samples_are_the_same_as_dense_ones(wine: Data) -> None:
    dense = Classifier(**QUICK).fit(*wine)
    thin = Classifier(**QUICK).fit(sparse.csr_array(wine[0]), wine[1])
    assert (thin.predict_proba(sparse.csc_array(wine[0])) == dense.predict_proba(wine[0])).all()


def table(rows: int = 240) -> tuple[pl.DataFrame, NDArray[Any]]:
    """A table with words, gaps and numbers, and a label that needs all of them."""
    rng = np.random.default_rng(1)
    colour, size = rng.choice(["red", "blue", "green"], rows), rng.normal(size=rows)
    weight = [None if i % 7 == 0 else float(i % 5) for i in range(rows)]
    label = np.where((colour == "red") | (size > 0.5), "take", "leave")
    return pl.DataFrame({"colour": colour, "size": size, "weight": weight}), label


def test_frames_of_words_and_gaps_are_encoded_and_their_columns_checked() -> None:
    frame, label = table()
    model = Classifier(**{**QUICK, "max_epochs": 60}).fit(frame, label)
    assert model.score(frame, label) > 0.93
    assert list(model.feature_names_in_) == ["colour", "size", "weight"] and model.n_features_in_ == 3
    with pytest.raises(ValueError, match="weight"):
        model.predict(frame.drop("weight"))
    with pytest.raises(UserError, match="words in 'colour'"):
        model.predict(np.zeros((2, 3)))
    wrong = frame.with_columns(size=pl.lit("large"))
    with pytest.raises(UserError, match="something else than in training"):
        model.predict(wrong)


def test_a_frame_of_pandas_is_that_of_polars() -> None:
    pandas = pytest.importorskip("pandas")
    frame, label = table()
    same = pandas.DataFrame({name: frame[name].to_list() for name in frame.columns})
    one, other = (Classifier(**QUICK).fit(x, label) for x in (frame, same))
    assert (one.predict_proba(frame) == other.predict_proba(same)).all()


def test_early_stopping_keeps_the_epoch_with_the_lowest_loss_on_the_part_held_out() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    given = {**QUICK, "max_epochs": 200, "n_iter_no_change": 5}
    model = Classifier(early_stopping=True, validation_fraction=0.25, **given).fit(x, y)
    curve = model.validation_curve_
    assert model.n_iter_ == len(curve) == len(model.loss_curve_) < 200
    best = int(np.argmin(curve))
    assert len(curve) - 1 - best == 5 or min(curve) > curve[-6] - 1e-4
    shorter = Classifier(early_stopping=True, validation_fraction=0.25, **{**given, "max_epochs": best + 1})
    assert best < 17 or (shorter.fit(x, y).predict_proba(x) == model.predict_proba(x)).all()
    plain = Classifier(**given).fit(x, y)
    assert not hasattr(plain, "validation_curve_") and plain.n_iter_ <= 200


def test_the_loss_of_the_steps_stops_a_fit_that_no_longer_falls(wine: Data) -> None:
    model = Classifier(**{**QUICK, "max_epochs": 400, "tol": 0.01, "n_iter_no_change": 3}).fit(*wine)
    assert 4 < model.n_iter_ < 100


def test_the_last_weights_are_those_of_the_recipe_trained_by_hand(wine: Data) -> None:
    """Without early stopping the network after the last step is kept, not the one that happened to be lowest."""
    few = Classifier(**{**QUICK, "max_epochs": 19, "learning_rate": 0.5, "n_iter_no_change": 100}).fit(*wine)
    more = Classifier(**{**QUICK, "max_epochs": 20, "learning_rate": 0.5, "n_iter_no_change": 100}).fit(*wine)
    assert few.loss_curve_ == more.loss_curve_[:19]
    assert (few.predict_proba(wine[0]) != more.predict_proba(wine[0])).any()


def test_raw_inputs_are_neither_scaled_nor_changed_and_predict_as_they_are(wine: Data) -> None:
    x = wine[0].astype(np.float32) / 1000
    before = x.copy()
    raw = Classifier(**QUICK, preprocess="raw").fit(x, wine[1])
    np.testing.assert_array_equal(x, before)
    by_hand = Classifier(**QUICK).fit((x - x.mean(0)) / x.std(0), wine[1])
    scaled = Classifier(**QUICK).fit(x, wine[1])
    np.testing.assert_allclose(scaled.predict_proba(x), by_hand.predict_proba((x - x.mean(0)) / x.std(0)), atol=1e-4)
    assert np.abs(raw.predict_proba(x) - scaled.predict_proba(x)).max() > 0.05
    held = Classifier(**QUICK, preprocess="raw", early_stopping=True).fit(x, wine[1])
    np.testing.assert_array_equal(held.predict(x), pickle.loads(pickle.dumps(held)).predict(x))


def test_class_weights_shift_what_is_predicted() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (190, 2)), rng.normal(1, 1, (10, 2))])
    y = np.repeat([0, 1], [190, 10])
    plain = Classifier(**QUICK).fit(x, y).predict(x).sum()
    balanced = Classifier(class_weight="balanced", **QUICK).fit(x, y).predict(x).sum()
    table_ = Classifier(class_weight={0: 1.0, 1: 19.0}, **QUICK).fit(x, y).predict(x).sum()
    assert plain < 20 < balanced and table_ > 20


def test_a_race_finds_optimizer_and_settings(diabetes: Data) -> None:
    given: dict[str, Any] = {"max_epochs": 20, "validation_fraction": 0.2, "random_state": 0}
    model = Regressor((16,), optimizer="auto", race_budget=8, **given)
    model.fit(*diabetes)
    assert model.race_.ranking[0].rule == model.recipe_.rule["name"] and model.race_.test is None
    assert model.score(*diabetes) > 0.3 and model.n_iter_ == 20
    back = pickle.loads(pickle.dumps(model))
    assert (back.predict(diabetes[0]) == model.predict(diabetes[0])).all() and back.race_ == model.race_


def test_an_own_network_and_every_kind_of_setting(wine: Data) -> None:
    model = Classifier(
        model=own_network, optimizer="nesterov", optimizer_options={"momentum": 0.8}, schedule="cosine",
        penalty={"name": "l2", "strength": 1e-4}, preprocess="whiten-zca", batch_size=32, random_state=3, max_epochs=40,
        learning_rate=0.05,
    )  # fmt: skip
    assert model.fit(*wine).score(*wine) > 0.95
    assert model.recipe_.rule == {"name": "nesterov", "lr": 0.05, "momentum": 0.8}
    dropped = Classifier(noise={"name": "dropout", "drop": 0.3, "on": "hidden"}, norm="batch", **QUICK).fit(*wine)
    assert dropped.score(*wine) > 0.9


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"max_epochs": 0}, "greater than or equal to 1"),
        ({"early_stopping": True, "validation_fraction": 1.5}, "between 0 and 1"),
        ({"class_weight": {7: 2.0}}, "unknown label in class_weight"),
        ({"preprocess": "whitten"}, "unknown step"),
        ({"loss": "mse"}, "does not fit"),
        ({"optimizer": "auto", "learning_rate": 0.1}, "leave it out"),
        ({"optimizer": "sgd", "learning_rate": 1e12, "activation": "swish"}, "diverged"),
        ({"optimizer_options": {"beta3": 1}}, "beta3"),
    ],
)
def test_a_mistake_is_one_sentence(given: dict[str, Any], sentence: str, wine: Data) -> None:
    with pytest.raises(UserError, match=sentence):
        Classifier(**{**QUICK, **given}).fit(*wine)


def test_the_same_seed_gives_the_same_bits_and_another_one_others(wine: Data) -> None:
    one, same, other = (Classifier(**{**QUICK, "random_state": s}).fit(*wine) for s in (1, 1, 2))
    assert (one.decision_function(wine[0]) == same.decision_function(wine[0])).all()
    assert (one.decision_function(wine[0]) != other.decision_function(wine[0])).any()
