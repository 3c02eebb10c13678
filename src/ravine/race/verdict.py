"""The verdict: what the numbers allow to be said, in a sentence or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ravine.results import Standing
from ravine.rules.rule import name_of, values
from ravine.training.track import Run

FLAT = 1.25  # a loss within this factor of the best counts as flat


def verdict(rows: Sequence[Standing], runs: Sequence[Run]) -> str:
    """Who won, who cannot be told apart, whom to take without tuning, and whether tuning paid."""
    final = [row for row in rows if row.finalist]
    if not final:
        if not rows:
            return "Nothing can be said yet: no configuration has been measured to the end of a rung."
        return f"No finalist yet: {rows[0].rule} led by one run each, which tells little."
    first = final[0]
    tied = [row for row in final if row.tie]
    if not tied:
        text = f"{first.rule} wins at a learning rate of {_rate(first)}"
        if len(final) > 1:
            text += f": lower validation loss than {final[1].rule} over all {len(first.valid_loss.values)} seeds' spread"
    else:
        text = f"{_listed([row.rule for row in [first, *tied]])} tie: within noise over {_seeds(first)} seeds"
        text += _easiest([first, *tied], runs)
    return f"{text}. {_tuning(first)}"


def _easiest(tied: Sequence[Standing], runs: Sequence[Run]) -> str:
    """Which of the tied rules forgives a learning rate that is off, if one does so by half a decade more."""
    spans = {row.rule: flat_range(row.rule, runs) for row in tied}
    widths = {rule: math.log10(high / low) for rule, (low, high) in spans.items()}
    best = max(widths, key=lambda rule: widths[rule])
    rest = [width for rule, width in widths.items() if rule != best]
    if widths[best] < 0.5 + max(rest):
        return ""
    low, high = spans[best]
    return f"; take {best} if you cannot tune, its loss is flat from {low:.2g} to {high:.2g}"


def flat_range(rule: str, runs: Sequence[Run]) -> tuple[float, float]:
    """The learning rates around a rule's best one at which the first rung's loss stays within a quarter of the best."""
    own = [run for run in runs if run.stage == "rung" and name_of(run.candidate.rule) == rule]
    last = min((run.tick for run in own if not run.diverged), default=0)
    seen = sorted((values(run.candidate.rule)["lr"], _loss_at(run, last)) for run in own)
    place = min(range(len(seen)), key=lambda i: seen[i][1])
    best = seen[place][1]
    low = high = place
    while low > 0 and seen[low - 1][1] <= FLAT * best:
        low -= 1
    while high < len(seen) - 1 and seen[high + 1][1] <= FLAT * best:
        high += 1
    return seen[low][0], seen[high][0]


def _loss_at(run: Run, tick: int) -> float:
    """The lowest loss up to a tick that every run of its rule has reached; inf for a run that diverged."""
    return math.inf if run.diverged else min((p.valid_loss for p in run.curve[1 : tick + 1]), default=math.inf)


def _tuning(row: Standing) -> str:
    if row.default_loss is None:
        return "Its defaults were not measured over the same seeds."
    if row.tuning is None:
        return "No setting that was drawn beat its defaults."
    gain = f"{abs(row.tuning.mean):.0%}"
    if row.tuning_paid:
        return f"Tuning paid: {gain} lower loss than {row.rule} at its defaults."
    if row.tuning.low > 0:
        return f"Tuning did not pay: the tuned setting is {gain} worse than {row.rule}'s defaults over fresh seeds."
    return f"Tuning did not pay measurably: {row.rule} at its defaults is within noise."


def _rate(row: Standing) -> str:
    return f"{row.hypers['lr']:.2g}" if "lr" in row.hypers else "its own"


def _seeds(row: Standing) -> int:
    return len(row.valid_loss.values)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
