"""A LightningModule with a scheduler: only the optimizer's line is ravine's (``--peer``: torch's own)."""

import json
import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim


class Classifier(lightning.LightningModule):
    """A small network that knows how to train itself."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        """The loss of one minibatch."""
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        print(json.dumps({"loss": loss.item()}))
        return loss

    def configure_optimizers(self):
        """The optimizer, and a rate that falls with the epochs."""
        optimizer = optim.AdamW(self.parameters(), lr=3e-3)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)]


lightning.seed_everything(0)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
trainer = lightning.Trainer(
    max_epochs=5,
    accelerator="cpu",
    gradient_clip_val=1.0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), DataLoader(data, batch_size=128, shuffle=True))
