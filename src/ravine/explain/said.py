"""Each key of a recipe in words, by the group that it belongs to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ravine import noise, penalties
from ravine.augment.spec import catalogue as steps
from ravine.blocks.norms import NORMS
from ravine.initial import catalogue as initialisers
from ravine.initial import from_spec as initial_from_spec
from ravine.losses import FORMS
from ravine.models import NORM, WORDS
from ravine.noise.part import WORDS as PLACES
from ravine.problems.preprocess import STEPS
from ravine.problems.sampling import SAMPLINGS
from ravine.recipe import Recipe
from ravine.rules.rule import hypers, name_of, values
from ravine.rules.spec import combinators
from ravine.schedules import catalogue as schedules
from ravine.solvers.spec import follows_schedule

Say: TypeAlias = Callable[[Recipe], str]


def first(kind: Any) -> str:
    """The first sentence of what a class says of itself."""
    line = inspect.cleandoc(kind.__doc__ or "").splitlines()[0].replace("``", "")
    return line.split(" (")[0].rstrip(".")


def told(spec: Mapping[str, Any]) -> str:
    """A part's settings: "strength 0.0001, on *.weight"."""
    return ", ".join(f"{name} {_number(value)}" for name, value in spec.items() if name != "name")


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value.get('name', '')}{_in(told(value))}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _problem(r: Recipe) -> str:
    target = f", to predict {r.target}" if r.target else ""
    whole = f", groups of one {r.groups} never divided" if r.groups else ""
    return f"{r.problem}{target}, split into training, validation and test part by the split seed {r.split_seed}{whole}"


def _preprocess(r: Recipe) -> str:
    if r.preprocess is None:
        return "inputs as they are loaded: standardised by the training part"
    return "; ".join(f"{name}: {STEPS[name]}" for name in r.preprocess) or "inputs raw"


def _augment(r: Recipe) -> str:
    if not r.augment:
        return "samples are the same in every epoch"
    kinds = steps()
    parts = [f"{s['name']}{_in(told(s))}: {_lower(first(kinds[s['name']]))}" for s in r.augment]
    return "each training sample changed anew in every epoch: " + "; ".join(parts)


def _in(text: str) -> str:
    return f" ({text})" if text else ""


def _reading(r: Recipe) -> str:
    how = {
        True: "are read when they are needed",
        False: "are kept in memory",
        None: "are kept in memory if it has room",
    }
    return f"samples {how[r.stream]}; at a damaged image {r.bad_images}"


def _batch(r: Recipe) -> str:
    parts = f", each taken in {r.accumulate} parts" if r.accumulate > 1 else ""
    return f"minibatches of {r.batch} samples{parts}, {r.sampling}: {SAMPLINGS[r.sampling]}"


def _model(r: Recipe) -> str:
    kind = r.model.partition(":")[0]
    return f"{r.model}: {WORDS[kind].partition(':')[0]}" if kind in WORDS else f"{r.model}: the problem's own code"


def _norm(r: Recipe) -> str:
    word = NORM.get(r.model.partition(":")[0], "none") if r.norm == "auto" else r.norm
    name = word.partition(":")[0]
    usual = " (the model's usual one)" if r.norm == "auto" else ""
    place = "" if name == "none" else f", {r.norm_place} the nonlinearity"
    return f"{word}{usual}: {NORMS[name].split(' (')[0]}{place}"


def _init(r: Recipe) -> str:
    if r.init is None:
        return f"each layer's own draw, of the seed {r.seed}"
    made = initial_from_spec(r.init)
    return f"{made.name}: {first(initialisers()[made.name])}; of the seed {r.seed}"


def _transfer(r: Recipe) -> str:
    return told(r.transfer) if r.transfer else "nothing is taken from a file, nothing frozen"


def _loss(r: Recipe) -> str:
    name, _, rest = r.loss.partition(":")
    if name == "auto":
        return "cross-entropy for classes, squared error for numbers"
    return f"{name}{_in(rest)}: {_lower(first(FORMS[name]))}"


def _criterion(r: Recipe) -> str:
    return "validation and test by the loss itself" if r.criterion is None else f"validation and test by {r.criterion}"


def _targets(r: Recipe) -> str:
    if r.task_weights is None:
        return "one target, or several with the weights that it gives"
    return "several targets, whose weights are learned from their variances; measured by those that the target gives"


