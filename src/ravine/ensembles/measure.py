"""What averaging gains: the squared errors of members and the products of their errors, and the formula over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ravine.errors import UserError
from ravine.problems.heads import Head, mean_outputs
from ravine.types import Task


def factor(members: int, rho: float) -> float:
    """The squared error of an average of k members over that of one: 1/k + (k - 1)/k rho.

    ``rho`` is the mean product of two members' errors over the mean square of one. Independent errors give 1/k,
    equal ones 1; more members lower it no further than to rho.
    Reference: Goodfellow et al. 2016, Deep Learning, equation 7.51.

    >>> factor(4, 0.0), factor(4, 1.0), factor(2, 0.5)
    (0.25, 1.0, 0.75)
    """
    return 1 / members + (members - 1) / members * rho


@dataclass(frozen=True)
class Correlation:
    """Of members on some samples: the mean square of a member's error, and the mean product of two members'."""

    square: float
    product: float

    @property
    def rho(self) -> float:
        """The correlation of the members' errors, around zero: bias that all share counts as correlation."""
        return self.product / self.square if self.square > 0 else 1.0

    def error(self, members: int) -> float:
        """The squared error of an average of so many members, averaged over all choices of them."""
        return self.square * factor(members, self.rho)


def predictions(outs: Tensor, task: Task, heads: Sequence[Head] = ()) -> Tensor:
    """What members [k, n, outputs] say: probabilities of classes, or numbers; of several targets side by side."""
    if heads:
        kinds: list[Task] = ["classification" if head.classes else "regression" for head in heads]
        return torch.cat([predictions(outs[..., h.outputs], kind) for h, kind in zip(heads, kinds, strict=True)], -1)
    return outs.double().softmax(-1) if task == "classification" else outs.double()


def errors(outs: Tensor, y: Tensor, task: Task, heads: Sequence[Head] = ()) -> Tensor:
    """The errors of members' predictions: [k, n, outputs]; for classes against the one-hot label (Brier's score)."""
    return predictions(outs, task, heads) - _truth(y, task, outs.shape[-1], heads)


def _truth(y: Tensor, task: Task, width: int, heads: Sequence[Head]) -> Tensor:
    if heads:
        parts = [
            _truth(y[:, h.column].long(), "classification", len(h.classes), ()) if h.classes else y[:, [h.column]]
            for h in heads
        ]
        return torch.cat([part.double() for part in parts], -1)
    return functional.one_hot(y, width).double() if task == "classification" else y.double()


def correlation(errors: Tensor) -> Correlation:
    """The mean square and the mean product of errors [k, n] or [k, n, outputs] of k members, k of 2 or more."""
    if len(errors) < 2:
        raise UserError(f"a correlation needs the errors of 2 members or more, got {len(errors)}")
    flat = errors.double().flatten(2) if errors.dim() > 2 else errors.double().unsqueeze(-1)
    gram = torch.einsum("ano,bno->ab", flat, flat) / flat.shape[1]
    many = len(gram)
    total, own = float(gram.sum()), float(gram.trace())
    return Correlation(own / many, (total - own) / (many * (many - 1)))


def combined(outs: Tensor, task: Task, heads: Sequence[Head] = ()) -> Tensor:
    """The outputs of an ensemble of members [k, n, outputs]: log-probabilities of classes, or numbers."""
    if heads:
        return mean_outputs(heads, outs)
    if task == "regression":
        return outs.mean(0)
    return torch.logsumexp(outs.log_softmax(-1), 0) - torch.tensor(float(len(outs))).log().to(outs)
