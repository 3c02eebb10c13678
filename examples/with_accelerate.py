"""Accelerate, with accumulated and clipped gradients: only the optimizer's line is ravine's (``--peer``: torch's)."""

import json
import sys

import torch
from accelerate import Accelerator
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim

torch.manual_seed(0)
x, y = load_diabetes(return_X_y=True)
x = torch.tensor(x * 20, dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))

optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
for _ in range(5):
    for features, targets in loader:
        with accelerator.accumulate(model):
            loss = nn.functional.mse_loss(model(features), targets)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            accelerator.print(json.dumps({"loss": loss.item()}))
