"""What a method may ask of the function it minimises, and what each answer costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ravine.errors import UserError

Product: TypeAlias = Callable[[Tensor], Tensor]  # v [d] -> H v [d]
Reduction: TypeAlias = Literal["itself", "half-square", "mean"]  # of what the function returns, to the value
FORWARD = 1 / 3  # of a gradient: a backward pass costs about two forward passes
PRODUCT = 2.0  # gradients: differentiating the gradient once more costs about four forward and backward halves
DENSE = 10_000  # parameters up to which a method may keep a square matrix of them
CHUNK = 2**24  # numbers of a Jacobian that are computed at once


@dataclass
class Counts:
    """What was asked of a function so far."""

    functions: int = 0  # values alone
    gradients: float = 0  # values with their gradient
    products: float = 0  # Hessian-vector products

    @property
    def evaluations(self) -> float:
        """Points at which the function was evaluated, with or without its gradient."""
        return self.functions + self.gradients

    @property
    def equivalents(self) -> float:
        """The cost in units of one gradient: a value alone counts 1/3, a Hessian-vector product 2."""
        return FORWARD * self.functions + self.gradients + PRODUCT * self.products


class Point:
    """A place x [d], and the value and the gradient [d] there, which are computed when they are first asked for."""

    def __init__(self, x: Tensor, find: Callable[[], tuple[float, Tensor]]) -> None:
        self.x, self._find = x, find

    @cached_property
    def _found(self) -> tuple[float, Tensor]:
        return self._find()

    @property
    def value(self) -> float:
        """The value."""
        return self._found[0]

    @property
    def gradient(self) -> Tensor:
        """The gradient [d]."""
        return self._found[1]

    @cached_property
    def norm(self) -> float:
        """The Euclidean norm of the gradient."""
        return float(torch.linalg.vector_norm(self.gradient))


@dataclass(frozen=True)
class Evaluated:
    """What came of one call: the output with its graph, the tensors it depends on, gradients if they were computed."""

    output: Tensor
    leaves: Sequence[Tensor]
    gradient: Tensor | None = None


Evaluate: TypeAlias = Callable[[Tensor, bool], Evaluated]  # (x [d], whether a graph is wanted)


class Objective:
    """A function of a flat vector with its derivatives by autograd, counting what it is asked."""

    def __init__(self, evaluate: Evaluate, reduction: Reduction = "itself", volatile: bool = False) -> None:
        self._evaluate, self.reduction = evaluate, reduction
        self.volatile = volatile  # the graph of one place is lost when the function is evaluated at another
        self.counts = Counts()
        self._place: Tensor | None = None  # where it was evaluated last
        self._last: Point | None = None  # a closure that runs backward gives the gradient with each value

    def value(self, x: Tensor) -> float:
        """The value at x."""
        found = self._at(x, False)
        value = self._reduced(found.output.detach()).item()
        if found.gradient is None:
            self.counts.functions += 1
        else:
            self.counts.gradients += 1
            known = value, found.gradient
            self._last = Point(x, lambda: known)
        return value

    def point(self, x: Tensor) -> Point:
        """The place with its value and gradient, to be computed when they are needed."""
        if self._last is not None and self._last.x is x:
            return self._last
        return Point(x, lambda: self._value_and_gradient(x))

    def _value_and_gradient(self, x: Tensor) -> tuple[float, Tensor]:
        found = self._at(x, True)
        self.counts.gradients += 1
        value, gradient = self._reduced(found.output), found.gradient
        if gradient is None:
            gradient = _flat(torch.autograd.grad(self._differentiable(value), found.leaves, materialize_grads=True))
        return value.item(), gradient.detach()

    def _at(self, x: Tensor, graph: bool) -> Evaluated:
        self._place = x
        return self._evaluate(x, graph)

    def products(self, x: Tensor) -> Product:
        """The Hessian at x as a function v -> H v, from one graph of the gradient."""
        known = self._gradient_graph(x)

        def product(v: Tensor) -> Tensor:
            nonlocal known
            if self.volatile and self._place is not x:
                known = self._gradient_graph(x)
            self.counts.products += 1
            return _backward(*known, v)

        return product

    def _gradient_graph(self, x: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The gradient with its graph, and what it can be differentiated by."""
        found = self._at(x, True)
        if found.gradient is not None:
            raise UserError(
                "this method needs Hessian-vector products, for which the closure must leave the graph: "
                "return the loss without calling backward()"
            )
        self.counts.gradients += 1
        loss = self._differentiable(self._reduced(found.output))
        gradient = torch.autograd.grad(loss, found.leaves, create_graph=True, materialize_grads=True)
        return _flat(gradient), found.leaves

    def hessian(self, x: Tensor) -> Tensor:
        """The whole Hessian [d, d], symmetric; d products."""
        product, size = self.products(x), x.numel()
        rows = [product(basis) for basis in torch.eye(size, dtype=x.dtype, device=x.device)]
        whole = torch.stack(rows)
        return (whole + whole.T) / 2

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs r [m] and their Jacobian [m, d]; a gradient an output is counted.

        Raises:
            UserError: if the function gives one number: methods that ask for this need residuals or a loss a sample.
        """
        found = self._at(x, True)
        out = found.output.reshape(-1)
        if found.gradient is not None or found.output.dim() == 0:
            raise UserError(
                "this method needs a vector with its graph (residuals, or one loss a sample), not a number: "
                "return it whole, without a sum or mean and without calling backward()"
            )
        self.counts.gradients += out.numel()
        return out.detach(), _rows(self._differentiable(out), found.leaves, x.numel())

    def _reduced(self, out: Tensor) -> Tensor:
        if self.reduction == "half-square":
            return (out * out).sum() / 2
        if self.reduction == "mean":
            return out.mean()
        if out.numel() != 1:
            raise UserError(f"the function must give one number to minimise, got shape {list(out.shape)}")
        return out.reshape(())

    @staticmethod
    def _differentiable(out: Tensor) -> Tensor:
        if not out.requires_grad:
            raise UserError(
                "the function's value has no graph that leads to what is optimized: "
                "compute it from the parameters in torch, without detach(), .item() or no_grad()"
            )
        return out


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _backward(out: Tensor, leaves: Sequence[Tensor], v: Tensor) -> Tensor:
    """v^T d out / d leaves, flat, keeping the graph; zero where out is constant, as the gradient of a plane is."""
    if not out.requires_grad:
        return torch.zeros_like(v)
    return _flat(torch.autograd.grad(out, leaves, v, retain_graph=True, materialize_grads=True)).detach()


def _rows(out: Tensor, leaves: Sequence[Tensor], size: int) -> Tensor:
    """The Jacobian of out [m], [m, d]: many rows at a time where torch can map the backward pass, else one by one."""
    basis = torch.eye(out.numel(), dtype=out.dtype, device=out.device)
    found: list[Tensor] = []
    for some in basis.split(max(1, CHUNK // max(1, size))):
        try:
            parts = torch.autograd.grad(
                out, leaves, some, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )
            found.append(torch.cat([part.reshape(len(some), -1) for part in parts], 1).detach())
        except RuntimeError:  # an operation without a rule for vmap
            found.append(torch.stack([_backward(out, leaves, row) for row in some]))
    return torch.cat(found)


def check_dense(owner: str, size: int) -> None:
    """Raise where a square matrix of the parameters would be too large to keep."""
    if size > DENSE:
        gigabytes = 8 * size**2 / 1e9
        raise UserError(
            f"{owner} keeps a matrix of {size:,} x {size:,} numbers ({gigabytes:,.1f} GB): "
            "use lbfgs, newton-cg or kfac for so many parameters"
        )


def check_finite(owner: str, at: Point) -> None:
    """Raise where the value or the gradient to start from is not finite."""
    if not (math.isfinite(at.value) and math.isfinite(at.norm)) and not bool(torch.isfinite(at.gradient).all()):
        raise UserError(f"{owner}: the gradient holds NaN or Inf where it starts: nothing was changed")
    if not math.isfinite(at.value):
        raise UserError(f"{owner}: the value is {at.value} where it starts: nothing was changed")
