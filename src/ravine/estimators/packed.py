"""A network as plain values: facts in JSON, numbers in safetensors; built again only where everything fits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ravine.engines.noise import with_keyed_noise
from ravine.errors import UserError
from ravine.estimators.network import Design, Network
from ravine.models import model_factory
from ravine.noise import Noised, noise_from_spec
from ravine.problems.encode import Encoder
from ravine.problems.inputs import Inputs
from ravine.types import Task

WEIGHT = "module/"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Columns(_Strict):
    """An `Encoder` as plain values."""

    medians: dict[str, float]
    marked: list[str]
    words: dict[str, list[str]]
    gaps: list[str]


class Scaling(_Strict):
    """What of `Inputs` is no tensor."""

    names: list[str]
    low: float
    high: float


class Facts(_Strict):
    """What of a `Network` is no tensor."""

    model: str
    activation: str
    norm: str
    norm_place: str
    noise: list[dict[str, Any]]
    task: Task
    shape: list[int]
    outputs: int
    inputs: Scaling | None
    columns: Columns | None
    names: list[str]
    centre: list[float]
    scale: list[float]


def packed(network: Network) -> tuple[str, bytes]:
    """The facts as JSON and the numbers as a safetensors file, in the types that they have."""
    narrow = network.design.model != "own"  # trained in float32, so nothing is lost
    tensors = {
        f"{WEIGHT}{name}": (x.float() if narrow and x.dtype == torch.float64 else x).detach().contiguous()
        for name, x in network.module.state_dict().items()
    }
    scaling = None
    if network.inputs is not None:
        scaling = Scaling(names=list(network.inputs.names), low=network.inputs.low, high=network.inputs.high)
        found = {name: getattr(network.inputs, name) for name in ("shift", "factor", "mean", "matrix")}
        tensors |= {f"inputs/{name}": x.contiguous() for name, x in found.items() if x is not None}
    encoder, design = network.columns, network.design
    columns = encoder and Columns(
        medians=encoder.medians, marked=encoder.marked, words=encoder.words, gaps=sorted(encoder.gaps)
    )
    facts = Facts(
        model=design.model,
        activation=design.activation,
        norm=design.norm,
        norm_place=design.norm_place,
        noise=[dict(spec) for spec in design.noise],
        task=network.task,
        shape=list(network.shape),
        outputs=network.outputs,
        inputs=scaling,
        columns=columns,
        names=list(network.names),
        centre=list(network.centre),
        scale=list(network.scale),
    )
    return facts.model_dump_json(), save(tensors)


def unpacked(text: str, numbers: bytes, model: Callable[[], nn.Module] | None = None) -> Network:
    """The network again; ``model`` makes the module where it was the user's own. ValueError on what does not fit."""
    facts = Facts.model_validate_json(text)
    try:
        tensors = load(numbers)
    except SafetensorError as error:
        raise ValueError(f"the weights are no safetensors file ({error})") from error
    weights = {name.removeprefix(WEIGHT): x for name, x in tensors.items() if name.startswith(WEIGHT)}
    scaling = {name.removeprefix("inputs/"): x for name, x in tensors.items() if name.startswith("inputs/")}
    own = facts.inputs
    inputs = None if own is None else Inputs(tuple(own.names), low=own.low, high=own.high, **scaling)
    design = Design(facts.model, facts.activation, facts.norm, facts.norm_place, tuple(facts.noise))
    return Network(
        design,
        facts.task,
        tuple(facts.shape),
        facts.outputs,
        _module(facts, weights, model),
        inputs,
        _encoder(facts.columns),
        tuple(facts.names),
        tuple(facts.centre),
        tuple(facts.scale),
    )


def _encoder(columns: Columns | None) -> Encoder | None:
    if columns is None:
        return None
    return Encoder(dict(columns.medians), list(columns.marked), dict(columns.words), set(columns.gaps))


def _module(facts: Facts, weights: Mapping[str, Tensor], model: Callable[[], nn.Module] | None) -> nn.Module:
    """The module with these weights; its sizes are checked before it takes memory."""
    if facts.model == "own":
        if model is None:
            raise UserError("the model is code of your own: give the function that makes it, load(path, model=...)")
        module = with_keyed_noise(model())
    else:
        module = _built(facts, weights)
    first = next((x for x in weights.values() if x.is_floating_point()), None)
    module = module.to(first.dtype) if first is not None else module
    known = {name: tuple(x.shape) for name, x in module.state_dict().items()}
    if known != {name: tuple(x.shape) for name, x in weights.items()}:
        raise ValueError(f"the weights are not those of model {facts.model}")
    module.load_state_dict(dict(weights), strict=True)
    return module.requires_grad_(False).eval()


def _built(facts: Facts, weights: Mapping[str, Tensor]) -> nn.Module:
    most = sum(x.numel() for x in weights.values())
    largest = max([len(weights), *(size for x in weights.values() for size in x.shape)])
    if any(int(number) > largest for number in re.findall(r"\d+", facts.model.partition(".")[0])[:64]):
        raise ValueError(f"the weights are fewer than model {facts.model} has")
    if min(facts.shape, default=1) < 1 or facts.outputs < 1 or math.prod(facts.shape) * facts.outputs > 1 << 40:
        raise ValueError(f"no sample has shape {facts.shape}")
    with torch.device("meta"):  # no memory: a word may ask for any size
        factory = model_factory(facts.model, facts.shape, facts.outputs, facts.activation, facts.norm, facts.norm_place)
        sizes = sum(x.numel() for x in factory().parameters())
    if sizes > most:
        raise ValueError(f"the weights are fewer than model {facts.model} has")
    noises = [noise_from_spec(spec) for spec in facts.noise]
    with torch.random.fork_rng(devices=[]):
        made: nn.Module = Noised(factory, noises)() if noises else factory()
    return with_keyed_noise(made)
