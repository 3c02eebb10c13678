"""Linear systems and eigenvalues from matrix-vector products alone: conjugate gradient, Steihaug, Lanczos."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.randomness import generator
from ravine.solvers.objective import Product
from ravine.solvers.search import dot

KEEP = 1000  # unknowns up to which conjugate gradient keeps its residuals


@dataclass(frozen=True)
class LinearResult:
    """The solution x of A x = b as far as it was found, and how far that is."""

    x: Tensor
    residual: float  # norm of b - A x over that of b, computed anew at the end
    iterations: int
    converged: bool
    reason: str


@dataclass(frozen=True)
class _Step:
    """One conjugate direction: where it starts, where it leads, its curvature, and the residual after it."""

    x: Tensor
    direction: Tensor
    curvature: float
    length: float
    residual: Tensor


def conjugate_directions(
    product: Product, b: Tensor, x: Tensor, inverse: Product | None = None, keep: bool = False
) -> Iterator[_Step]:
    """The steps of conjugate gradient on A x = b; ``inverse`` is a preconditioner, v -> M^-1 v.

    Rounding makes residuals lose their orthogonality, and with it the end after d steps; ``keep`` remembers them all
    and restores it.

    Reference: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044; Nocedal & Wright 2006, algorithm 5.3.
    """
    residual = b - product(x) if bool(x.any()) else b.clone()
    z = residual if inverse is None else inverse(residual)
    direction, power = z, dot(residual, z)
    residuals, images = list[Tensor](), list[Tensor]()
    while power > 0:
        image = product(direction)
        curvature = dot(direction, image)
        length = power / curvature if curvature else math.inf
        after = residual - length * image if math.isfinite(length) else residual
        if keep:
            residuals.append(residual / power)
            images.append(z)
            for _ in range(2):
                after = after - torch.stack(residuals).T @ (torch.stack(images) @ after)
        yield _Step(x, direction, curvature, length, after)
        x, residual = x + length * direction, after
        z = residual if inverse is None else inverse(residual)
        power, before = dot(residual, z), power
        direction = z + power / before * direction


def linear_cg(
    A: Tensor | Product,
    b: Tensor,
    x0: Tensor | None = None,
    *,
    tol: float = 1e-10,
    max_iterations: int | None = None,
    preconditioner: Product | None = None,
) -> LinearResult:
    """Solve A x = b for a symmetric positive definite A [d, d], given whole or as a function v -> A v.

    Ends where the residual's norm is ``tol`` times that of b; after d iterations where d is at most 1000, since all
    residuals are then kept orthogonal, and after ``max_iterations`` (10 d) in any case.

    Raises:
        UserError: on shapes that do not fit, or where a direction shows that A is not positive definite.

    >>> linear_cg(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 4.0])).x
    tensor([1., 1.])
    """
    product = _operator(A, b)
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    most = 10 * b.numel() if max_iterations is None else max_iterations
    size = float(torch.linalg.vector_norm(b))
    count = 0
    norm = size if x0 is None else float(torch.linalg.vector_norm(b - product(x)))
    if norm > tol * size:
        for step in conjugate_directions(product, b, x, preconditioner, b.numel() <= KEEP):
            if count == most:
                break
            if step.curvature <= 0:
                raise UserError(
                    f"conjugate gradient: A is not positive definite (v^T A v = {step.curvature:.3g} for a direction "
                    "that it met): solve A^T A x = A^T b, or use torch.linalg.solve"
                )
            x = step.x + step.length * step.direction
            count += 1
            if float(torch.linalg.vector_norm(step.residual)) <= tol * size:
                break
    residual = float(torch.linalg.vector_norm(b - product(x))) / (size or 1.0)
    converged = residual <= 10 * tol
    reason = "the residual is small" if converged else f"{count} iterations were not enough"
    return LinearResult(x, residual, count, converged, reason)


def _operator(A: Tensor | Product, b: Tensor) -> Product:
    if b.dim() != 1:
        raise UserError(f"b must be a vector [d], got shape {list(b.shape)}")
    if not isinstance(A, Tensor):
        return A
    if A.shape != (b.numel(), b.numel()):
        raise UserError(f"A must have shape [{b.numel()}, {b.numel()}] for this b, got {list(A.shape)}")
    if not torch.allclose(A, A.T, rtol=1e-5, atol=1e-5 * A.abs().max().item()):
        raise UserError("conjugate gradient needs a symmetric A, which this is not: solve A^T A x = A^T b")
    return lambda v: A @ v


@dataclass(frozen=True)
class Truncated:
    """A step of Steihaug's method: the step, what the quadratic model predicts it to gain, and why it ended."""

    step: Tensor
    gain: float
    ended: str  # "solved", "boundary", "negative curvature", "most iterations"
    products: int


