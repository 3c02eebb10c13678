"""The linter for your own PyTorch code: a model, its optimizer, its loss, a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.linting.look import look
from ravine.linting.model import of_model
from ravine.linting.optimizer import of_optimizer
from ravine.problems.blame import blame
from ravine.training.lint import Finding

ORDER = ("mistake", "warning", "note")


def lint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Callable[[Any, Any], Any] | None = None,
    batch: Any = None,
    *,
    loader: Any = None,
) -> list[Finding]:
    """What in a model, its optimizer, its loss and its batches is allowed and hardly meant, worst first.

    A copy of the model runs once on the batch, in training mode; nothing of yours changes.

    Args:
        model: any module of one input.
        optimizer: a torch optimizer, ravine's or another's.
        loss: a function or module of (outputs, targets).
        batch: (inputs, targets), or inputs alone; taken from the loader where it is not given.
        loader: a torch DataLoader, whose last batch is looked at too.

    Raises:
        UserError: where the model or the loss fails on the batch.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1))
    >>> lint(model, loss=nn.CrossEntropyLoss(), batch=(torch.randn(8, 4), torch.zeros(8).long()))[0].kind
    'softmax-before-cross-entropy'
    """
    if batch is None and loader is not None:
        with torch.random.fork_rng(devices=[]):
            batch = next(iter(loader), None)
    x, y = (batch[0], batch[1]) if isinstance(batch, tuple | list) and len(batch) > 1 else (_first(batch), None)
    found: list[Finding] = []
    if x is not None:
        try:
            seen = look(model, loss, x, y)
        except Exception as error:
            raise blame(error, f"lint: the model or the loss on a batch of shape {tuple(x.shape)}") from error
        found += of_model(seen, loss, len(x))
    if optimizer is not None:
        found += of_optimizer(model, optimizer)
    if loader is not None:
        found += _loader(model, loader)
    return sorted(found, key=lambda one: ORDER.index(one.severity))


def _first(batch: Any) -> Tensor | None:
    x = batch[0] if isinstance(batch, tuple | list) else batch
    if x is not None and not isinstance(x, Tensor):
        raise UserError(f"lint: a batch is a tensor or (inputs, targets), got {type(x).__name__}")
    return x


def _loader(model: nn.Module, loader: Any) -> Iterator[Finding]:
    """A last batch that batch normalisation cannot bear."""
    size, rest = getattr(loader, "batch_size", None), 0
    if size:
        rest = len(loader.dataset) % size
    has_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())  # pyright: ignore[reportPrivateUsage]
    if has_norm and size and size > 1 and rest == 1 and not loader.drop_last:
        yield Finding(
            "last-batch-of-one",
            f"{len(loader.dataset)} samples in batches of {size} leave a last batch of one, which batch normalisation "
            "cannot bear",
            "mistake",
            "drop_last=True",
        )
