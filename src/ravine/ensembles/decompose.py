"""Bias and variance: what a squared error is made of, over many training sets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ravine.errors import UserError


@dataclass(frozen=True)
class Decomposition:
    """The mean squared error of a way to fit, in three parts that add up to it."""

    bias: float  # squared: of the mean prediction against the truth
    variance: float  # of the predictions over training sets
    noise: float  # of the targets around the truth

    @property
    def total(self) -> float:
        """The squared error to be expected on new targets."""
        return self.bias + self.variance + self.noise


def bias_variance(predictions: Tensor, truth: Tensor, noise: float = 0.0) -> Decomposition:
    """Decompose the squared error of predictions [sets, n, ...], one row for each training set, at n points.

    ``truth`` [n, ...] is the mean of the targets there, ``noise`` their variance around it. Where the truth is not
    known, give measured targets and leave the noise at 0: it is then part of the bias. The mean over k training sets
    stands for the one over all, so the bias holds 1/k of the variance too much, which is taken off.
    Reference: Geman, Bienenstock & Doursat 1992, Neural Computation 4:1; Hastie et al. 2009, equation 7.9.

    >>> import torch
    >>> bias_variance(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0]), noise=0.5)
    Decomposition(bias=3.0, variance=2.0, noise=0.5)
    """
    if len(predictions) < 2 or predictions.shape[1:] != truth.shape:
        raise UserError(
            f"bias_variance: predictions have shape {list(predictions.shape)} and the truth {list(truth.shape)}: "
            "give 2 training sets or more, and their predictions at the points of the truth"
        )
    if noise < 0:
        raise UserError(f"bias_variance: noise is a variance, got {noise:g}")
    said = predictions.double()
    variance = float(said.var(0).mean())
    away = float((said.mean(0) - truth.double()).square().mean())
    return Decomposition(away - variance / len(said), variance, float(noise))
