"""The test surfaces: minima are minima, nothing in bounds lies lower, batches and gradients work."""

from __future__ import annotations

import pytest
import torch

from ravine.surfaces import SURFACES, Surface

EVERY = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES.keys())


@EVERY
def test_the_minima_are_where_the_gradient_vanishes_and_nothing_in_bounds_lies_lower(surface: Surface) -> None:
    minima = torch.tensor(surface.minima, dtype=torch.float64, requires_grad=True)
    values = surface.f(minima)
    (gradient,) = torch.autograd.grad(values.sum(), minima)
    assert gradient.abs().max() < 1e-9
    assert values.max() - values.min() < 1e-12
    axes = [torch.linspace(low, high, 301, dtype=torch.float64) for low, high in surface.bounds]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    assert surface.f(grid).shape == (301, 301)
    assert surface.f(grid).min() >= values.min().detach() - 1e-12


@EVERY
def test_start_and_minima_lie_inside_the_bounds_and_the_start_is_not_a_minimum(surface: Surface) -> None:
    for point in (surface.start, *surface.minima):
        assert all(low < at < high for at, (low, high) in zip(point, surface.bounds, strict=True))
    start = torch.tensor(surface.start, dtype=torch.float64)
    best = torch.tensor(surface.minima[0], dtype=torch.float64)
    assert surface.f(start) > surface.f(best) + 0.1


@EVERY
def test_a_batch_is_its_points_and_the_gradient_is_the_difference_quotient(surface: Surface) -> None:
    points = torch.tensor([surface.start, (0.3, -0.7), *surface.minima], dtype=torch.float64, requires_grad=True)
    values = surface.f(points)
    torch.testing.assert_close(values, torch.stack([surface.f(point) for point in points]), rtol=1e-14, atol=0)
    assert torch.autograd.gradcheck(surface.f, points)


def test_names_are_their_keys() -> None:
    assert all(name == surface.name for name, surface in SURFACES.items())
