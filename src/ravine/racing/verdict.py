"""The verdict: what the numbers allow to be said, in a sentence or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ravine.reading import finalists, forgiving
from ravine.results import RaceResult, Standing


def verdict(result: RaceResult) -> str:
    """Who won, who cannot be told apart, whom to take without tuning, and whether tuning paid."""
    final = finalists(result)
    if not final:
        if not result.ranking:
            return "Nothing can be said yet: no configuration has been measured."
        return f"No finalist yet: {result.ranking[0].rule} leads by one run each, which tells little."
    first, rest = final[0], final[1:]
    tied = [row for row in rest if row.tie]
    if tied:
        text = f"{_listed([row.rule for row in [first, *tied]])} tie: within noise over {_seeds(first)} seeds"
        text += _easiest([first, *tied], result)
    else:
        text = f"{first.rule} wins at a learning rate of {_rate(first)}"
        if rest:
            beaten = _listed([row.rule for row in rest])
            text += f", its loss lower than {beaten}'s beyond noise over {_seeds(first)} seeds"
    return f"{text}. {_tuning(first)}{_against_classics(result)}"


def _against_classics(result: RaceResult) -> str:
    """A warning where the network does not beat the best classical model on the test part."""
    found = result.baselines
    if found is None or found.lead is None or found.lead.low > 0:
        return ""
    name = found.rows[0].name
    if found.lead.high < 0:
        return f" A classical model does better: {name} beats the network on the test part."
    return f" The network does not measurably beat a classical model: {name} is within noise of it."


def _easiest(tied: Sequence[Standing], result: RaceResult) -> str:
    """Which of the tied rules forgives a learning rate that is off, if one does so by a quarter of a decade more."""
    spans = forgiving(result)
    widths = {row.rule: math.log10(spans[row.rule][1] / spans[row.rule][0]) for row in tied if row.rule in spans}
    order = sorted(widths, key=lambda rule: -widths[rule])
    if not order or (len(order) > 1 and widths[order[0]] < widths[order[1]] + 0.25) or widths[order[0]] == 0:
        return ""
    low, high = spans[order[0]]
    return f"; take {order[0]} if you cannot tune, it does well from {low:.2g} to {high:.2g}"


def _tuning(row: Standing) -> str:
    if row.default_loss is None:
        return "Its defaults were not measured over the same seeds."
    if row.tuning is None:
        return "No setting that was drawn beat its defaults."
    gain = f"{abs(row.tuning.mean):.0%}"
    if row.tuning_paid:
        return f"Tuning paid: {gain} lower loss than {row.rule} at its defaults."
    if row.tuning.low > 0:
        return (
            f"Tuning did not pay: the best setting drawn had {gain} higher loss than {row.rule} at its defaults, "
            "so the defaults stand."
        )
    return f"Tuning did not pay measurably: {row.rule} at its defaults is within noise."


def _rate(row: Standing) -> str:
    return f"{row.hypers['lr']:.2g}" if "lr" in row.hypers else "its own"


def _seeds(row: Standing) -> int:
    return len(row.valid_loss.values)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
