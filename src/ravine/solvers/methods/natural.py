"""The natural gradient: steepest descent where distance is measured by what the model says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.rule import hyper
from ravine.solvers.linear import damped_least_squares
from ravine.solvers.method import Described, Memory, Method, Stalled
from ravine.solvers.objective import Objective, Point, check_dense


@final
@dataclass(frozen=True)
class NaturalGradient(Method):
    """Natural gradient with the empirical Fisher matrix, exact.

        F = mean over samples of g_i g_i^T        w <- w - lr (F + damping I)^-1 g

    g_i is the gradient of the loss of one sample, g their mean. Since g = J^T 1 / n and F = J^T J / n, the direction is
    the least-squares solution of J s = 1, which squares no condition number. With damping 0 it does not depend on the
    units of the parameters. Reference: Amari 1998, doi:10.1162/089976698300017746; Kunstner et al. 2019,
    arXiv:1905.12558, on what the empirical Fisher is not.
    """

    family = "natural-gradient"
    differs = "the empirical Fisher matrix, exact"
    needs = "vector"
    reduction = "mean"
    memory = "n x w, for n samples, while it steps"
    latex = (
        r"F = \tfrac1n \sum_i \nabla \ell_i \nabla \ell_i^\top",
        r"w \leftarrow w - \eta (F + \lambda I)^{-1} \tfrac1n \sum_i \nabla \ell_i",
    )
    lr: float = hyper(0.1, "(0, inf)", "share of the natural step", unit="w", symbol=r"\eta", search="log 1e-3 1")
    damping: float = hyper(1e-3, "[0, inf)", "added to the Fisher matrix", unit="g^2", symbol=r"\lambda")

    def iterate(self, objective: Objective, at: Point, memory: Memory) -> tuple[Point, Memory]:
        """One step of the rate."""
        if at.norm == 0:
            raise Stalled("the gradient is zero")
        losses, jacobian = objective.jacobian(at.x)
        check_dense("natural-gradient", min(jacobian.shape))
        step = damped_least_squares(jacobian, losses.new_ones(len(losses)), len(losses) * self.damping)
        return objective.point(at.x - self.lr * step), {}


@final
@dataclass(frozen=True)
class KFAC(Described):
    """K-FAC: the natural gradient layer by layer, with each layer's Fisher matrix as a Kronecker product.

        A = mean of a a^T      G = mean of b b^T      W <- W - lr (G + s I)^-1 dW (A + t I)^-1      s t = damping

    a is a layer's input with a one for the bias, b the gradient at its output, of a sample (for a convolution: of a
    place, A summed and G averaged over places). t / s is the mean eigenvalue of A over that of G. The update is
    shortened where lr^2 times its scalar product with the gradient exceeds ``clip``. Weights of other layers take plain
    steps. Reference: Martens & Grosse 2015, arXiv:1503.05671, sections 3 and 6.3; Grosse & Martens 2016,
    arXiv:1602.01407, for convolutions; Ba, Grosse & Martens 2017, for the clip. It is the empirical Fisher: labels are
    the data's, not drawn from the model.
    """

    family = "kfac"
    differs = "the empirical Fisher matrix of each layer as a Kronecker product"
    needs = "layers"
    scheduled = True
    memory = "inputs^2 + outputs^2 a layer, twice"
    latex = (
        r"A = \mathbb{E}[a a^\top], \qquad G = \mathbb{E}[b b^\top]",
        r"W \leftarrow W - \eta (G + \sigma I)^{-1} \nabla_W (A + \tau I)^{-1}, \qquad \sigma \tau = \lambda",
    )
    lr: float = hyper(0.01, "(0, inf)", "share of the natural step", unit="w", symbol=r"\eta", search="log 1e-4 1")
    damping: float = hyper(0.1, "(0, inf)", "added to each layer's Fisher matrix", unit="g^2", symbol=r"\lambda")
    ema: float = hyper(0.95, "[0, 1)", "share of the factors that stays at each step", symbol=r"\epsilon")
    momentum: float = hyper(0.9, "[0, 1)", "share of the last update that is kept", symbol=r"\beta")
    every: float = hyper(10, "[1, inf)", "steps from one inversion to the next", symbol="T")
    clip: float = hyper(1e-3, "(0, inf)", "largest foreseen change in KL divergence", symbol=r"\kappa")
