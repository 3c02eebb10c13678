"""Oracles of what wraps a rule: clipping, decay, noise, constraints, averages, climbs; the rule's own step is given."""

from __future__ import annotations

import numpy as np

from tests.driving import noise_like
from tests.oracles.loop import Inner, Memory, Number, Settings, Slope, Vectors


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


def max_norm(inner: Inner, slope: Slope, weights: Vectors, h: Settings, shapes: list[tuple[int, ...]]) -> Vectors:
    """Srivastava et al. 2014, 5.1: each unit's incoming weights projected onto a ball of radius c after the step."""
    new = inner(slope, weights)
    for w, shape in zip(new, shapes, strict=True):
        units = shape[0] if len(shape) > 1 else 0
        for unit in range(units):
            inputs = range(unit * (len(w) // units), (unit + 1) * (len(w) // units))
            total = np.longdouble(0)
            for i in inputs:
                total = total + w[i] * w[i]
            if np.sqrt(total) > h["max_norm"]:
                for i in inputs:
                    w[i] = w[i] * h["max_norm"] / np.sqrt(total)
    return new


def averaged(inner: Inner, slope: Slope, weights: Vectors, h: Settings, memory: Memory) -> Vectors:
    """Tarvainen & Valpola 2017, section 3: theta' <- alpha theta' + (1 - alpha) theta, from the first weights on."""
    new = inner(slope, weights)
    old = memory.get("average", weights)
    memory["average"] = [h["ema"] * a + (1 - h["ema"]) * w for a, w in zip(old, new, strict=True)]
    return new


def swa(inner: Inner, slope: Slope, weights: Vectors, h: Settings, memory: Memory, t: int) -> Vectors:
    """Izmailov et al. 2018, algorithm 1: w_SWA <- (n w_SWA + w) / (n + 1), n being the weights averaged so far."""
    new = inner(slope, weights)
    n = t - 1 - h["swa_start"]
    if n <= 0:
        memory["average"] = [w.copy() for w in new]
    else:
        memory["average"] = [(n * a + w) / (n + 1) for a, w in zip(memory["average"], new, strict=True)]
    return new


def cautious(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Liang et al. 2024, algorithm 1: u times 1[u g > 0] d / (nnz + xi), u being what is taken from the weights."""
    seen: Vectors = []

    def noting(points: Vectors) -> Vectors:
        seen[:] = slope(points)
        return [g.copy() for g in seen]

    new = inner(noting, weights)
    for after, w, g in zip(new, weights, seen, strict=True):
        taken = w - after
        agrees = [i for i in range(len(w)) if taken[i] * g[i] > 0]
        for i in range(len(w)):
            after[i] = w[i] - taken[i] * len(w) / (len(agrees) + h["xi"]) if i in agrees else w[i]
    return new


def centralized(inner: Inner, slope: Slope, weights: Vectors, h: Settings, shapes: list[tuple[int, ...]]) -> Vectors:
    """Yong et al. 2020, equation 1: from each column of the gradient of a weight matrix its mean is taken."""

    def centred(points: Vectors) -> Vectors:
        gradients = slope(points)
        for g, shape in zip(gradients, shapes, strict=True):
            units = shape[0] if len(shape) > 1 else 0
            for unit in range(units):
                part = slice(unit * (len(g) // units), (unit + 1) * (len(g) // units))
                g[part] = g[part] - sum(g[part]) / len(g[part])
        return gradients

    return inner(centred, weights)


def gradient_noise(inner: Inner, slope: Slope, weights: Vectors, h: Settings, t: int) -> Vectors:
    """Neelakantan et al. 2015: N(0, sigma^2) with sigma^2 = eta / (1 + t)^gamma, t from 0; see driving for N."""
    deviation = np.sqrt(h["noise_variance"]) / np.longdouble(t) ** (h["fading"] / 2)
    return inner(lambda points: [g + deviation * noise_like(g) for g in slope(points)], weights)


def lookahead(inner: Inner, slope: Slope, weights: Vectors, h: Settings, memory: Memory, t: int) -> Vectors:
    """Zhang et al. 2019, algorithm 1: after k inner steps phi += alpha (theta - phi), and theta starts at phi."""
    slow = memory.setdefault("slow", weights)
    new = inner(slope, weights)
    if t // h["k"] > (t - 1) // h["k"]:
        memory["slow"] = [phi + h["share"] * (w - phi) for phi, w in zip(slow, new, strict=True)]
        return [phi.copy() for phi in memory["slow"]]
    return new


def sam(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Foret et al. 2021, equation 2 with p = 2: the gradient at w + rho g / |g|."""

    def uphill(points: Vectors) -> Vectors:
        first = slope(points)
        size = np.sqrt(sum(entry * entry for g in first for entry in g))
        return slope([w + h["rho"] * g / (size + np.longdouble(1e-12)) for w, g in zip(points, first, strict=True)])

    return inner(uphill, weights)


def asam(inner: Inner, slope: Slope, weights: Vectors, h: Settings) -> Vectors:
    """Kwon et al. 2021, equation 4: epsilon = rho T^2 g / |T g|, T the diagonal |w| + eta."""

    def uphill(points: Vectors) -> Vectors:
        first = slope(points)
        scale = [abs(w) + h["floor"] for w in weights]
        size = np.sqrt(sum(entry * entry for g, s in zip(first, scale, strict=True) for entry in g * s))
        moved = zip(points, first, scale, strict=True)
        return slope([w + h["rho"] * s * s * g / (size + np.longdouble(1e-12)) for w, g, s in moved])

    return inner(uphill, weights)
