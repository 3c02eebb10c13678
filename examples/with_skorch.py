"""A skorch classifier in a scikit-learn pipeline: only the optimizer's line is ravine's (``--peer``: torch's own)."""

import json
import sys

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim


class Net(nn.Module):
    """Class scores from the 13 measurements of a wine."""

    def __init__(self, width=32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x):
        """One row of scores a wine."""
        return self.layers(x)


torch.manual_seed(0)
x, y = load_wine(return_X_y=True)
net = NeuralNetClassifier(
    Net,
    criterion=nn.CrossEntropyLoss,
    optimizer=optim.Adamax,
    optimizer__weight_decay=1e-3,
    lr=0.01,
    max_epochs=30,
    train_split=None,
    verbose=0,
)
pipeline = make_pipeline(StandardScaler(), net).fit(x.astype(np.float32), y)
for loss in pipeline[-1].history[:, "train_loss"]:
    print(json.dumps({"loss": loss}))
