"""Which decision of a race mattered: shares of the variance of ranks, by a forest, with intervals over configurations.

Reference: Hutter, Hoos & Leyton-Brown 2014, ICML 32:754 (functional ANOVA of a random forest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.reading import contenders, finite, first_epochs
from ravine.results import Importance, Isolated, RaceResult, RunResult, Share

Array = NDArray[np.float64]

DRAWS, TREES = 80, 8  # resamplings of the configurations, and trees for each
LEAST = 12  # configurations below which nothing can be told
PLACES = 9  # at which a number is looked at alone


@dataclass(frozen=True)
class _Factor:
    """One decision of a race as a column in [0, 1]: words in equal cells, numbers by their rank."""

    name: str
    column: Array  # [n]
    words: tuple[str, ...] = ()  # of a categorical one, in the order of their cells
    values: tuple[float, ...] = ()  # of a number, sorted; empty where they differ in meaning from rule to rule


def importance(result: RaceResult, seed: int = 0) -> Importance | None:
    """What each decision did to the rank after the first rung, which every configuration ran to; None for too few.

    The score is the rank of the validation loss after the first rung, those that diverged last, so that neither the
    scale of losses nor the halving weighs in. A forest is fitted to resampled configurations, beside the decisions to
    a shuffled copy of each, and a decision's share of the forest's variance is that by itself, less its copy's: one
    that does nothing comes out at 0 on average, below it as often as above.
    """
    runs = contenders(result)
    factors = _factors(result, runs)
    if len(runs) < LEAST or not factors:
        return None
    y = standing_at_first(result, runs)
    if np.ptp(y) == 0:
        return None
    x = np.stack([factor.column for factor in factors], 1)
    draws = np.random.default_rng(seed)
    shares, curves = np.zeros((DRAWS, len(factors))), list[list[Array]]()
    for draw in range(DRAWS):
        rows = draws.integers(len(y), size=len(y))
        shadow = np.stack([x[draws.permutation(rows), j] for j in range(x.shape[1])], 1)
        forest = _forest(np.concatenate([x[rows], shadow], 1), y[rows], draw)
        own = np.mean([_main_effects(tree) for tree in forest], 0)
        shares[draw] = own[: len(factors)] - own[len(factors) :]
        curves.append([np.mean([tree.at(j, _grid(f)) for tree in forest], 0) for j, f in enumerate(factors)])
    found = [_share(factor, shares[:, j]) for j, factor in enumerate(factors)]
    alone = {f.name: _isolated(f, np.stack([curve[j] for curve in curves])) for j, f in enumerate(factors)}
    found.sort(key=lambda one: -one.share)
    return Importance(epochs=first_epochs(result), configurations=len(runs), shares=found, isolated=alone)


def standing_at_first(result: RaceResult, runs: Sequence[RunResult]) -> Array:
    """The share of the other configurations that each did better than after the first rung; ties share a place."""
    from scipy.stats import rankdata

    losses = [_first_loss(run, first_epochs(result)) for run in runs]
    return (len(runs) - rankdata(losses)) / (len(runs) - 1)


def _first_loss(run: RunResult, epochs: float) -> float:
    """The lowest loss after a step within the first rung; infinite where the run diverged."""
    seen = [point.valid_loss for point in finite(run.curve) if 0 < point.epoch <= epochs]
    return min(seen) if seen and run.status != "diverged" else np.inf


def _factors(result: RaceResult, runs: Sequence[RunResult]) -> list[_Factor]:
    """Every decision that took two values or more."""
    rules = list(dict.fromkeys(run.rule for run in runs))
    found = [_words("rule", [run.rule for run in runs]), _words("schedule", [run.schedule for run in runs])]
    for name in dict.fromkeys(name for own in result.spaces.values() for name in own):
        found.append(_hyper(name, runs, [rule for rule in rules if name in result.spaces.get(rule, {})]))
    for name, searched in result.decisions.items():
        values = [run.choices.get(name, searched.base) for run in runs]
        numbers = not searched.choices or all(isinstance(v, int | float) for v in searched.choices)
        found.append(_numbers(name, [0.0 if v is None else v for v in values]) if numbers else _words(name, values))
    return [factor for factor in found if factor is not None]


def _words(name: str, values: Sequence[Any]) -> _Factor | None:
    said = [_said(value) for value in values]
    cells = tuple(sorted(set(said)))
    if len(cells) < 2:
        return None
    return _Factor(name, np.array([(cells.index(word) + 0.5) / len(cells) for word in said]), cells)


def _said(value: Any) -> str:
    """A choice in a word: steps of augmentation by their names."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return "+".join(str(one.get("name", one)) if isinstance(one, Mapping) else str(one) for one in value)
    return str(value.get("name", value)) if isinstance(value, Mapping) else str(value)


