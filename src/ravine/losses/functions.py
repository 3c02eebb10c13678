"""Losses as functions of tensors: means over the samples, finite for scores of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

STEEPEST = 30.0  # exponent from which the exponential loss goes on as its tangent: e^30 squared fits float32


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, right: float, others: float) -> Tensor:
    """Cross-entropy of logits [n, classes] against ``right`` for the label of [n] and ``others`` for each other class.

    -log softmax(a)_k = logsumexp(a) - a_k, so nothing is exponentiated that could overflow. The lectures' slide on
    label smoothing leaves out the logarithm.
    """
    logs = logits.log_softmax(-1)
    own = logs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -((right - others) * own + others * logs.sum(-1)).mean()


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The lead of the label's logit over the best other one: logits [n, classes >= 2], labels [n] -> [n].

    For two classes it is y s, with y = 1 or -1 and the score s = logit 1 - logit 0.
    Reference: Crammer & Singer 2001, JMLR 2:265.
    """
    index = labels.unsqueeze(-1)
    mask = torch.arange(logits.shape[-1], device=logits.device) == index
    rival = logits.masked_fill(mask, -torch.inf).amax(-1)
    return logits.gather(-1, index).squeeze(-1) - rival


def hinge(margins: Tensor) -> Tensor:
    """max(0, 1 - m) of margins m = y s of any shape, y = 1 or -1 (support vector machine)."""
    return (1 - margins).clamp_min(0).mean()


def logistic(margins: Tensor) -> Tensor:
    """log(1 + exp(-m)) of margins m = y s; equal to `torch.nn.functional.soft_margin_loss(s, y)`."""
    return functional.softplus(-margins).mean()


def exponential(margins: Tensor) -> Tensor:
    """exp(-m) of margins m = y s, the loss of AdaBoost; beyond m = -30 its tangent there, so that nothing overflows.

    Reference: Friedman, Hastie & Tibshirani 2000, Annals of Statistics 28:337.
    """
    capped = margins.clamp_min(-STEEPEST)
    return (torch.exp(-capped) + math.exp(STEEPEST) * (capped - margins)).mean()


def exponential_misprint(scores: Tensor, signs: Tensor) -> Tensor:
    """exp(-(y - s)) as the lectures' slide prints AdaBoost's loss, for y = 1 or -1.

    It asks every score to fall without end, whatever its label: to be looked at, not to be trained with. The loss
    meant is `exponential(signs * scores)`.
    """
    return torch.exp(-(signs - scores)).mean()


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Labels [n] as rows of zeros and a one, of the shape and type of ``like`` [n, classes]."""
    return (torch.arange(like.shape[-1], device=like.device) == labels.unsqueeze(-1)).to(like.dtype)


def one_versus_rest(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each class against all others, the mean over samples and classes."""
    return functional.binary_cross_entropy_with_logits(logits, one_hot(labels, logits))


def squared_sigmoid(logits: Tensor, labels: Tensor) -> Tensor:
    """Half the squared error of sigmoid(logits) against one-hot labels: summed over classes, mean over samples.

    Its gradient vanishes where an output is saturated and wrong; here to be compared with cross-entropy.
    """
    return ((logits.sigmoid() - one_hot(labels, logits)) ** 2).sum(-1).mean() / 2


def squared_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """The squared error of softmax(logits) against one-hot labels: summed over classes, mean over samples.

    Reference: Brier 1950, Monthly Weather Review 78:1.
    """
    return ((logits.softmax(-1) - one_hot(labels, logits)) ** 2).sum(-1).mean()
