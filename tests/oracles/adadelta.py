"""Oracle of Adadelta."""

from __future__ import annotations

import numpy as np

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def adadelta(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Zeiler 2012, algorithm 1; the step is multiplied by lr as torch.optim.Adadelta does."""
    rho, eps = h["rho"], h["eps"]
    s["Eg2"] = rho * s.get("Eg2", 0) + (1 - rho) * g**2
    dx = -np.sqrt(s.get("Edx2", 0) + eps) / np.sqrt(s["Eg2"] + eps) * g
    s["Edx2"] = rho * s.get("Edx2", 0) + (1 - rho) * dx**2
    return w + h["lr"] * dx
