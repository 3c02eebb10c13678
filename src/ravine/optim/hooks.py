"""Torch's wrapper around a step: its hooks, and its line in a profile where one is taken."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar, cast

import torch
from torch.optim.optimizer import Optimizer

Step = TypeVar("Step", bound=Callable[..., Any])

_is_profiled: Callable[[], bool] = attrgetter("_profiler_enabled")(torch.autograd)
_before: Mapping[int, Any] = vars(sys.modules[Optimizer.__module__])["_global_optimizer_pre_hooks"]
_after: Mapping[int, Any] = vars(sys.modules[Optimizer.__module__])["_global_optimizer_post_hooks"]
_own = attrgetter("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def hooked(step: Step) -> Step:
    """The step inside torch's own wrapper, which costs as much as a small step, only where it has something to do."""
    wrapped = Optimizer.profile_hook_step(step)

    @functools.wraps(step)
    def call(self: Optimizer, *args: Any, **options: Any) -> Any:
        before, after = _own(self)
        has_work = before or after or _before or _after or _is_profiled()
        if has_work and getattr(type(self).step, "__wrapped__", None) is step:  # torch wraps a subclass's own step
            return wrapped(self, *args, **options)
        return step(self, *args, **options)

    call.__dict__["hooked"] = True  # which tells torch that it need not wrap it again
    return cast(Step, call)
