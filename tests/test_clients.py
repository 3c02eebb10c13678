"""What users of other libraries lean on: saved and resumed runs, settings changed in the middle, profilers."""

from __future__ import annotations

import copy
import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ravine.optim

# The warnings of those libraries are not ours
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ["AdamW", "NAdam", "RMSprop"]
STILL: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"needs {name}: install ravine[clients]")


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def rows() -> TensorDataset:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(2))
    return TensorDataset(x, x.sum(1, keepdim=True))


def lightning_module(lightning: Any, optimizer: str) -> Any:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()
            self.losses: list[float] = []

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> dict[str, Any]:
            made = getattr(ravine.optim, optimizer)(self.named_parameters(), lr=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(made, max_lr=0.05, total_steps=40)
            return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Module()


@pytest.mark.parametrize("optimizer", NAMES)
def test_lightning_resumes_to_the_same_losses(optimizer: str, tmp_path: Path) -> None:
    lightning = library("lightning")
    whole, half, rest = (lightning_module(lightning, optimizer) for _ in range(3))
    loader = DataLoader(rows(), batch_size=16)
    lightning.Trainer(max_epochs=8, **STILL).fit(whole, loader)
    trainer = lightning.Trainer(max_epochs=4, **STILL)
    trainer.fit(half, loader)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    lightning.Trainer(max_epochs=8, **STILL).fit(rest, loader, ckpt_path=tmp_path / "half.ckpt")
    assert half.losses + rest.losses == whole.losses


def trainer_losses(folder: Path, optimizer: str, resume: Path | None = None) -> list[float]:
    """What a Trainer logs over 8 steps of a tiny GPT-2, saving half-way."""
    transformers = library("transformers")
    transformers.set_seed(0)
    sizes = {"vocab_size": 16, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    options = {"max_steps": 8, "save_steps": 4, "logging_steps": 1, "report_to": "none", "disable_tqdm": True}
    arguments = transformers.TrainingArguments(folder, weight_decay=0.01, use_cpu=True, **options)
    tokens = (torch.arange(64)[:, None] + 3 * torch.arange(8)) % 16
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
        optimizer_cls_and_kwargs=(getattr(ravine.optim, optimizer), {"lr": 3e-3}),
    )
    trainer.train(resume_from_checkpoint=resume and str(resume))
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("optimizer", NAMES)
def test_the_transformers_trainer_resumes_to_the_same_losses(optimizer: str, tmp_path: Path) -> None:
    whole = trainer_losses(tmp_path / "whole", optimizer)
    half = tmp_path / "whole" / "checkpoint-4"
    torch.load(half / "optimizer.pt", weights_only=True)
    assert len(whole) == 8
    assert trainer_losses(tmp_path / "again", optimizer, half) == whole


@pytest.mark.parametrize("optimizer", NAMES)
def test_accelerate_goes_back_to_a_saved_state(optimizer: str, tmp_path: Path) -> None:
    accelerator = library("accelerate").Accelerator(cpu=True)
    model = net()
    made = getattr(ravine.optim, optimizer)(model.named_parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, 20)
    model, made, schedule = accelerator.prepare(model, made, schedule)
    x, y = rows().tensors

    def losses() -> list[float]:
        found: list[float] = []
        for _ in range(8):
            made.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            accelerator.backward(loss)
            made.step()
            schedule.step()
            found.append(loss.item())
        return found

    losses()
    accelerator.save_state(tmp_path)
    first = losses()
    accelerator.load_state(tmp_path)
    assert losses() == first
    assert made.state_dict()["param_groups"][0]["param_names"] == [name for name, _ in net().named_parameters()]


def test_skorch_settings_act_and_saved_runs_go_on(tmp_path: Path) -> None:
    skorch, base = library("skorch"), importlib.import_module("sklearn.base")
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    y = x.sum(1, keepdims=True)
    options = {"optimizer": ravine.optim.AdamW, "max_epochs": 2, "train_split": None, "verbose": 0}
    options |= {"optimizer__param_groups": [("*.bias", {"weight_decay": 0.0})]}
    model = skorch.NeuralNetRegressor(net, lr=0.01, **options).fit(x, y)
    model.set_params(lr=0.1, optimizer__betas=(0.8, 0.9))
    assert [group["lr"] for group in model.optimizer_.param_groups] == [0.1, 0.1]
    assert [group["betas"] for group in model.optimizer_.param_groups] == [(0.8, 0.9), (0.8, 0.9)]
    files = {"f_params": tmp_path / "p.pt", "f_optimizer": tmp_path / "o.pt"}
    model.save_params(**files)
    loaded = base.clone(model).initialize()
    loaded.load_params(**files)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded]
    model.partial_fit(x, y)
    for other in others:
        other.partial_fit(x, y)
        assert other.history[-1, "train_loss"] == model.history[-1, "train_loss"]
