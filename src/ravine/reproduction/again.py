"""The run once more, and how it compares."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

from ravine.made_with import made_with
from ravine.problems.problem import Problem
from ravine.reproduction.kept import Kept
from ravine.results import Point, RunResult
from ravine.training.train import Training

Verdict: TypeAlias = Literal["to the bit", "within rounding", "differs"]
ROUNDING = 1e-4  # relative difference of losses that other orders of addition may make


@dataclass(frozen=True)
class Reproduction:
    """A run that was recorded, the same recipe's run now, and what differs around them."""

    kept: Kept
    now: RunResult
    made_with: Mapping[str, str]
    understood: tuple[str, ...]
    parameters: int
    seconds: float
    worst: float  # largest relative difference of two validation losses
    since: float | None  # the epoch from which they differ by more than rounding
    verdict: Verdict

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """What the two were made with, where it is not the same: then, and now."""
        both = {name: (self.kept.made_with.get(name, "not recorded"), new) for name, new in self.made_with.items()}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1] and name != "fingerprint"}

    @property
    def sentence(self) -> str:
        """The verdict, and why where that is known."""
        same_data = self.changed.get("data") is None
        if self.verdict == "to the bit":
            return "Reproduced to the bit: every point of the curve and the best weights are the same."
        if self.verdict == "within rounding":
            why = (
                "" if self.kept.alone else " (in the race it ran beside others, whose sums are added in another order)"
            )
            return f"Reproduced within rounding: losses differ by {self.worst:.1e} of their size at most{why}."
        said = f"Not reproduced: it differs from epoch {self.since:g} on, by {self.worst:.2g} of the loss at most"
        if not same_data and "not recorded" not in self.changed["data"]:
            return f"{said}; the data are other data (their hash differs)."
        names = [name for name in self.changed if name != "data"]
        return f"{said}; what has changed: {', '.join(names)}." if names else f"{said}; nothing known has changed."


def reproduce(kept: Kept, problem: Problem) -> Reproduction:
    """Run the recipe again, to its end."""
    begin = time.monotonic()
    running = Training(kept.recipe, problem)
    for _ in running.run():
        pass
    now = running.result
    facts = made_with(running)
    worst, since = compare(kept.result.curve, now.curve)
    prints = {kept.made_with.get("fingerprint"), facts.get("fingerprint")}
    same = kept.result.curve == now.curve and (len(prints) == 1 or None in prints)
    verdict: Verdict = "to the bit" if same else "differs" if since is not None else "within rounding"
    sizes = sum(p.numel() for p in running.model.module.parameters() if p.requires_grad)
    seconds = time.monotonic() - begin
    return Reproduction(kept, now, facts, running.problem.understood, sizes, seconds, worst, since, verdict)


def compare(old: list[Point], new: list[Point]) -> tuple[float, float | None]:
    """The largest relative difference of validation losses, and the epoch of the first that is no rounding."""
    worst, since = 0.0, None
    for one, other in zip_longest(old, new):
        if one is None or other is None:  # one of them went on longer
            end = one or other
            return math.inf, since if since is not None or end is None else end.epoch
        gap = abs(one.valid_loss - other.valid_loss) / max(abs(one.valid_loss), 1e-12)
        gap = gap if one.epoch == other.epoch and math.isfinite(gap) else math.inf
        worst = max(worst, gap)
        if gap > ROUNDING and since is None:
            since = one.epoch
    return worst, since
