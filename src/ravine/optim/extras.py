"""What every optimizer here takes beyond torch's own arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, TypedDict

import torch

from ravine.optim.finite import Policy
from ravine.optim.stepper import Engine

Decay: TypeAlias = Literal["coupled", "coupled-full", "decoupled", "independent"]


class Extras(TypedDict, total=False):
    """What every optimizer here takes beyond torch's own arguments.

    All but ``engine``, ``nonfinite`` and ``noise_seed`` may stand in a parameter group too.
    """

    dialect: str  # another form of the same family, by name: "eps-inside"
    decay: Decay  # how weight_decay acts; "coupled" is torch's
    clip_value: float  # largest entry of the gradient
    clip_norm: float  # largest norm of one tensor's gradient
    clip_global_norm: float  # largest norm of the whole gradient, of all groups
    gradient_noise: float  # variance of normal noise on the gradient at the first step; it fades
    centralize: bool  # the gradient of each row of a matrix made to have mean zero
    cautious: bool  # entries of the step that point along the gradient stay
    lookahead: float  # slow weights meet the weights halfway, every so many steps
    sam: float  # the gradient is taken this far uphill; step(closure), which is called twice
    asam: float  # as sam, the way uphill measured relative to the weights
    ema: float  # keeps an average of the weights, of which this share stays at each step; `optim.average` reads it
    state_dtype: torch.dtype  # torch.bfloat16: slots in half the memory, rounded at random; not the average
    swa_start: float  # keeps the equal average of the weights after each later step; read as that of ``ema``
    schedules: Mapping[str, Callable[[float], float]]  # by hyperparameter of the rule; the first step has time 0
    engine: Engine
    noise_seed: int  # keys the gradient noise; 0 if not given
    nonfinite: Policy  # a gradient with NaN or Inf: raise (nothing changes), skip the step, zero the entry, ignore


class Capturable(Extras, total=False):
    """The same for the classes whose namesakes in torch.optim have no ``capturable``."""

    capturable: bool  # a CUDA graph can capture the step: nothing is kept or decided on the host
