"""Preprocessing by name: centre, scale, standardise, whiten; fitted on the training part, applied to all three."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ravine.errors import UserError, unknown
from ravine.problems.inputs import Inputs
from ravine.problems.problem import Part, Problem
from ravine.problems.scale import statistics
from ravine.problems.stream import Stream
from ravine.solvers.whitening import whiten

FILE = "preprocess.safetensors"
STEPS = {
    "centre": "subtract the mean of each column of a table, or of each channel of images",
    "scale": "divide by the standard deviation, without centring",
    "standardise": "both: what happens where nothing is said",
    "whiten-pca": "turn to the principal axes, each with variance one: a table's columns or all pixels, as a vector",
    "whiten-zca": "whiten, then turn back to the columns or pixels, so that images stay images",
}
WHITENINGS = ("whiten-pca", "whiten-zca")


def check_names(names: Sequence[str]) -> None:
    """Raise one sentence on a step that does not exist, or that another one makes idle."""
    for name in names:
        if name not in STEPS:
            raise unknown("step of preprocess", name, STEPS)
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"preprocess: {name} stands there twice, where the second one does nothing")
        if name in WHITENINGS and place < len(names) - 1:
            raise UserError(f"preprocess: {names[place + 1]} does nothing after {name}, which gives mean 0, variance 1")
        if name == "centre" and any(w in names for w in WHITENINGS):
            raise UserError("preprocess: whitening centres by itself, so centre does nothing: leave it out")
    if "standardise" in names and {"centre", "scale"} & set(names):
        raise UserError("preprocess: standardise centres and scales, so centre or scale beside it does nothing")


def preprocessed(problem: Problem, names: Sequence[str] | None) -> Problem:
    """The problem with its inputs preprocessed by these steps; None leaves it as it is, and [] gives raw inputs.

    A loaded problem is standardised. The steps stand in place of that: what was done is undone in the same product,
    so that nothing is scaled twice. Statistics are those of the training part.
    """
    if names is None:
        return problem
    check_names(names)
    now = problem.inputs
    if now is None or now.matrix is not None:
        if now is not None and now.names == tuple(names):
            return problem
        raise UserError(f"preprocess: {problem.name} brings inputs that ravine has not standardised: leave it out")
    if now.names == tuple(names):
        return problem
    made = _scaled(problem, now, tuple(names))
    return _whitened(made, names[-1]) if names and names[-1] in WHITENINGS else made


def _scaled(problem: Problem, now: Inputs, names: tuple[str, ...]) -> Problem:
    """The problem with everything but whitening done."""
    mean, factor = _statistics(problem, now)
    centres = "centre" in names or "standardise" in names
    shift = mean if centres else torch.zeros_like(mean)
    factor = factor if "scale" in names or "standardise" in names else torch.ones_like(factor)
    inputs = replace(now, names=names, shift=shift, factor=factor)
    said = (*problem.understood, _words(names))
    back = torch.where(now.factor == 0, 0.0, 1 / now.factor)
    slope, start = back * factor, (now.shift - shift) * factor

    def turned(part: Part) -> Part:
        if isinstance(part.source, Stream):
            return part.source.rescaled(part, inputs)
        kind = torch.float64 if part.x.dim() == 2 else torch.float32
        return replace(part, x=(part.x.to(kind) * slope.to(kind) + start.to(kind)).float())

    parts = {part: turned(getattr(problem, part)) for part in ("train", "valid", "test")}
    return replace(problem, inputs=inputs, **parts, understood=said)


def _statistics(problem: Problem, now: Inputs) -> tuple[Tensor, Tensor]:
    """Mean and 1 / std of the raw training part; read off where it is standardised."""
    if now.names == ("standardise",):
        return now.shift, now.factor
    if problem.train.streamed:
        raise UserError("preprocess: a streamed problem is preprocessed once: load it anew")
    mean, factor = statistics(problem.train.x)
    back = torch.where(now.factor == 0, 0.0, 1 / now.factor)
    return now.shift + mean.double() * back, factor.double() * now.factor


def _whitened(problem: Problem, name: str) -> Problem:
    """The problem with its inputs, scaled before, whitened."""
    if problem.train.streamed:
        raise UserError(f"preprocess: {name} needs the whole training part in memory, and it is streamed: standardise")
    images = len(problem.shape) > 1
    if images and name == "whiten-pca":
        raise UserError("preprocess: whiten-pca makes vectors of images, which have no places: use whiten-zca")
    flat = problem.train.x.flatten(1).double()
    if images and len(flat) <= flat.shape[1]:
        raise UserError(
            f"preprocess: whitening {flat.shape[1]} pixels needs more than the {len(flat)} training images: "
            "give more rows, or standardise"
        )
    fitted = whiten(flat, zca=name == "whiten-zca")
    assert problem.inputs is not None
    inputs = replace(problem.inputs, mean=fitted.mean.float(), matrix=fitted.matrix.float())
    made = {part: getattr(problem, part) for part in ("train", "valid", "test")}
    return replace(problem, inputs=inputs, **{n: replace(part, x=inputs.whitened(part.x)) for n, part in made.items()})


def _words(names: tuple[str, ...]) -> str:
    return f"inputs: {', '.join(names)}" if names else "inputs raw"


def packed(inputs: Inputs) -> bytes:
    """The fitted preprocessing as a safetensors file, its names and range as JSON in the metadata."""
    tensors = {"shift": inputs.shift, "factor": inputs.factor, "mean": inputs.mean, "matrix": inputs.matrix}
    facts = {"names": list(inputs.names), "low": inputs.low, "high": inputs.high}
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    return save(kept, metadata={"preprocess": json.dumps(facts)})


def load_inputs(path: str | Path) -> Inputs:
    """The preprocessing that a run left in its folder, ready for new samples: ``model(load_inputs(path)(raw))``."""
    path = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["preprocess"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Inputs(names=tuple(facts.pop("names")), **facts, **tensors)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a training run leaves it in its folder") from None
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: holds no preprocessing ({error})") from error
