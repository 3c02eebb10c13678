"""Models by short words: "mlp:128,128", "resnet:16,32", "lstm:64", for any problem's shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from ravine.blocks import ACTIVATIONS as ACTIVATIONS
from ravine.blocks import LSTM, PLACES, RNN, Autoencoder, activation_of, recurrent, resmlp, resnet, transformer
from ravine.blocks import cnn as cnn
from ravine.blocks import mlp as mlp
from ravine.blocks.norms import Data, check_norm
from ravine.blocks.residual import most_blocks
from ravine.errors import UserError, unknown
from ravine.losses import loss_name, loss_of
from ravine.problems.blame import blame
from ravine.problems.problem import Problem

WORDS = {
    "softmax": "a linear layer; with cross-entropy, softmax regression",
    "linear": "the same linear layer, under the name used for regression",
    "mlp": "fully connected layers: mlp:128,128 (a third word sets dropout: mlp:128,128:0.5)",
    "cnn": "3 x 3 convolutions, each followed by max-pooling, then a linear layer: cnn:16,32 (images only)",
    "resmlp": "residual blocks x + f(Wx + b) of one width: resmlp:64x8 is 8 of width 64",
    "resnet": "a residual CNN, a block of two convolutions for each width: resnet:16,32 (images only)",
    "autoencoder": "down to a linear code and back: autoencoder:32,2, trained with the input as its target",
    "rnn": "a simple recurrent net over features, or rows of an image: rnn:64, or rnn:64x2 for two layers",
    "lstm": "an LSTM over features, or rows of an image: lstm:64, or lstm:64x2 for two layers",
    "transformer": "an encoder over features, or rows of an image: transformer:64x2 is 2 layers of width 64",
}
DEFAULTS = {
    "mlp": "128,128", "cnn": "16,32", "resnet": "16,32", "autoencoder": "32,2", "resmlp": "64x4", "rnn": "64x1",
    "lstm": "64x1", "transformer": "64x2",
}  # fmt: skip
IMAGES = ("cnn", "resnet")
MOST = 10_000_000  # wide; a slip of the keys, rather than a model
DEEP = ("resmlp", "rnn", "lstm", "transformer")  # one width, so many layers
NORM = {"resnet": "batch", "transformer": "layer"}  # what "auto" stands for; none elsewhere
DATA: dict[str, Data] = {
    "mlp": "features", "resmlp": "features", "autoencoder": "features", "cnn": "images", "resnet": "images",
    "transformer": "sequences",
}  # fmt: skip


@dataclass(frozen=True)
class _Word:
    """A model's word taken apart."""

    text: str
    kind: str
    widths: list[int]
    depth: int
    dropout: float


def model_factory(
    word: str,
    shape: Sequence[int],
    outputs: int,
    activation: str = "relu",
    norm: str = "auto",
    norm_place: str = "before",
) -> Callable[[], nn.Module]:
    """A factory of the model that the word names, for samples of ``shape`` and ``outputs`` outputs.

    ``norm`` stands ``norm_place`` ("before" or "after") the nonlinearity, or in a transformer the sublayer; "auto" is
    batch for a resnet, layer for a transformer, and none elsewhere. Raises a `UserError` for an unknown word,
    activation or norm, for a CNN on data that are not images, and for a part that the model has no place for.
    """
    act = activation_of(activation)
    read = _read(word)
    norm = NORM.get(read.kind, "none") if norm == "auto" else norm
    _check_parts(read, activation, norm, norm_place)
    _check_shape(read, shape)
    made = _factory(read, shape, outputs, (act, read.dropout, norm, norm_place))
    with torch.random.fork_rng(devices=[]):
        try:
            made()  # groups that do not divide a width are found here
        except RuntimeError as error:
            if "allocate memory" not in str(error):
                raise
            raise UserError(f"model {word}: its weights do not fit into memory; give smaller widths") from error
    return made


Parts: TypeAlias = tuple[Callable[[], nn.Module], float, str, str]  # activation, dropout, norm, its place


def _factory(read: _Word, shape: Sequence[int], outputs: int, parts: Parts) -> Callable[[], nn.Module]:
    size, w, depth = math.prod(shape), read.widths, read.depth
    act, dropout, *_ = parts
    match read.kind:
        case "mlp":
            return lambda: mlp([size, *w, outputs], *parts)
        case "cnn":
            return lambda: cnn(shape, w, outputs, *parts)
        case "resnet":
            return lambda: resnet(shape, w, outputs, *parts)
        case "resmlp":
            return lambda: resmlp((size, w[0], outputs), depth, *parts)
        case "autoencoder":
            return lambda: Autoencoder([size, *w], outputs, *parts)
        case "transformer":
            return lambda: transformer(shape, w[0], depth, outputs, *parts)
        case "rnn":
            return lambda: recurrent(lambda a, b: RNN(a, b, act), shape, w[0], depth, outputs, dropout)
        case "lstm":
            return lambda: recurrent(LSTM, shape, w[0], depth, outputs, dropout)
        case _:
            return lambda: nn.Sequential(nn.Flatten(), nn.Linear(size, outputs))


