"""Augmentation of a batch: steps in order, drawn by (seed, epoch, sample), on the device where the batch is."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ravine.augment.geometry import Flip, FlipVertical
from ravine.augment.step import Geometric, Mixing, Pointwise, Step, per_image
from ravine.augment.warp import Drawn, warp
from ravine.errors import UserError
from ravine.randomness import key


class Rows(Protocol):
    """Samples that are read by their places: a tensor, or what stands for one that is not in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Tensor, /) -> Tensor: ...


class Pool(NamedTuple):
    """The whole training part: row i is the sample whose id is i."""

    x: Rows  # [samples, ...]
    y: Tensor  # int64 [samples] for classes, floats [samples] or [samples, outputs] for numbers


@dataclass(frozen=True)
class Augment:
    """Steps that change samples, each by a draw that depends on (seed, epoch, id of the sample) alone.

    So a sample is changed alike in any batch, any company and after any interruption. ``mean`` and ``std`` say how the
    inputs were standardised: x = (pixel - mean) / std with pixels in [0, 1], one number for all channels or one a
    channel, as tensors that broadcast with x; the default is that x are pixels.

    >>> from ravine.augment import make
    >>> augment = make("flip,crop:4")
    >>> x, ids = torch.rand(8, 3, 32, 32), torch.arange(8)
    >>> augment(x, ids, seed=0, epoch=3)[5:].equal(augment(x[5:], ids[5:], seed=0, epoch=3))
    True
    """

    steps: tuple[Step, ...]
    mean: Tensor | float = 0.0
    std: Tensor | float = 1.0

    def __call__(self, x: Tensor, ids: Tensor, seed: int = 0, epoch: int = 0) -> Tensor:
        """The changed samples, of x [n, ...] whose numbers in the training part are ``ids``, int64 [n]."""
        if self.mixing is not None:
            raise UserError(f"{self.mixing.name} changes labels too: call augment.labelled(x, y, ids, ..., pool=...)")
        self.check(tuple(x.shape[1:]))
        self._check_batch(x, ids)
        return self._changed(x, ids, seed, epoch)

    def labelled(
        self, x: Tensor, y: Tensor, ids: Tensor, seed: int = 0, epoch: int = 0, *, pool: Pool, classes: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The changed samples and their labels: shares [n, classes] where a step mixes them, as they came otherwise.

        The other sample of a mixture is drawn from ``pool``, not from the batch, and changed by the earlier steps with
        its own numbers; so it does not depend on the company either. ``classes``: 0 for numbers to predict.
        """
        self.check(tuple(x.shape[1:]))
        self._check_batch(x, ids)
        if self.mixing is None:
            return self._changed(x, ids, seed, epoch), y
        if not classes and not y.is_floating_point():
            raise UserError(f"augment {self.mixing.name}: labels are integers, so say how many classes there are")
        ids = ids.to(x.device)
        chosen, own = key(seed, "augment other", epoch), key(seed, "augment", epoch, len(self.steps) - 1)
        hit, u = self.mixing.drawn(own, ids)
        other = _others(chosen, ids, len(pool.x))
        both = self._changed(torch.cat([x, pool.x[other]]), torch.cat([ids, other]), seed, epoch)
        first, second = both[: len(x)], both[len(x) :]
        mixed, share = self.mixing.mix(first, second, u)
        mixed = torch.where(per_image(hit, x), mixed, first)
        own_y, other_y = _shares(y, classes), _shares(pool.y[other], classes)
        share = per_image(torch.where(hit, share, torch.ones_like(share)), own_y)
        return mixed, share * own_y + (1 - share) * other_y

    @property
    def mixing(self) -> Mixing | None:
        """The last step, if it mixes samples."""
        last = self.steps[-1]
        return last if isinstance(last, Mixing) else None

    def check(self, shape: tuple[int, ...], name: str = "the batch") -> None:
        """Raise one sentence on the first step that means nothing for samples of that shape."""
        for step in self.steps:
            if len(shape) != 3 and not step.tables:
                raise UserError(
                    f"augment {step.name} is for images, and {name} holds {_described(shape)}: leave it out"
                )
            flaw = step.misfit(shape)
            if flaw:
                raise UserError(f"augment {step.name}: {flaw}")
            shape = step.out(shape)
        if importlib.util.find_spec("kornia") is None:
            raise UserError("augmentation needs Kornia: pip install 'ravine[vision]'")

    def _check_batch(self, x: Tensor, ids: Tensor) -> None:
        if not x.is_floating_point():
            raise UserError(f"augment: x must be floats, got {x.dtype}; bytes are pixels once they are divided by 255")
        if ids.shape != x.shape[:1] or ids.is_floating_point():
            raise UserError(f"augment: ids must be {len(x)} integers, one a sample, got {list(ids.shape)} {ids.dtype}")

    def _changed(self, x: Tensor, ids: Tensor, seed: int, epoch: int) -> Tensor:
        """The samples after every step that does not mix."""
        own = [step for step in self.steps if not isinstance(step, Mixing)]
        ids = ids.to(x.device)
        scaled = x.dim() == 4 and not all(isinstance(step, Geometric) and step.exact for step in own)
        mean, std = (torch.as_tensor(v, device=x.device, dtype=x.dtype) for v in (self.mean, self.std))
        spread = torch.where(std > 0, std, torch.inf)
        found = torch.addcmul(mean, x, std) if scaled else x
        black = 0.0 if scaled else -mean / spread
        for moves, run in groupby(enumerate(own), lambda pair: isinstance(pair[1], Geometric)):
            if moves:
                found = warp(found, [_drawn(step, key(seed, "augment", epoch, i), ids) for i, step in run], black)
                continue
            for place, step in run:
                assert isinstance(step, Pointwise)
                seen = key(seed, "augment", epoch, place)
                hit, u = step.drawn(seen, ids)
                new = step.apply(found, u, seen, ids, mean)
                found = new if step.p == 1 else torch.where(per_image(hit, x), new, found)
        return (found - mean).div_(spread) if scaled else found


def check_order(steps: Sequence[Step]) -> None:
    """Raise one sentence where steps are missing or stand in an order that has no meaning."""
    if not steps:
        raise UserError("augment: no step is given; name one at least, such as flip")
    for step in steps[:-1]:
        if isinstance(step, Mixing):
            raise UserError(f"augment: {step.name} mixes labels and must be the last step, and the only one that mixes")
    for step in steps:
        if steps.count(step) > 1 and isinstance(step, Flip | FlipVertical):
            raise UserError(f"augment: {step.name} stands there twice, where the second one does nothing new")


def _drawn(step: Step, seen: int, ids: Tensor) -> Drawn:
    assert isinstance(step, Geometric)
    return step, *step.drawn(seen, ids)


def _others(chosen: int, ids: Tensor, samples: int) -> Tensor:
    """A sample for each one, another than itself where there is more than one."""
    from ravine.augment.draws import uniform

    ahead = 1 + (uniform(chosen, ids, 1)[:, 0].double() * (samples - 1)).long()
    return (ids + ahead) % samples


def _shares(y: Tensor, classes: int) -> Tensor:
    return functional.one_hot(y, classes).float() if classes else y


def _described(shape: tuple[int, ...]) -> str:
    return f"rows of {shape[0]} columns" if len(shape) == 1 else f"samples of shape {'x'.join(map(str, shape))}"
