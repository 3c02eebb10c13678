"""A model of another library trains along torch.optim's loss curve, in float64, under every class of its names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from tests.optimizing import TORCH

transformers: Any = pytest.importorskip("transformers", reason="needs transformers: install ravine[clients]")

NAMES = [name for name in TORCH if name != "Muon"]  # torch's takes no vectors, and a GPT-2 has some
# at torch's defaults these hardly move, or slowly
OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"lr": 0.05, "momentum": 0.9}, "RAdam": {"lr": 5e-3}, "ASGD": {"lr": 0.5}}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """float64 everywhere: torch's AdamW and NAdam round their products of decays to the default type, and drift."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def gpt2() -> Any:
    """GPT-2 as transformers has it, of one block and random weights; tied embeddings, no dropout."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warnings are not about optimizers
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **still))


def curve(kind: Any, options: dict[str, Any], steps: int) -> Tensor:
    """The losses of learning rows that count in threes."""
    model = gpt2()
    tokens = (torch.arange(16)[:, None] + 3 * torch.arange(8)) % 16
    optimizer = kind(model.named_parameters(), **options)
    losses: list[Tensor] = []
    for _ in range(steps):
        optimizer.zero_grad()
        scores = model(input_ids=tokens[:, :-1]).logits  # its own loss would be rounded to float32
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("name", NAMES)
def test_gpt2_trains_along_the_same_curve(name: str) -> None:
    options = OPTIONS.get(name, {})
    ours, theirs = (curve(getattr(home, name), options, 500) for home in (ravine.optim, torch.optim))
    assert ours.dtype == torch.float64
    assert theirs[-1] < theirs[0] / 10
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-10)  # Rprop reaches 0
