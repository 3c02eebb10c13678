"""The data and net of the published MNIST figure with dropout and max-norm, for ``ravine train``.

``problem = "ravine.lab.published:mnist"`` with ``model = "own"``: 784-898-1532-10, ReLU, dropout of 0.2 on the inputs
and 0.5 on hidden units. Reference: Srivastava et al. 2014, JMLR 15:1929, section 6.1.1; the sizes are those of a public
configuration that reaches 1.05 %.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from ravine.noise import InvertedDropout
from ravine.problems import load
from ravine.problems.prepare import prepared
from ravine.problems.problem import Part, Problem

WIDTHS = (898, 1532)
VALID = 5000


def net() -> nn.Module:
    """The net, with its noise."""
    first, second = WIDTHS
    return nn.Sequential(
        nn.Flatten(), InvertedDropout(drop=0.2), nn.Linear(784, first), nn.ReLU(), InvertedDropout(drop=0.5),
        nn.Linear(first, second), nn.ReLU(), InvertedDropout(drop=0.5), nn.Linear(second, 10),
    )  # fmt: skip


def mnist() -> Problem:
    """MNIST with pixels in [0, 1]: 55,000 images train, 5,000 validate, the official 10,000 test."""
    raw = prepared(load("mnist"), [], [])
    x, y = torch.cat([raw.train.x, raw.valid.x]) / 255, torch.cat([raw.train.y, raw.valid.y])
    train, valid = Part(x[:-VALID], y[:-VALID]), Part(x[-VALID:], y[-VALID:])
    test = Part(raw.test.x / 255, raw.test.y)
    return replace(raw, name="mnist-dropout", train=train, valid=valid, test=test, inputs=None, model=net)
