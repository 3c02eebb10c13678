"""The pilot: how the lanes of a race share the machine, measured where most of them run."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.racing.designs import Designs
from ravine.racing.plan import Plan, choose
from ravine.racing.spec import RaceSpec
from ravine.training.run import Candidate, Run


def planned(designs: Designs, drawn: Sequence[Candidate], spec: RaceSpec) -> Plan:
    """The way that is quickest for the configurations of the world that most of them are in."""
    worlds = [designs.of(Run("", candidate, spec.seed, "rung")) for candidate in drawn]
    world = max(worlds, key=worlds.count)
    lanes = [designs.lane(c, spec.seed) for c, own in zip(drawn, worlds, strict=True) if own is world]
    return choose(world.models[0], world.loss, lanes, world.problem, world.clock, spec.lanes, spec.workers)
