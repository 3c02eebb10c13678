"""Classical models beside a race: scikit-learn's own, chosen on the validation part, tested once, and said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import LinearSVC

from ravine.baselines import compare
from ravine.baselines.classics import SLOW_FEATURES, classics
from ravine.problems import load
from ravine.problems.problem import Part, Problem
from ravine.racing.outcome import result_of
from ravine.racing.race import Race
from ravine.report.page import html
from ravine.report.terminal import table
from ravine.results import RaceResult
from tests.racing import a_race, facts, raced

# Each is scikit-learn's

DISTANCES = {"k-NN L1": 1.0, "k-NN L2": 2.0, "k-NN max distance": float("inf")}  # Minkowski's p


def sklearns(task: str) -> dict[tuple[str, str], Any]:
    """By family and setting in words, scikit-learn's estimator, written down here once more."""
    near: Any = KNeighborsClassifier if task == "classification" else KNeighborsRegressor
    made: dict[tuple[str, str], Any] = {
        (name, f"k = {k}"): near(k, p=p, algorithm="brute") if np.isfinite(p) else near(k, metric="chebyshev")
        for name, p in DISTANCES.items()
        for k in (1, 5, 15)
    }
    guess = "the commonest class, or the mean"
    if task == "classification":
        made |= {("logistic", f"C = {c}"): LogisticRegression(C=c, max_iter=60) for c in (0.01, 1, 100)}
        made |= {("linear SVM", f"C = {c}"): LinearSVC(C=c, random_state=0, max_iter=300) for c in (0.01, 1)}
        return made | {("guess", guess): DummyClassifier(strategy="most_frequent")}
    made |= {("ridge", f"strength {a}"): Ridge(a) for a in (0.1, 1, 10, 100)}
    made |= {("lasso", f"strength {a}"): Lasso(a, max_iter=500) for a in (0.001, 0.01, 0.1)}
    powers = {d: PolynomialFeatures(d, include_bias=False) for d in (2, 3)}
    made |= {("polynomial", f"degree {d}"): make_pipeline(power, Ridge(1.0)) for d, power in powers.items()}
    return made | {("least squares", ""): LinearRegression(), ("guess", guess): DummyRegressor()}


def plain(part: Part) -> tuple[NDArray[Any], NDArray[Any]]:
    y = part.y.numpy()
    return part.x.flatten(1).double().numpy(), y if y.ndim == 1 else y.ravel()


@pytest.mark.filterwarnings("ignore")  # what has not converged is judged as it is
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_each_is_scikit_learns_at_its_best_setting_on_the_validation_part(name: str) -> None:
    problem = load(name)
    rows = {row.name: row for row in compare.fitted(problem).rows}
    scores: dict[str, dict[str, float]] = {}
    for (family, setting), model in sklearns(problem.task).items():
        model.fit(*plain(problem.train))
        scores.setdefault(family, {})[setting] = model.score(*plain(problem.valid))  # accuracy, or R^2
    assert rows.keys() == scores.keys()
    for family, row in rows.items():
        assert row.valid == pytest.approx(max(scores[family].values()), abs=1e-6), family
        assert scores[family][row.setting] == pytest.approx(row.valid, abs=1e-6), family
    assert len({row.valid for row in rows.values()}) > 3  # they do differ


@pytest.mark.filterwarnings("ignore")
def test_their_loss_is_scikit_learns_of_their_probabilities_or_numbers() -> None:
    for name, measure in (("wine", log_loss), ("diabetes", mean_squared_error)):
        problem = load(name)
        found = compare.fitted(problem)
        models = sklearns(problem.task) | {("guess", "the commonest class, or the mean"): DummyClassifier()}
        for row in found.rows:
            if name == "diabetes" and row.name == "guess":
                continue
            model = models[row.name, row.setting].fit(*plain(problem.train))
            if problem.task == "classification" and not hasattr(model, "predict_proba"):
                assert row.name == "linear SVM" and row.loss is None
                continue
            x, y = plain(problem.valid)
            answers = model.predict_proba(x) if problem.task == "classification" else model.predict(x)
            assert row.loss == pytest.approx(measure(y, answers), rel=1e-6), row.name
        assert found.loss_name == ("cross_entropy" if name == "wine" else "mse")
    hinge = compare.fitted(replace(load("wine"), loss="hinge"))
    assert not hinge.loss_name and all(row.loss is None for row in hinge.rows)


