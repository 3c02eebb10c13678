"""What a model does in a step as a recorded program: what torch did once, done again without asking it how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ravine.engines.recording import CannotRecord, Recording, record

Work: TypeAlias = Callable[..., Sequence[Tensor]]  # of tensors, some of which it may change in place

PROOFS = 2  # calls that are done both ways before the recording is trusted
FAILURES = (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError, CannotRecord)


@dataclass
class _Form:
    """What is known of one shape of call."""

    calls: int = 0
    recording: Recording | None = None
    proofs: int = 0


class Programs:
    """A function of tensors, recorded for every shape that recurs.

    A recording is taken over only after it gave, on different tensors, the bits that torch gives. Work that
    ``is_repeatable`` is not, or that cannot be recorded, is called as it is; so are the first ``warm`` calls of a shape.
    """

    def __init__(self, work: Work, is_repeatable: bool, warm: int = 2) -> None:
        self._work, self._warm = work, warm
        self.records = is_repeatable
        self._forms: dict[Any, _Form] = {}

    @property
    def is_settled(self) -> bool:
        """Whether every shape seen so far runs as it will from now on."""
        return not self.records or all(form.proofs == PROOFS for form in self._forms.values())

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        """What the work returns, none of which autograd follows."""
        if not self.records:
            return self._work(*given)
        form = self._forms.setdefault(tuple((t.shape, t.stride(), t.dtype) for t in given), _Form())
        if form.recording and form.proofs == PROOFS:
            with torch.no_grad():
                return form.recording.work(*given)
        form.calls += 1
        return self._work(*given) if form.calls <= self._warm else self._prove(form, given)

    def _prove(self, form: _Form, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """The work itself, with its recording made or proved beside it on copies of all that it might change."""
        copies = [t.clone() for t in given]
        got: Sequence[Tensor] | None = None
        try:
            with _one_at_a_time, torch.random.fork_rng(devices=[]):
                if form.recording is None:
                    form.recording = record(self._work, copies)
                else:
                    with torch.no_grad():
                        got = form.recording.work(*copies)
        except FAILURES:
            self.records = False
        want = self._work(*given)
        if self.records and got is not None:
            self.records = all(_equal(a, b) for a, b in zip((*got, *copies), (*want, *given), strict=True))
            form.proofs += 1
        return want


_one_at_a_time = threading.Lock()  # there is one state of torch's generator to put back


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
