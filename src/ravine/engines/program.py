"""What a model does in a step as a recorded program: what torch did once, done again without asking it how."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ravine.engines.recording import CannotRecord, Recording, record

Work: TypeAlias = Callable[..., Sequence[Tensor]]  # of tensors, some of which it may change in place

Kinds: TypeAlias = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...]  # shape, strides, type of each tensor

PROOFS = 2  # calls that are done both ways before the recording is trusted


@dataclass
class _Form:
    """What is known of one shape of call."""

    calls: int = 0
    recording: Recording | None = None
    proofs: int = 0

    @property
    def trusted(self) -> Recording | None:
        """The recording, where it has been proved."""
        return self.recording if self.proofs == PROOFS else None


class Programs:
    """A function of tensors, recorded for every shape that recurs.

    A recording is taken over only after it gave, on different tensors, the bits that torch gives. Work that is not
    repeatable, or that cannot be recorded, is called as it is; so are the first ``warm`` calls of a shape. The first
    ``fixed`` of the tensors are not changed in place, if the work is to be recorded.
    """

    def __init__(self, work: Work, is_repeatable: bool, fixed: int, warm: int = 2) -> None:
        self._work, self._fixed, self._warm = work, fixed, warm
        self.records = is_repeatable
        self._forms: dict[Kinds, _Form] = {}

    @property
    def is_settled(self) -> bool:
        """Whether every shape seen so far runs as it will from now on."""
        return not self.records or all(form.proofs == PROOFS for form in self._forms.values())

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        """What the work returns, none of which autograd follows."""
        return self._call(kinds_of(given), given) if self.records else self._work(*given)

    def on(self, first: Sequence[Tensor]) -> Work:
        """`__call__` on tensors that begin with these, all the ``fixed`` ones, which are looked at once."""
        assert len(first) == self._fixed
        known, begun = kinds_of(first), dict[int, list[Tensor]]()  # of each form

        def call(*rest: Tensor) -> Sequence[Tensor]:
            if not self.records:
                return self._work(*first, *rest)
            kinds = known + kinds_of(rest)
            form = self._forms.get(kinds)
            if form is None or (recording := form.trusted) is None:
                return self._call(kinds, (*first, *rest))
            with torch.no_grad():
                own = begun.get(id(form))
                if own is None:
                    own = begun[id(form)] = recording.begin(*first)
                return recording.rest(*own, *first, *rest)

        return call

    def _call(self, kinds: Kinds, given: Sequence[Tensor]) -> Sequence[Tensor]:
        form = self._forms.get(kinds)
        if form is None:
            form = self._forms[kinds] = _Form()
        if form.trusted is not None:
            with torch.no_grad():
                return form.trusted.work(*given)
        form.calls += 1
        if form.calls <= self._warm:
            return self._work(*given)
        return self._record(form, given) if form.recording is None else self._prove(form, form.recording, given)

    def _record(self, form: _Form, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """The work itself, watched."""
        versions = [t._version for t in given[: self._fixed]]  # pyright: ignore[reportPrivateUsage]
        try:
            form.recording, results = record(self._work, given, self._fixed)
        except CannotRecord as error:
            self.records = False
            return error.results
        if versions != [t._version for t in given[: self._fixed]]:  # pyright: ignore[reportPrivateUsage]
            self.records = False  # the model changes its own parameters, which a proof would do twice
        return results

    def _prove(self, form: _Form, recording: Recording, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """The work itself, after its recording was tried on copies of all that it might change."""
        copies = [*given[: self._fixed], *(t.clone() for t in given[self._fixed :])]
        try:
            with _one_at_a_time, torch.random.fork_rng(devices=[]), torch.no_grad():
                got = [_mark(t) for t in (*recording.work(*copies), *copies[self._fixed :])]
        except (RuntimeError, ValueError, TypeError, NotImplementedError, IndexError):
            got = []
        results = self._work(*given)
        self.records = got == [_mark(t) for t in (*results, *given[self._fixed :])]
        form.proofs += 1
        return results


def kinds_of(given: Sequence[Tensor]) -> Kinds:
    """What a recording depends on beside the numbers."""
    return tuple([(t.shape, t.stride(), t.dtype) for t in given])


_one_at_a_time = threading.Lock()  # there is one state of torch's generator to put back


def _mark(x: Tensor) -> tuple[Any, ...]:
    """What tells a tensor from another without keeping it."""
    bits = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return x.shape, x.dtype, zlib.crc32(bits.numpy().data)
