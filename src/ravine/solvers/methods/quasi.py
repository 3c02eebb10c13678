"""Quasi-Newton methods: the inverse Hessian from the gradients that were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ravine.rules.rule import hyper
from ravine.solvers.method import Memory, Method, Stalled
from ravine.solvers.methods.descent import sufficient
from ravine.solvers.objective import Objective, Point, check_dense
from ravine.solvers.search import dot, strong_wolfe

TORCH = 1e-10  # what y.s must exceed for torch.optim.LBFGS to keep a pair


def remaining() -> float:
    """The share of the slope that the second Wolfe condition allows."""
    return hyper(0.9, "(0, 1)", "share of the slope that may be left", symbol="c_2")


@dataclass(frozen=True)
class History(Method):
    """Limited memory: the pairs (s, y) of the last iterations, and the direction that they make of a gradient."""

    memory = "2 history x w"
    exact: ClassVar[bool] = True  # curvature is judged in units of y, not as torch does
    history: float = hyper(10, "[1, inf)", "pairs of steps and gradient changes that are kept", symbol="m")

    def pairs(self, at: Point, memory: Memory) -> tuple[Tensor, Tensor]:
        """The steps [k, d] and gradient changes [k, d] with the newest last."""
        if not memory:
            none = at.x.new_empty((0, at.x.numel()))
            return none, none
        s, y = at.x - memory["x"], at.gradient - memory["g"]
        floor = torch.finfo(at.x.dtype).eps * dot(y, y) if self.exact else TORCH
        if not dot(s, y) > floor:
            return memory["s"], memory["y"]
        keep = int(self.history) - 1
        old_s, old_y = (memory[name][max(0, len(memory[name]) - keep) :] for name in ("s", "y"))
        return torch.cat([old_s, s.unsqueeze(0)]), torch.cat([old_y, y.unsqueeze(0)])

    @staticmethod
    def direction(g: Tensor, s: Tensor, y: Tensor) -> Tensor:
        """-H g by two loops over the pairs, from H = (s.y / y.y) I of the newest."""
        if not len(s):
            return -g
        q, shares = -g, list[Tensor]()
        inner = (s * y).sum(1)
        for i in range(len(s) - 1, -1, -1):
            shares.append(s[i] @ q / inner[i])
            q = q - shares[-1] * y[i]
        q = q * (inner[-1] / (y[-1] @ y[-1]))
        for i, share in enumerate(reversed(shares)):
            q = q + (share - y[i] @ q / inner[i]) * s[i]
        return q


@final
@dataclass(frozen=True)
class LBFGS(History):
    """L-BFGS: Newton's direction from the last few steps and gradient changes, with a line search.

        s = w - w'      y = g - g'      d = -H g by two loops over the kept pairs (s, y)      w <- w + a d

    a satisfies the strong Wolfe conditions; pairs without positive curvature are left out.
    Reference: Liu & Nocedal 1989, doi:10.1007/BF01589116; Nocedal & Wright 2006, algorithms 7.4 and 7.5.
    """

    family = "lbfgs"
    differs = "with a line search for the strong Wolfe conditions"
    latex = (
        r"d = -H_k g, \qquad H_{k+1} = (I - \rho s y^\top) H_k (I - \rho y s^\top) + \rho s s^\top, "
        r"\quad \rho = 1 / y^\top s",
        r"w \leftarrow w + \alpha d",
    )
    first: float = hyper(1.0, "(0, inf)", "first step tried, in units of the direction", symbol=r"\alpha_0")
    c1: float = sufficient()
    c2: float = remaining()

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search along the direction; the steepest one where the memory leads nowhere."""
        s, y = self.pairs(at, memory)
        direction = self.direction(at.gradient, s, y)
        if len(s) and not dot(direction, at.gradient) < 0:
            s, y, direction = s[:0], y[:0], -at.gradient
        first = self.first * (1.0 if len(s) else 1 / max(1.0, at.norm))
        try:
            _, new = strong_wolfe(objective, at, direction, first, self.c1, self.c2)
        except Stalled:
            if not len(s):
                raise
            s, y = s[:0], y[:0]
            _, new = strong_wolfe(objective, at, -at.gradient, self.first / max(1.0, at.norm), self.c1, self.c2)
        return new, {"s": s, "y": y, "x": at.x, "g": at.gradient}


@final
@dataclass(frozen=True)
class LBFGSFixedStep(History):
    """L-BFGS without a line search, as torch.optim.LBFGS does it by default.

        w <- w + lr d,   the first time   w <- w - lr min(1, 1 / |g|_1) g

    Nothing makes it go down: the rate has to fit. Reference: Liu & Nocedal 1989, doi:10.1007/BF01589116;
    torch.optim.LBFGS with line_search_fn=None.
    """

    family = "lbfgs"
    dialect = "fixed-step"
    differs = "a fixed share of each direction, without a search (torch's default)"
    latex = (r"w \leftarrow w - \eta H_k g",)
    exact = False
    lr: float = hyper(1.0, "(0, inf)", "step in units of the direction", symbol=r"\eta", search="log 1e-3 1")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """One step of the rate."""
        s, y = self.pairs(at, memory)
        first = min(1.0, 1 / max(float(at.gradient.abs().sum()), 1e-300)) if not memory else 1.0
        new = objective.point(at.x + self.lr * first * self.direction(at.gradient, s, y))
        return new, {"s": s, "y": y, "x": at.x, "g": at.gradient}


@final
@dataclass(frozen=True)
class BFGS(Method):
    """BFGS: an inverse Hessian that is corrected by each step, with a line search.

        H <- (I - r s y^T) H (I - r y s^T) + r s s^T,   r = 1 / y.s      w <- w - a H g

    H starts as (s.y / y.y) I; a satisfies the strong Wolfe conditions.
    Reference: Broyden, Fletcher, Goldfarb, Shanno 1970; Nocedal & Wright 2006, algorithm 6.1.
    """

    family = "bfgs"
    differs = "the whole inverse Hessian"
    dense = True
    memory = "w x w"
    latex = (
        r"H \leftarrow (I - \rho s y^\top) H (I - \rho y s^\top) + \rho s s^\top, \quad \rho = 1 / y^\top s",
        r"w \leftarrow w - \alpha H g",
    )
    c1: float = sufficient()
    c2: float = remaining()

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """A search along -H g."""
        check_dense("bfgs", at.x.numel())
        inverse = self._inverse(at, memory)
        direction = -at.gradient if inverse is None else -(inverse @ at.gradient)
        if inverse is not None and not dot(direction, at.gradient) < 0:
            inverse, direction = None, -at.gradient
        first = 1.0 if inverse is not None else 1 / max(1.0, at.norm)
        _, new = strong_wolfe(objective, at, direction, first, self.c1, self.c2)
        known = {} if inverse is None else {"H": inverse}
        return new, {**known, "x": at.x, "g": at.gradient}

    @staticmethod
    def _inverse(at: Point, memory: Memory) -> Tensor | None:
        """The inverse Hessian with the last step in it; None before there is one."""
        if not memory:
            return None
        s, y = at.x - memory["x"], at.gradient - memory["g"]
        inner, size = dot(s, y), dot(y, y)
        if not inner > torch.finfo(s.dtype).eps * size:
            return memory.get("H")
        inverse = memory.get("H")
        if inverse is None:
            inverse = torch.eye(len(s), dtype=s.dtype, device=s.device) * (inner / size)
        image = inverse @ y
        outer = torch.outer(s, image) / inner
        return inverse - outer - outer.T + torch.outer(s, s) * ((1 + dot(y, image) / inner) / inner)