def _numbers(name: str, values: Sequence[float]) -> _Factor | None:
    if len(set(values)) < 2:
        return None
    return _Factor(name, _placed(np.array(values, float)), (), tuple(sorted(float(v) for v in values)))


def _hyper(name: str, runs: Sequence[RunResult], rules: Sequence[str]) -> _Factor | None:
    """A hyperparameter by its rank within its rule, since rules mean different things by a number; else the middle."""
    column = np.full(len(runs), 0.5)
    for rule in rules:
        own = [place for place, run in enumerate(runs) if run.rule == rule and name in run.hypers]
        values = np.array([runs[place].hypers[name] for place in own])
        if len(set(values.tolist())) > 1:
            column[own] = _placed(values)
    if len(set(column.tolist())) < 2:
        return None
    alone = len({run.rule for run in runs}) == 1
    return _Factor(name, column, (), tuple(sorted(run.hypers[name] for run in runs)) if alone else ())


def _placed(values: Array) -> Array:
    """Ranks as middles of equal cells in [0, 1]; equal numbers share the middle of theirs."""
    from scipy.stats import rankdata

    return (rankdata(values) - 0.5) / len(values)


@dataclass(frozen=True)
class _Tree:
    """A tree as boxes of [0, 1]^d with a value each."""

    low: Array  # [leaves, d]
    high: Array
    value: Array  # [leaves]

    @property
    def volume(self) -> Array:
        """Of each box."""
        return np.prod(self.high - self.low, 1)

    def at(self, j: int, places: Array) -> Array:
        """The mean over all else at places of dimension j."""
        inside = (self.low[:, j, None] <= places) & (places < self.high[:, j, None])
        rest = self.volume / (self.high[:, j] - self.low[:, j])
        return (inside * (rest * self.value)[:, None]).sum(0)


def _main_effects(tree: _Tree) -> Array:
    """The share of a tree's variance that each dimension makes by itself."""
    mean = float(tree.volume @ tree.value)
    whole = float(tree.volume @ (tree.value - mean) ** 2)
    found = np.zeros(tree.low.shape[1])
    if whole <= 0:
        return found
    for j in range(len(found)):
        ends = np.unique(np.concatenate([tree.low[:, j], tree.high[:, j]]))
        middles = (ends[1:] + ends[:-1]) / 2
        found[j] = ((tree.at(j, middles) - mean) ** 2 * np.diff(ends)).sum() / whole
    return found


def _forest(x: Array, y: Array, seed: int) -> list[_Tree]:
    from sklearn.ensemble import RandomForestRegressor

    made = RandomForestRegressor(TREES, min_samples_leaf=3, max_features=0.6, random_state=seed).fit(x, y)
    return [_boxes(one.tree_, x.shape[1]) for one in made.estimators_]


def _boxes(tree: Any, dimensions: int) -> _Tree:
    left, right, feature, threshold = tree.children_left, tree.children_right, tree.feature, tree.threshold
    low, high, value = list[Array](), list[Array](), list[float]()
    waiting = [(0, np.zeros(dimensions), np.ones(dimensions))]
    while waiting:
        node, a, b = waiting.pop()
        if left[node] < 0:
            low.append(a)
            high.append(b)
            value.append(float(tree.value[node].flat[0]))
            continue
        for child, bound, end in ((left[node], b, 1), (right[node], a, 0)):
            new = bound.copy()
            new[feature[node]] = threshold[node]
            waiting.append((child, a, new) if end else (child, new, b))
    return _Tree(np.stack(low), np.stack(high), np.array(value))


def _grid(factor: _Factor) -> Array:
    many = len(factor.words) or PLACES
    return (np.arange(many) + 0.5) / many


def _share(factor: _Factor, draws: Array) -> Share:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Share(decision=factor.name, share=float(draws.mean()), low=float(low), high=float(high))


def _isolated(factor: _Factor, draws: Array) -> list[Isolated]:
    """The standing at each place, all else averaged out: [draws, places]."""
    ends = np.quantile(draws, [0.025, 0.975], axis=0)
    values: Sequence[Any] = factor.words
    if not values and factor.values:
        values = [float(v) for v in np.quantile(factor.values, _grid(factor))]
    return [
        Isolated(
            place=float(place),
            value=values[k] if values else None,
            mean=float(draws[:, k].mean()),
            low=float(ends[0, k]),
            high=float(ends[1, k]),
        )
        for k, place in enumerate(_grid(factor))
    ]