def test_the_best_is_first() -> None:
    valid = [row.valid for row in compare.fitted(load("diabetes")).rows]
    assert valid == sorted(valid, reverse=True) and valid[0] > 0.4


# Which part decides what


@dataclass(frozen=True)
class Untouchable:
    """A part that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test part was asked for {name}")


def test_settings_are_chosen_without_the_test_part() -> None:
    problem: Any = load("digits", rows=400)
    assert compare.fitted(replace(problem, test=Untouchable())) == compare.fitted(problem)


def test_settings_are_chosen_on_the_validation_part_and_fitted_on_the_training_part() -> None:
    """Labels of training that are wrong by one in five: their own part says k = 1, the validation part does not."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=draws)
    y = (x[:, 0] > 0).long()
    wrong = torch.where(torch.rand(600, generator=draws) < 0.2, 1 - y, y)
    train, other = Part(x[:300], wrong[:300]), Part(x[300:], y[300:])
    problem = Problem("noisy", "classification", train, other, other, classes=("left", "right"))
    chosen = {row.name: row.setting for row in compare.fitted(problem).rows}
    itself = {row.name: row.setting for row in compare.fitted(replace(problem, valid=train)).rows}
    assert chosen["k-NN L2"] == "k = 15" and itself["k-NN L2"] == "k = 1"


@dataclass
class Watched:
    """An estimator that notes on what it predicts."""

    name: str
    inner: Any
    seen: list[tuple[str, NDArray[Any]]]

    def fit(self, x: NDArray[Any], y: NDArray[Any]) -> Watched:
        self.inner.fit(x, y)
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        self.seen.append((self.name, x))
        return self.inner.predict(x)


def test_the_test_part_is_looked_at_once_by_the_best_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, NDArray[Any]]] = []
    watched = [
        replace(one, make=lambda setting, task, one=one: Watched(one.name, one.make(setting, task), seen))
        for one in classics()
    ]
    monkeypatch.setattr(compare, "classics", lambda: watched)
    problem = load("wine")
    found = result_of(raced(problem)).baselines
    test = problem.test.x.double().numpy()
    assert found is not None and len(seen) > 10
    assert [name for name, x in seen if x.shape == test.shape and (x == test).all()] == [found.rows[0].name]


# What the verdict says


def regression(target: str, features: int = 20, rows: int = 900) -> Problem:
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(rows, features, generator=draws)
    along = x @ torch.randn(features, 1, generator=draws) / features**0.5
    y = along if target == "linear" else (2 * along).abs()
    y = y + 0.05 * torch.randn(rows, 1, generator=draws)
    y = (y - y.mean()) / y.std()
    third = rows // 3
    train, valid, test = (Part(x[a : a + third], y[a : a + third]) for a in (0, third, 2 * third))
    return Problem(target, "regression", train, valid, test)


def test_a_network_that_loses_to_a_classic_is_noticed() -> None:
    result = result_of(raced(regression("linear"), epochs=2, budget=3))
    assert result.baselines is not None and result.baselines.lead is not None
    assert result.baselines.lead.high < 0
    assert f"A classical model does better: {result.baselines.rows[0].name} beats the network" in result.verdict


