"""A compiled model: only the optimizer's line is ravine's (``--peer``: torch's own)."""

import json
import shutil
import sys

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim

torch.manual_seed(0)
x, y = load_breast_cancer(return_X_y=True)
x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)[:, None]
backend = "inductor" if shutil.which("g++") else "aot_eager"
if backend == "aot_eager":
    print("no g++ here, which inductor compiles with: backend='aot_eager' instead", file=sys.stderr)
model = torch.compile(nn.Sequential(nn.Linear(30, 32), nn.GELU(), nn.Linear(32, 1)), backend=backend)

optimizer = optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)

for _ in range(100):
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    loss.backward()
    optimizer.step()
    print(json.dumps({"loss": loss.item()}))
