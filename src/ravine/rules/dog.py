"""Rules whose rate is how far the weights have moved: DoG and L-DoG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.distance import Found, guess, multiple
from ravine.rules.math import maximum, sqrt, tensor_norm
from ravine.rules.usual import epsilon
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class DoG(Found):
    """DoG: the rate is the largest distance from the start so far, over the root of the sum of squared slopes.

        d <- max(d, |w - p|, share (1 + |p|))      n <- n + |g|^2      u = -lr d / sqrt(n + eps) g

    State: p [w], the start; d [w] and n [g^2], one number a run. Norms are of all tensors together, of all groups.
    Its paper returns an average of the path: put `Averaged` around it.
    Reference: Ivgi, Hinder & Carmon 2023, arXiv:2302.12022, equations DoG and section 4.1.
    """

    family = "dog"
    differs = "one distance for all tensors (Ivgi et al.)"
    when = "When no rate is known and the loss is well behaved: it needs none, and usually wants averaged weights."
    scalars: ClassVar[Mapping[str, float]] = {"d": 0.0, "n": 0.0}
    sums = ("moved", "size", "slope")
    lr: Scalar = multiple()
    share: Scalar = guess("first movement, as a share of 1 + |w|", "1", r"\alpha")
    eps: Scalar = epsilon(1e-8, "g^2")

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        return {"moved": (w - s["p"]) ** 2, "size": s["p"] ** 2, "slope": g**2}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d = maximum(maximum(s["d"], sqrt(s["moved"])), self.share * (1 + sqrt(s["size"])))
        n = s["n"] + s["slope"]
        return -self.lr * d / sqrt(n + self.eps) * g, {"p": s["p"], "d": d, "n": n}


@final
@dataclass(frozen=True)
class LDoG(Found):
    """L-DoG: DoG with a distance and a sum of slopes of each tensor's own.

        d <- max(d, |w - p|, share (1 + |p|))      n <- n + |g|^2      u = -lr d / sqrt(n + eps) g

    State: p [w], the start; d [w] and n [g^2], one number a tensor. Norms are of one tensor.
    Reference: Ivgi, Hinder & Carmon 2023, arXiv:2302.12022, section 4.1.
    """

    family = "l-dog"
    differs = "a distance of each tensor's own (Ivgi et al.)"
    when = "Where DoG works but layers differ in scale: each tensor finds its own rate."
    scope = "tensor"
    slots = ("p", "d", "n")
    lr: Scalar = multiple()
    share: Scalar = guess("first movement, as a share of 1 + |w|", "1", r"\alpha")
    eps: Scalar = epsilon(1e-8, "g^2")

    def init(self, w: Array) -> State:
        return {"p": w.clone(), **{slot: w.new_zeros([1] * len(w.shape)) for slot in ("d", "n")}}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        first = self.share * (1 + tensor_norm(s["p"], self.lr))
        d = maximum(maximum(s["d"], tensor_norm(w - s["p"], self.lr)), first)
        n = s["n"] + tensor_norm(g, self.lr) ** 2
        return -self.lr * (d / sqrt(n + self.eps)) * g, {"p": s["p"], "d": d, "n": n}
