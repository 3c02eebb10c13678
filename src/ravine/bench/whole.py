"""C3, C4: the whole update of a training loop, and state in half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import ravine.optim
from ravine.bench.common import interleaved, ratio, seconds
from ravine.bench.figure import Figure
from ravine.bench.shapes import parameters, resnet50, stepping

EMA, NORM = 0.999, 1.0


def clip_step_average(rounds: int) -> Iterator[Figure]:
    """C3: clip by the global norm, AdamW and an average of the weights."""
    own = ravine.optim.AdamW(parameters(resnet50()), clip_global_norm=NORM, ema=EMA).step
    seen = interleaved({"own": lambda: seconds(own), "torch": _by_torch()}, rounds)
    yield Figure("C3", "clip + AdamW + EMA, ResNet-50", "torch, fused", ratio(seen["torch"], seen["own"]), 2.0)


def _by_torch() -> Callable[[], float]:
    model = nn.ParameterList(parameters(resnet50()))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA))

    def work() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), NORM)
        optimizer.step()
        average.update_parameters(model)

    return lambda: seconds(work)


def half_state(rounds: int) -> Iterator[Figure]:
    """C4: the time of a step with bfloat16 state, as a share of that with float32 state."""
    kinds = (torch.bfloat16, None)
    steps = {kind: stepping(ravine.optim.Adam, resnet50(), state_dtype=kind, nonfinite="ignore") for kind in kinds}
    seen = interleaved({str(kind): lambda step=step: seconds(step) for kind, step in steps.items()}, rounds)
    share = ratio(seen[str(torch.bfloat16)], seen[str(None)])
    note = "without the check of the gradients; time only"
    yield Figure("C4", "Adam, bfloat16 state, ResNet-50", "float32 state", share, 0.8, at_least=False, note=note)
