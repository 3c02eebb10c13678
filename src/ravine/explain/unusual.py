"""What in a recipe is allowed, has its effect, and is far from what most do."""

from __future__ import annotations

from collections.abc import Iterator

from ravine.losses import form_of
from ravine.models import NORM
from ravine.recipe import Recipe
from ravine.rules.rule import hypers, values

RECTIFIERS = ("relu", "leaky-relu", "prelu", "elu", "selu", "gelu", "swish", "silu")
FEW = 8  # samples from which statistics of a minibatch are of use
MOST_DROPPED = 0.6
MOST_SMOOTHED = 0.2


def unusual(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The key and a sentence for each."""
    yield from _rule(recipe)
    yield from _noise(recipe)
    yield from _initial(recipe)
    norm = NORM.get(recipe.model.partition(":")[0], "none") if recipe.norm == "auto" else recipe.norm
    part = recipe.batch // recipe.accumulate
    if norm == "batch" and part < FEW:
        yield "norm", f"batch normalisation over {part} samples is mostly noise; group or layer sees one sample alone"
    loss = None if recipe.loss == "auto" else form_of(recipe.loss)
    smoothed = getattr(loss, "label_smoothing", None) or getattr(loss, "smoothing_to_others", None) or 0.0
    if smoothed > MOST_SMOOTHED:
        yield (
            "loss",
            f"labels are smoothed by {smoothed:g}; 0.1 is usual, and more makes right answers unsure",
        )
    decays = [name for name in ("decay", "weight_decay") if values(recipe.make_rule()).get(name)]
    shrinks = [spec["name"] for spec in recipe.penalty if str(spec["name"]).startswith("l2")]
    if decays and shrinks:
        yield "penalty", f"{shrinks[0]} and the rule's {decays[0]} both pull weights to 0"


def _rule(recipe: Recipe) -> Iterator[tuple[str, str]]:
    rule = recipe.make_rule()
    for name, declared in hypers(rule).items():
        value, search = values(rule)[name], declared.search
        if search is not None and not search.low <= value <= search.high:
            yield "rule", f"{name} {value:g} lies outside of {search.low:g} to {search.high:g}, where most do well"


def _noise(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for noise in recipe.make_noises():
        if noise.amount == "drop" and noise.number > MOST_DROPPED:
            yield "noise", f"{noise.name} drops {100 * noise.number:.3g} %; 10 to 50 % is usual, 20 % of inputs"
        if noise.amount == "std" and noise.on == "input" and noise.number > 1:
            yield "noise", f"{noise.name} of deviation {noise.number:g} is more than the standardised inputs' own"


def _initial(recipe: Recipe) -> Iterator[tuple[str, str]]:
    name = recipe.init.get("name") if isinstance(recipe.init, dict) else (recipe.init or "").partition(":")[0]
    act = recipe.activation.partition(":")[0]
    if name in ("he", "kaiming") and act in ("tanh", "sigmoid"):
        yield "init", f"{name} makes up for a rectifier, which {act} is not: signals grow; xavier is for {act}"
    if name in ("xavier", "glorot", "lecun") and act in RECTIFIERS:
        yield "init", f"{name} is for nonlinearities without a dead half: with {act} signals shrink; he is for it"