def test_a_network_that_wins_is_not_spoken_of() -> None:
    result = result_of(raced(regression("bent"), epochs=40, budget=6, model="mlp:32"))
    assert result.baselines is not None and result.baselines.lead is not None
    assert result.baselines.lead.low > 0
    assert "classical" not in result.verdict


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_the_lead_is_of_the_metric_that_the_race_tests(name: str) -> None:
    result = result_of(raced(load(name)))
    assert result.baselines is not None and result.test is not None
    assert result.baselines.lead is not None and result.baselines.test is not None
    assert result.baselines.test + result.baselines.lead.mean == pytest.approx(result.test.mean, abs=1e-6)
    assert result.baselines.lead.low <= result.baselines.lead.mean <= result.baselines.lead.high


def test_the_report_and_the_terminal_say_it() -> None:
    result = result_of(raced())
    assert result.baselines is not None
    best = result.baselines.rows[0]
    for text in (html(result), _printed(result)):
        assert f"Baselines: best {best.name}" in " ".join(text.split())
    assert "Beside classical models" in html(result)


def _printed(result: RaceResult) -> str:
    console = Console(width=80, file=StringIO())
    with console.capture() as taken:
        console.print(table(result))
    return taken.get()


# Without them, and again


def test_without_them_the_race_is_the_same_and_says_nothing_of_them() -> None:
    want, got = facts(raced()), facts(raced(baselines=False))
    assert want.baselines is not None and got.baselines is None
    assert got.runs == want.runs and got.ranking == want.ranking and got.test == want.test
    assert "classical" not in html(got) and "Baselines" not in _printed(got)


def test_killed_at_the_test_part_and_resumed_is_the_uninterrupted_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = facts(raced())

    def killed(*_: Any) -> Any:
        raise MemoryError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("ravine.racing.finals.beside", killed)
        running = a_race(folder=tmp_path)
        with pytest.raises(MemoryError):
            list(running.run())
    assert facts(_resumed(tmp_path)) == want
    assert facts(_resumed(tmp_path)) == want  # and when all is done


def _resumed(folder: Path) -> Race:
    resumed = a_race(folder=folder)
    resumed.restore(folder)
    list(resumed.run())
    return resumed


# Where they do not apply


def widened(problem: Problem, times: int) -> Problem:
    """With every feature so many times."""
    train, valid = (Part(part.x.repeat(1, times), part.y) for part in (problem.train, problem.valid))
    return replace(problem, train=train, valid=valid)


def test_what_is_left_out_is_said() -> None:
    wine = load("wine")
    holes = replace(wine, train=Part(torch.where(wine.train.x > 2, torch.nan, wine.train.x), wine.train.y))
    large = widened(wine, 90)
    alone = replace(wine, train=Part(wine.train.x, torch.zeros_like(wine.train.y)))
    for problem, why in ((holes, "NaN or infinity"), (large, "has 1,170 numbers"), (alone, "holds one class")):
        found = compare.fitted(problem)
        assert not found.rows and why in found.note


def test_what_is_slow_is_not_tried_on_many_features() -> None:
    wine = load("wine")
    wide = widened(wine, SLOW_FEATURES // 13 + 1)
    found = compare.fitted(wide)
    assert {row.name for row in found.rows} == {"guess", "k-NN L2", "logistic"}
    assert found.note == "not tried on 130 numbers a sample: k-NN L1, k-NN max distance, linear SVM"


def test_many_training_samples_are_thinned_and_it_is_said() -> None:
    wine = load("wine")
    many = replace(wine, train=Part(wine.train.x.repeat(40, 1), wine.train.y.repeat(40)))
    assert len(many.train) > compare.MOST_SAMPLES
    total = f"{len(many.train):,}"
    assert compare.fitted(many).note == f"fitted on 2,000 of {total} training samples, evenly spread"
    more = replace(many, valid=many.train)
    told = compare.fitted(more)
    assert told.note.endswith(f"judged on 2,000 of {total} validation samples, evenly spread")
    result = result_of(raced(wine)).model_copy(update={"baselines": told})
    assert "Fitted on the same training part" not in html(result) and "Fitted on 2,000 of" in html(result)