def _read(word: str) -> _Word:
    kind, colon, rest = word.partition(":")
    if kind not in WORDS:
        raise unknown("model", kind, WORDS)
    sizes, _, rate = rest.partition(":")
    default = DEFAULTS.get(kind, "")
    if colon and not rest:
        raise UserError(f"model {word} ends in a colon: write {kind}{f', or {kind}:{default}' if default else ''}")
    sizes, deep = sizes or default, kind in DEEP
    example = f"{kind}:{default}"
    try:
        wide, _, many = sizes.partition("x") if deep else (sizes, "", "")
        widths = [int(w) for w in wide.split(",")] if wide else []
        depth = int(many) if many else 1
        dropout = float(rate) if rate else 0.0
    except ValueError:
        raise UserError(f"model {word}: expected whole numbers as in {example} or {example}:0.5") from None
    bad = any(w < 1 for w in widths) or depth < 1 or (deep and len(widths) != 1)
    if max([*widths, depth]) > MOST:
        raise UserError(f"model {word}: {max([*widths, depth])} is too large; widths and layers go up to {MOST:,}")
    if (rest and not default) or bad or not 0 <= dropout < 1:
        raise UserError(f"model {word}: widths must be 1 or more and dropout in [0, 1); {kind} is {WORDS[kind]}")
    return _Word(word, kind, widths, depth, dropout)


def _check_parts(read: _Word, activation: str, norm: str, place: str) -> None:
    """Raise where a part is unknown, or would change nothing."""
    if place not in PLACES:
        raise unknown("place of a norm", place, PLACES)
    check_norm(norm, DATA.get(read.kind, "images"))
    if read.kind not in DATA and norm != "none":
        raise UserError(f"model {read.text}: {read.kind} has no place for norm {norm}; leave it out")
    if read.kind == "lstm" and activation not in ("relu", "tanh"):
        raise UserError(f"model {read.text}: an LSTM has sigmoid gates and tanh of its own; leave activation out")


def _check_shape(read: _Word, shape: Sequence[int]) -> None:
    if read.kind not in IMAGES:
        return
    if len(shape) != 3:
        raise UserError(
            f"model {read.text}: a CNN needs images, but a sample has shape {tuple(shape)}; use mlp:128,128"
        )
    if read.kind == "cnn" and min(shape[1:]) >> len(read.widths) == 0:
        raise UserError(
            f"model {read.text}: {len(read.widths)} poolings leave nothing of {shape[1]}x{shape[2]} images; "
            f"use at most {int(math.log2(min(shape[1:])))}"
        )
    if read.kind == "resnet" and len(read.widths) > most_blocks(shape):
        raise UserError(
            f"model {read.text}: each block but the first halves {shape[1]}x{shape[2]} images; "
            f"use at most {most_blocks(shape)} widths"
        )


def count(model: nn.Module) -> int:
    """The number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def probe(model: Callable[[], nn.Module], problem: Problem, name: str) -> None:
    """Check one draw of the model on two samples: it must train and, for a loss of ours, give the outputs it needs."""
    loss = loss_of(problem)
    first = problem.augmented(torch.arange(min(2, len(problem.train))), 0, 0)  # labels as they will be in training
    x, y = first.x, first.y
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            drawn: object = model()
        except Exception as error:
            raise blame(error, f"model {name}") from error
        module = _trainable(drawn, name)
        try:
            out = module.train()(x)
            module.eval()(x)
        except Exception as error:
            raise blame(error, f"model {name}: a batch of shape {tuple(x.shape)}") from error
    _check_output(out, problem, name)
    try:
        value = loss(out, y)
        value.backward()
    except Exception as error:
        shapes = f"outputs {tuple(out.shape)} and target {tuple(y.shape)}"
        raise blame(error, f"loss {loss_name(problem)} of {shapes}") from error


def _trainable(drawn: object, name: str) -> nn.Module:
    if not isinstance(drawn, nn.Module):
        raise UserError(f"model {name}: it makes a {type(drawn).__name__}; give a function that makes an nn.Module")
    parameters = list(drawn.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        raise UserError(f"model {name}: its lazy layers have no sizes yet; give them sizes, as in nn.Linear(64, 10)")
    if not any(p.requires_grad for p in parameters):
        raise UserError(f"model {name}: it has no parameters to train")
    return drawn


def _check_output(out: object, problem: Problem, name: str) -> None:
    if not isinstance(out, torch.Tensor):
        raise UserError(f"model {name}: it gives a {type(out).__name__}, but its output must be one tensor")
    need = (min(2, len(problem.train)), problem.outputs)
    if isinstance(problem.loss, str) and tuple(out.shape) != need:
        raise UserError(f"model {name}: for 2 samples its output has shape {tuple(out.shape)}, but needed is {need}")
