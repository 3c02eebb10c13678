"""The model that a recipe describes: built, its weights drawn or transferred, with its noise and its penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ravine.engines.lane import Model
from ravine.engines.precision import Precision, in_type
from ravine.errors import UserError
from ravine.initial import Initialised
from ravine.losses import Form
from ravine.losses.learned import weighing
from ravine.models import model_factory
from ravine.noise import Noised, noise_from_spec
from ravine.penalties import Bound, check_activations, part_from_spec
from ravine.problems.problem import Problem
from ravine.randomness import order
from ravine.transfer.spec import Transfer, Transferred

LOOKED_AT = 256  # training samples that an initialiser which looks at data sees


class Design(Protocol):
    """What a recipe and a race's spec say of the model."""

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def activation(self) -> str: ...  # noqa: D102
    @property
    def norm(self) -> str: ...  # noqa: D102
    @property
    def norm_place(self) -> str: ...  # noqa: D102
    @property
    def init(self) -> str | dict[str, Any] | None: ...  # noqa: D102
    @property
    def transfer(self) -> dict[str, Any] | None: ...  # noqa: D102
    @property
    def noise(self) -> list[dict[str, Any]]: ...  # noqa: D102


def model_for(design: Design, problem: Problem) -> Callable[[], nn.Module]:
    """The factory of a recipe's model, its weights drawn or transferred, with noise; a seed makes the same anywhere."""
    factory = model_of(design.model, design.activation, problem, design.norm, design.norm_place)
    if design.init is not None:
        sight = order(0, 0, len(problem.train))[:LOOKED_AT]
        factory = Initialised(factory, design.init, problem.train.take(sight).x)
    if design.transfer is not None:
        factory = Transferred(factory, Transfer.of(design.transfer))
    noises = [noise_from_spec(spec) for spec in design.noise]
    return weighing(Noised(factory, noises) if noises else factory, problem)


def model_of(
    word: str, activation: str, problem: Problem, norm: str = "auto", norm_place: str = "before"
) -> Callable[[], nn.Module]:
    """The factory that a recipe's word names: "own" is the one that came with the problem."""
    if word != "own":
        return model_factory(word, problem.shape, problem.outputs, activation, norm, norm_place)
    if problem.model is None:
        raise UserError(f'model "own": {problem.name} brings no model; give a word such as mlp:128,128')
    if norm != "auto" or norm_place != "before":
        raise UserError('model "own" has the norms that its code gives it: leave norm and norm_place out')
    return problem.model


def penalised(
    factory: Callable[[], nn.Module],
    penalty: Sequence[Mapping[str, Any]],
    problem: Problem,
    precision: Precision | None = None,
    form: Form | None = None,
    number: str = "",
) -> Model:
    """The model with the penalties and projections of its runs; a `UserError` where they do not fit it.

    ``form`` is the loss of the data where lanes may differ in its ``number``.
    """
    parts = [part_from_spec(spec) for spec in penalty]
    if not parts and form is None:
        return Model(factory, precision=precision)
    model = Model(factory, partial(Bound, parts, form=form, number=number), precision)
    few = problem.train.take(torch.arange(min(64, len(problem.train)))).x
    check_activations(parts, model.module, in_type(few, model.dtype))
    return model


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and buffers by name, contiguous, sharing no memory."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in module.state_dict().items()}
