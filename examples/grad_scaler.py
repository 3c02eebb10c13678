"""Mixed precision, float16 with a GradScaler: only the optimizer's line is ravine's (``--peer``: torch's own)."""

import json
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data / 16, dtype=torch.float32)
y = torch.tensor(digits.target)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

optimizer = optim.Adam(model.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22)  # overflows at first: those steps are left out

for _ in range(40):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = nn.functional.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(json.dumps({"loss": loss.item(), "scale": scaler.get_scale()}))