def steihaug(product: Product, gradient: Tensor, radius: float, tol: float, most: int) -> Truncated:
    """A minimiser of g.s + s^T H s / 2 within a radius, as far as conjugate gradient leads.

    Ends at the boundary, on negative curvature (then goes on to the boundary), or where the residual is ``tol`` |g|.
    Reference: Steihaug 1983, doi:10.1137/0720042; Nocedal & Wright 2006, algorithm 7.2.
    """
    zero = torch.zeros_like(gradient)
    enough = tol * float(torch.linalg.vector_norm(gradient))
    step, residual, ended, count = zero, -gradient, "most iterations", 0
    for one in conjugate_directions(product, -gradient, zero):
        count += 1
        inside = one.x + one.length * one.direction if one.curvature > 0 else None
        if inside is None or float(torch.linalg.vector_norm(inside)) >= radius:
            reach = _to_boundary(one.x, one.direction, radius)
            before = residual  # of the model at one.x: b - H x
            image = (before - one.residual) / one.length if math.isfinite(one.length) else product(one.direction)
            step, residual = one.x + reach * one.direction, before - reach * image
            ended = "boundary" if one.curvature > 0 else "negative curvature"
            break
        step, residual = inside, one.residual
        if float(torch.linalg.vector_norm(residual)) <= enough:
            ended = "solved"
            break
        if count == most:
            break
    gain = dot(step, residual - gradient) / 2  # -(g.s + s^T H s / 2), since H s = -g - residual
    return Truncated(step, gain, ended, count)


def _to_boundary(x: Tensor, direction: Tensor, radius: float) -> float:
    """The positive t with |x + t direction| = radius."""
    a, b, c = dot(direction, direction), dot(x, direction), dot(x, x) - radius**2
    root = math.sqrt(max(0.0, b * b - a * c))
    return -c / (b + root) if b > 0 else (root - b) / a


def largest_eigenvalue(
    product: Product, like: Tensor, *, iterations: int = 40, tol: float = 1e-8, seed: int = 0
) -> float:
    """The largest eigenvalue of a symmetric matrix by Lanczos with full reorthogonalisation.

    ``like`` [d] gives size, dtype and device. It ends after ``iterations`` or where the estimate's residual is ``tol``
    times the estimate; the residual is added, so that a step of one over the result seldom is too long.
    Reference: Lanczos 1950, doi:10.6028/jres.045.026; Golub & Van Loan 2013, section 10.1.
    """
    start = torch.randn(like.numel(), generator=generator(seed, "lanczos"), dtype=torch.float64)
    q = (start / torch.linalg.vector_norm(start)).to(like)
    basis, diagonal, beside = [q], list[float](), list[float]()
    estimate = bound = 0.0
    for count in range(min(iterations, like.numel())):
        image = product(basis[-1])
        if not bool(torch.isfinite(image).all()):
            raise UserError("the Hessian holds NaN or Inf: it has no largest eigenvalue")
        diagonal.append(dot(basis[-1], image))
        known = torch.stack(basis)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        rest = float(torch.linalg.vector_norm(image))
        estimate, share = _ritz(diagonal, beside)
        bound = rest * share
        if bound <= tol * abs(estimate) or rest == 0 or count + 1 == like.numel():
            break
        beside.append(rest)
        basis.append(image / rest)
    return estimate + (bound if bound < abs(estimate) else 0.0)


def _ritz(diagonal: list[float], beside: list[float]) -> tuple[float, float]:
    """The largest eigenvalue of the tridiagonal matrix, and the last entry of its vector."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
        matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return float(values[-1]), abs(float(vectors[-1, -1]))


def damped_least_squares(matrix: Tensor, target: Tensor, damping: float, scale: Tensor | None = None) -> Tensor:
    """The s [d] that minimises |M s - target|^2 + damping s^T D s, for M [m, d] and a positive diagonal D = scale [d].

    Through QR of the stacked matrix, which squares no condition number; where d > m through the dual m x m system.
    With damping 0 it is the shortest solution.
    """
    rows, columns = matrix.shape
    root = torch.ones_like(matrix[0]) if scale is None else scale.sqrt()
    scaled = matrix / root
    if damping == 0:
        return torch.linalg.pinv(scaled) @ target / root
    if columns > rows:
        inner = scaled @ scaled.T
        inner.diagonal().add_(damping)
        return scaled.T @ torch.linalg.solve(inner, target) / root
    stacked = torch.cat([scaled, math.sqrt(damping) * torch.eye(columns).to(scaled)])
    q, r = torch.linalg.qr(stacked)
    solved = torch.linalg.solve_triangular(r, (q[:rows].T @ target).unsqueeze(1), upper=True)
    return solved.squeeze(1) / root