def _classes(r: Recipe) -> str:
    if r.class_weights is None:
        return "every class counts alike"
    over = "samples, in each target" if "," in (r.target or "") else r.weighted_mean
    return f"classes weighed: {r.class_weights}, the mean over {over}"


def _metrics(r: Recipe) -> str:
    beside = f"beside the loss: {', '.join(r.measured)}; " if r.measured else ""
    return f"{beside}the best point is that of the best {r.monitor.replace('_', 'ation ', 1)}"


def _penalty(r: Recipe) -> str:
    kinds = penalties.catalogue()
    parts = [f"{spec['name']} ({told(spec)}): {_lower(first(kinds[spec['name']]))}" for spec in r.penalty]
    return "; ".join(parts) or "no penalty, no constraint on weights"


def _noise(r: Recipe) -> str:
    kinds = noise.catalogue()
    parts: list[str] = []
    for spec in r.noise:
        kind = kinds[spec["name"]]
        on = str(spec.get("on", kind.__dataclass_fields__["on"].default))
        amount = told({name: value for name, value in spec.items() if name != "on"})
        place = {"input": "on the samples", "linear": "on every linear layer"}.get(on, PLACES.get(on, f"on {on}"))
        parts.append(f"{spec['name']} ({amount}) {place}: {_lower(first(kind))}")
    return "; ".join(parts) or "no noise but what the model's word says"


def _rule(r: Recipe) -> str:
    rule = r.make_rule()
    known = hypers(rule)
    numbers = [f"{n} {v:.4g}{'' if v != known[n].default else ' (default)'}" for n, v in values(rule).items()]
    outer = [first(combinators()[spec["name"]]) for spec in r.rule.get("with", []) if spec.get("name") in combinators()]
    around = f"; around it: {'; '.join(map(_lower, outer))}" if outer else ""
    return f"{name_of(rule)}: {', '.join(numbers) or 'no hyperparameters'}{around}"


def _schedule(r: Recipe) -> str:
    if not follows_schedule(r.make_rule()):
        return "none: the method measures its steps"
    parts = [f"{name}: {spec['name']}{_in(told(spec))}, {_lower(first(schedules()[spec['name']]))}"
             for name, spec in {**r.rule_schedules(), **r.schedule}.items()]  # fmt: skip
    plateau = f"; reduced on a plateau ({told(r.plateau)})" if r.plateau is not None else ""
    return ("; ".join(parts) or "every hyperparameter stays as it is") + plateau


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _precision(r: Recipe) -> str:
    return f"the pass through the model computes in {r.precision}"


def _epochs(r: Recipe) -> str:
    cut = f", in {r.snapshots} cycles whose last weights are kept" if r.snapshots else ""
    return f"{r.epochs} epoch{'' if r.epochs == 1 else 's'}{cut}"


def _patience(r: Recipe) -> str:
    if not r.patience:
        return "to the end; the best point on the way is what counts"
    least = f" by {r.min_delta:g}" if r.min_delta else ""
    return f"after {r.patience} measurements without a better one{least}"


GROUPS: Mapping[str, Mapping[str, tuple[Say, tuple[str, ...]]]] = {
    "Data": {
        "problem": (_problem, ("problem", "target", "groups", "split_seed")),
        "reading": (_reading, ("stream", "bad_images")),
        "inputs": (_preprocess, ("preprocess",)),
        "augmentation": (_augment, ("augment",)),
        "minibatches": (_batch, ("batch", "sampling", "accumulate")),
    },
    "Model": {
        "architecture": (_model, ("model",)),
        "nonlinearity": (lambda r: r.activation, ("activation",)),
        "norm": (_norm, ("norm", "norm_place")),
        "arithmetic": (_precision, ("precision",)),
    },
    "Initialisation": {"weights": (_init, ("init", "seed")), "transfer": (_transfer, ("transfer",))},
    "Loss": {
        "trained by": (_loss, ("loss",)),
        "measured by": (_criterion, ("criterion",)),
        "targets": (_targets, ("task_weights",)),
        "classes": (_classes, ("class_weights", "weighted_mean")),
        "metrics": (_metrics, ("metrics", "monitor")),
    },
    "What regularises": {"penalties": (_penalty, ("penalty",)), "noise": (_noise, ("noise",))},
    "Rule and schedule": {"rule": (_rule, ("rule",)), "schedule": (_schedule, ("schedule", "plateau"))},
    "Length": {"length": (_epochs, ("epochs", "snapshots")), "stops": (_patience, ("patience", "min_delta"))},
}
