"""What one loss curve says of its learning rate: too low, good, too high, flat, or lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

from ravine.errors import UserError

Symptom: TypeAlias = Literal["flat", "too low", "good", "too high", "diverges"]
SYMPTOMS: tuple[Symptom, ...] = get_args(Symptom)

BLOCKS = 20  # means that a curve is cut into, so that the noise of single minibatches does not count
FEWEST = 2 * BLOCKS  # losses of a curve at least
RISEN = 1.1  # times the first loss: a run that ends above has lost what it began with
FALLEN = 0.05  # of the first loss: a run that ends closer to it has learned nothing
EXPLODED = 1.5  # times the first loss: a block above shows steps that are too long, even if the run recovers
BUMPY = 0.15  # of the first loss: all rises of the blocks together; a good curve hardly rises
SOLVED = 0.1  # of the first loss: a run that ends below has found its way through whatever bumps
CHANCE = 1 / math.sqrt(math.pi)  # mean rise from one of two equal means to the other, 0 for a fall, in their noise
FALLING = 0.05  # of the whole fall: a run whose last third still brings more has not come far enough


def symptom(losses: Sequence[float], start: float | None = None, noise: float = 0.0) -> Symptom:
    """Judge a learning rate by the training loss of every step of one run, in order.

    The rules, the first that holds: not finite, or ends above the start: "diverges". Ends within 5 % of the start:
    "flat", with a rate far too low or far too high. Explodes and comes down again, or goes up and down by more than
    15 % of the start, and ends above 10 % of it: "too high". The last third still brings more than 5 % of the fall:
    "too low". Otherwise, fast then slow: "good". ``start`` is the loss before training, where it is known better than
    by the first minibatch; ``noise`` the standard deviation of one loss that the draw of the minibatch makes: what it
    alone would make of rises, and of the last fall of a run that has halved its loss, is taken off.

    The curve alone is judged: a run that has settled on a poor level without any bump looks good.

    Raises:
        UserError: for fewer than 40 losses.

    >>> symptom([math.exp(-step / 20) for step in range(200)]), symptom([1 - step / 400 for step in range(200)])
    ('good', 'too low')
    """
    if len(losses) < FEWEST:
        raise UserError(f"a loss curve of {len(losses)} steps is too short to be judged: give {FEWEST} or more")
    first = float(losses[0] if start is None else start)
    if not all(math.isfinite(loss) for loss in (first, *losses)):
        return "diverges"
    blocks = block_means(losses)
    end = math.fsum(blocks[-2:]) / 2
    scale = abs(first) or 1.0
    if end > first + (RISEN - 1) * scale:
        return "diverges"
    if first - end < FALLEN * scale:
        return "flat"
    risen = math.fsum(max(after - before, 0.0) for before, after in pairwise(blocks))
    risen -= (BLOCKS - 1) * CHANCE * noise / math.sqrt(len(losses) / BLOCKS)
    exploded = max(blocks) > first + (EXPLODED - 1) * scale
    if (exploded or risen > BUMPY * scale) and end > SOLVED * scale:
        return "too high"
    late = blocks[2 * BLOCKS // 3] - end
    if first - end > scale / 2:  # most is learned, so that what noise makes of one block and of two counts
        late -= noise * math.sqrt(1.5 * BLOCKS / len(losses))
    return "too low" if late > FALLING * (first - end) else "good"


def block_means(losses: Sequence[float]) -> list[float]:
    """The curve as 20 means of neighbouring losses."""
    ends = [round(place * len(losses) / BLOCKS) for place in range(BLOCKS + 1)]
    return [math.fsum(losses[begin:end]) / (end - begin) for begin, end in pairwise(ends)]
