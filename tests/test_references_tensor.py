"""Rules of whole tensors against other libraries' implementations, each in the dialect that they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from tests.optimizing import drive, flat

MATRICES: list[tuple[int, ...]] = [(5, 3), (4, 4), (2, 6)]
SQUARE: list[tuple[int, ...]] = [(4, 4), (6, 6)]
MIXED: list[tuple[int, ...]] = [(5, 3), (7,), (2, 3, 2, 2), (4, 4)]
# ours, the library's, shapes; each with its options. What is not shared is switched off or named in the dialect.
SHARED: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], list[tuple[int, ...]]]] = {
    "LARS of matrices": ("lars", {"lr": 2.0, "weight_decay": 0.1}, "LARS", {"lr": 2.0, "weight_decay": 0.1}, MATRICES),
    "Adafactor": ("adafactor", {}, "AdaFactor", {"betas": (None, 0.999)}, MIXED),
    "Prodigy": ("prodigy", {"lr": 0.7, "eps": 1e-30, "weight_decay": 0.1}, "Prodigy", {}, MIXED),
    "D-Adaptation of Adam": ("dadapt-adam/lagged", {"lr": 0.7}, "DAdaptAdam", {"lr": 0.7}, MIXED),
    "D-Adaptation of SGD": ("dadapt-sgd", {"beta": 0.9}, "DAdaptSGD", {"momentum": 0.9}, MIXED),
    "Shampoo at every step": (
        "shampoo",
        {"eps": 1e-4, "period": 1},
        "Shampoo",
        {"lr": 0.1, "matrix_eps": 1e-4},
        SQUARE,
    ),
    "SOAP in its first coordinates": (
        "soap",
        {"eps": 1e-30, "weight_decay": 0.0, "period": 1000},
        "SOAP",
        {"lr": 3e-3, "betas": (0.95, 0.95), "shampoo_beta": 0.95, "weight_decay": 0.0, "precondition_frequency": 1000},
        SQUARE,
    ),
}
SHARED["Prodigy"][3].update(lr=0.7, eps=1e-30, weight_decay=0.1)
SHARED["SOAP in its first coordinates"][3]["eps"] = 1e-30


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Some libraries keep their sums in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def weights(shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(7)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def assert_alike(ours: list[nn.Parameter], theirs: list[nn.Parameter], start: Tensor, rtol: float = 1e-9) -> None:
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=rtol, atol=1e-10)
    assert not torch.allclose(flat(ours), start, rtol=1e-7)


@pytest.mark.parametrize("case", SHARED)
def test_pytorch_optimizer_walks_the_same_way(case: str) -> None:
    library = pytest.importorskip("pytorch_optimizer")
    rule, options, name, others, shapes = SHARED[case]
    mine, its = weights(shapes), weights(shapes)
    start = flat(mine)
    drive(ravine.optim.of(rule)(mine, **options), 30)
    drive(getattr(library, name)(its, **others), 30)
    assert_alike(mine, its, start, 1e-6)


@pytest.mark.parametrize(("nesterov", "adjust"), [(True, None), (False, "original"), (True, "match_rms_adamw")])
def test_torch_s_muon_walks_the_same_way_in_float64(
    nesterov: bool, adjust: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)  # its iterations are in bfloat16 whatever the weights
    dialect = "match-rms" if adjust == "match_rms_adamw" else "" if nesterov else "heavy-ball"
    rule = f"muon/{dialect}".rstrip("/")
    mine, its = weights(MATRICES), weights(MATRICES)
    start = flat(mine)
    drive(ravine.optim.of(rule)(mine, lr=0.02, weight_decay=0.1), 30)
    drive(torch.optim.Muon(its, lr=0.02, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn=adjust), 30)
    assert_alike(mine, its, start)


def test_torch_s_muon_is_near_in_its_own_bfloat16() -> None:
    torch.set_default_dtype(torch.float32)
    mine, its = weights(MATRICES), weights(MATRICES)
    drive(ravine.optim.of("muon/bfloat16")(mine, lr=0.02), 30)
    drive(torch.optim.Muon(its, lr=0.02, weight_decay=0.0), 30)
    assert float((flat(mine) - flat(its)).norm() / flat(its).norm()) < 0.02


def test_torch_s_adafactor_walks_the_same_way() -> None:
    mine, its = weights(MIXED), weights(MIXED)
    start = flat(mine)
    eps = torch.finfo(torch.float64).eps
    drive(ravine.optim.of("adafactor/clamped")(mine, eps=eps, weight_decay=0.1), 30)
    drive(torch.optim.Adafactor(its, weight_decay=0.1), 30)
    assert_alike(mine, its, start)
