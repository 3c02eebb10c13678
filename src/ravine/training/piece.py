"""How many samples are evaluated at a time: as many as keep a model's activations near the processor's caches."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ravine.engines.lane import Model
from ravine.engines.precision import in_type, type_of
from ravine.problems.problem import Part

NUMBERS = 2**20  # of the widest activation, of all lanes: larger ones leave the caches of a core
MANY = 2**21  # the same for each of several threads, which meet at the end of every operation: fewer, larger pieces
OUTPUTS = 2**17  # of all lanes
LEAST, FEW = 64, 32  # samples at least: by the outputs, and by the activations
_known: WeakKeyDictionary[Model, int] = WeakKeyDictionary()


def rows_of(lanes: int, outputs: int, width: int = 0, threads: int | None = None) -> int:
    """Samples at a time for so many lanes, whose model's widest activation has ``width`` numbers a sample, if known.

    >>> rows_of(1, 10), rows_of(1, 10, 12544, threads=1), rows_of(8, 10, 12544, threads=1)
    (13107, 83, 32)
    """
    rows = max(LEAST, OUTPUTS // (lanes * max(1, outputs)))
    threads = threads or torch.get_num_threads()
    numbers = NUMBERS if threads == 1 else MANY * threads
    return min(rows, max(FEW, numbers // (lanes * width))) if width else rows


def width_of(module: nn.Module, part: Part) -> int:
    """The numbers a sample of the widest activation, in evaluation mode; 0 of a part without samples.

    Two samples go through the module, which is left in evaluation mode, and torch's generator as it was.
    """
    few = part.take(torch.arange(min(2, len(part)))).x
    if not len(few):
        return 0
    seen = [0]

    def see(module: nn.Module, given: tuple[object, ...], out: object) -> None:
        old = {one.untyped_storage().data_ptr() for one in given if isinstance(one, Tensor)}
        each = [one for one in (out if isinstance(out, tuple | list) else (out,)) if isinstance(one, Tensor)]
        new = [one for one in each if one.untyped_storage().data_ptr() not in old]  # a view takes no memory
        seen.extend(one.numel() // len(few) for one in new)

    handles = [child.register_forward_hook(see) for child in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.eval()(in_type(few, type_of(module)))
    finally:
        for handle in handles:
            handle.remove()
    return max(seen)


def width_in_lanes(model: Model, part: Part) -> int:
    """The same of a lane's model, looked at once."""
    if model not in _known:
        _known[model] = width_of(model.module, part)
    return _known[model]
