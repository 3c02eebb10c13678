"""Oracle of Schedule-Free SGD."""

from __future__ import annotations

from tests.oracles.loop import Memory, Number, Settings, each_entry


@each_entry
def schedule_free_sgd(g: Number, w: Number, t: int, s: Memory, h: Settings) -> Number:
    """Defazio et al. 2024, equations 3 to 5: z, x and y each kept; a constant rate makes c = 1 / t."""
    z = s.get("z", w) - h["lr"] * g
    x = s.get("x", w) + (z - s.get("x", w)) / t
    s.update(z=z, x=x)
    return (1 - h["beta"]) * z + h["beta"] * x
