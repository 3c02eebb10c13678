"""One piece of a race: some of its runs, taken to a tick by whoever holds the lease, from where the last one was."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ravine.errors import UserError
from ravine.racing.race import Race
from ravine.randomness import key
from ravine.rules.rule import name_of
from ravine.sharing.heart import Heart
from ravine.sharing.state import packed, unpacked
from ravine.store.leases import Lease, Leases, Stale
from ravine.training.checkpoint import due
from ravine.training.cohort import runs_together
from ravine.training.run import Run
from ravine.training.track import Track

CHANGED = ("lane", "tick", "curve", "diverged", "best", "snapshots")  # of a run, by whoever takes it on
LEAD = "lead"  # the piece whose holder promotes, calls finals and ranks


def holder() -> str:
    """This process, as others are told of it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def track_of(race: Race) -> Track:
    """A track of one worker for runs of the race."""
    assert race.plan is not None
    race.designs.staff(1)
    own = race.designs.own
    draws, of = bool(race.plan.refusal), race.designs.of
    return Track(own.models[:1], own.loss, own.problem, own.clock, race.plan.size, draws, of=of)


def advance(leases: Leases, lease: Lease, content: bytes, race: Race, stopped: Callable[[], bool]) -> Iterator[int]:
    """Work on a piece to its end; yields the open runs at each tick.

    Where ``stopped`` says so it is kept as it stands, and given up. Raises `Stale` where another has taken it over.
    """
    facts, runs = unpacked(content)
    track, saved, took = track_of(race), time.monotonic(), 0.0
    with Heart(leases, lease) as heart, giving_up(leases, lease):
        for open_runs in track.go(runs, facts["to_tick"], facts["keep_best"]):
            heart.check()
            if stopped():
                track.stop()
                leases.keep(lease, packed(_with_steps(facts, track), runs))
                leases.give_up(lease)
                return
            if due(saved, took):
                begin = time.monotonic()
                with track.lent():
                    leases.keep(lease, packed(_with_steps(facts, track), runs))
                saved = time.monotonic()
                took = saved - begin
            yield open_runs
        leases.finish(lease, packed(_with_steps(facts, track), runs))


@contextmanager
def giving_up(leases: Leases, lease: Lease) -> Generator[None]:
    """Whoever is interrupted within leaves the piece to others at once."""
    try:
        yield
    except BaseException:
        with suppress(Stale, UserError):
            leases.give_up(lease)
        raise


def _with_steps(facts: Mapping[str, Any], track: Track) -> dict[str, Any]:
    return {**facts, "lane_steps": facts.get("lane_steps", 0) + track.lane_steps}


def pieces_of(race: Race, runs: Sequence[Run], to_tick: int, keep_best: bool) -> dict[str, list[Run]]:
    """The runs that have to go on, in the cohorts in which one process with one worker would begin them, by name.

    A name says which runs and how far, so whoever leads finds the pieces of whoever led before.
    """
    assert race.plan is not None
    waiting = [run for run in sorted(runs, key=lambda run: name_of(run.candidate.rule)) if run.tick < to_tick]
    alike: dict[Any, list[Run]] = {}
    for run in waiting:
        if not run.diverged:
            own = "" if runs_together(run) else run.id
            alike.setdefault((id(race.designs.of(run)), run.tick, own), []).append(run)
    size = race.plan.size
    cut = [own[begin : begin + size] for own in alike.values() for begin in range(0, len(own), size)]
    return {f"{to_tick:06}-{place:04}-{key(*(run.id for run in own)):016x}": own for place, own in enumerate(cut)}


class SharedTrack(Track):
    """The track of a race whose leader hands its runs out as pieces, and works on them too."""

    def __init__(self, race: Race, leases: Leases, lease: Lease, heart: Heart) -> None:
        own = race.designs.own
        super().__init__([], own.loss, own.problem, own.clock)
        self.race, self.leases, self.lease, self.heart = race, leases, lease, heart

    def go(self, runs: Sequence[Run], to_tick: int, keep_best: bool = False) -> Iterator[int]:
        """As `Track.go`; what came of the pieces reaches the runs at the end, when all are done."""
        race, leases, about = self.race, self.leases, self.lease.race
        made = pieces_of(race, runs, to_tick, keep_best)
        race.saving.save(race.facts(), race.runs)  # whoever leads next hands out the same pieces
        facts = {"to_tick": to_tick, "keep_best": keep_best}
        leases.publish(about, {piece: packed(facts, own) for piece, own in made.items()}, self.lease)
        while waiting := [piece for piece, state in leases.states(about).items() if piece in made and state != "done"]:
            self.heart.check()
            taken = leases.take(about, holder(), waiting)
            if taken is not None:
                try:
                    for open_runs in advance(leases, *taken, race, lambda: race.is_stopping):
                        self.heart.check()
                        yield open_runs
                except Stale:  # of the piece, which another works on; or of the lead
                    self.heart.check()
            else:
                time.sleep(leases.interval / 8)
            yield max(1, sum(len(made[piece]) for piece in waiting))
        contents = leases.contents(self.lease, made)
        for piece, own in made.items():
            came, done = unpacked(contents[piece])
            self._ended += came["lane_steps"]
            for run, new in zip(own, done, strict=True):
                for name in CHANGED:
                    setattr(run, name, getattr(new, name))
        race.saving.save(race.facts(), race.runs)
        leases.remove(self.lease, made)
        if made:
            yield sum(not run.diverged for run in runs)
