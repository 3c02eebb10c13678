"""Oracles of what wraps a rule: clipping and weight decay, with the step of the rule inside given."""

from __future__ import annotations

import numpy as np
from tests.oracles.loop import Inner, Number, Settings, Slope, Vectors


def clip_value(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Keras clipvalue: "all parameter gradients will be clipped to" +-c (lecture S2)."""

    def clipped(points: Vectors) -> Vectors:
        gradients = slope(points)
        for g in gradients:
            for i in range(len(g)):
                g[i] = h["clip"] if g[i] > h["clip"] else -h["clip"] if g[i] < -h["clip"] else g[i]
        return gradients

    return inner(clipped, weights)


def clip_norm(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Keras clipnorm: each variable's gradient by itself; the 1e-6 is that of torch.nn.utils.clip_grad_norm_."""

    def clipped(points: Vectors) -> Vectors:
        return [_scaled([g], h["clip"])[0] for g in slope(points)]

    return inner(clipped, weights)


def clip_global_norm(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Pascanu et al. 2013, algorithm 1, in the form of torch.nn.utils.clip_grad_norm_."""

    def clipped(points: Vectors) -> Vectors:
        return _scaled(slope(points), h["clip"])

    return inner(clipped, weights)


def _scaled(gradients: Vectors, limit: Number) -> Vectors:
    total = np.longdouble(0)
    for g in gradients:
        for entry in g:
            total = total + entry * entry
    share = limit / (np.sqrt(total) + np.longdouble(1e-6))
    return [g * share if share < 1 else g for g in gradients]


def coupled_decay(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Lecture S4: the gradient of L(w) + alpha / 2 w'w, wherever the rule inside wants it."""

    def penalised(points: Vectors) -> Vectors:
        return [g + h["weight_decay"] * w for g, w in zip(slope(points), points, strict=True)]

    return inner(penalised, weights)


def coupled_decay_full(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Lecture S0: the gradient of L(w) + lambda |w|^2, wherever the rule inside wants it."""

    def penalised(points: Vectors) -> Vectors:
        return [g + 2 * h["weight_decay"] * w for g, w in zip(slope(points), points, strict=True)]

    return inner(penalised, weights)


def decoupled_decay(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Loshchilov & Hutter 2019, decoupled, times the learning rate as torch.optim.AdamW: w loses gamma lambda w."""
    return [new - h["lr"] * h["weight_decay"] * w for new, w in zip(inner(slope, weights), weights, strict=True)]


def independent_decay(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Loshchilov & Hutter 2019, decoupled: w loses lambda w, whatever the learning rate."""
    return [new - h["weight_decay"] * w for new, w in zip(inner(slope, weights), weights, strict=True)]
