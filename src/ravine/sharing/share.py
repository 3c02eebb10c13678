"""A process's part in a shared race: it works on what lies open, and leads where nobody does."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ravine import api
from ravine.engines.lane import Model
from ravine.errors import UserError
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.sharing.heart import Heart
from ravine.sharing.state import packed, unpacked
from ravine.sharing.work import LEAD, SharedTrack, advance, holder
from ravine.store.leases import Lease, Leases, Stale
from ravine.training.run import Run
from ravine.training.saving import Saving

Lead = Callable[[Race, Lease], None]  # what a leader does with the race: show it, keep it, write its report


class InStore(Saving):
    """Checkpoints of a shared race: where its leader's piece stands. They are written where a stage begins or ends."""

    def __init__(self, leases: Leases, lease: Lease, model: Model, folder: Path) -> None:
        super().__init__(folder, model)
        self._leases, self._lease = leases, lease

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Nothing to claim: the lease is."""
        yield

    def due(self, at_once: bool = False) -> bool:
        """Only where a stage begins or ends; between, the pieces have their own."""
        return at_once

    def save(self, facts: Mapping[str, Any], runs: Sequence[Run], score: float | None = None) -> None:
        """Keep it; `Stale` where another leads by now."""
        self._leases.keep(self._lease, packed(facts, runs))

    def load(
        self, kind: str, folder: Path, same: Callable[[Any], bool] = lambda _: True
    ) -> tuple[dict[str, Any], list[Run]]:
        """Where the race stands."""
        return unpacked(self._leases.content(self._lease.race, self._lease.piece))


def publish(leases: Leases, race: Race) -> str:
    """Put a race that has not begun into the store; returns its id, by which others join."""
    name = race.about["id"]
    leases.publish(name, {LEAD: packed(race.facts(), [])})
    return name


def found(leases: Leases, name: str) -> dict[str, Any]:
    """What is known of a shared race; a `UserError` where there is none of that name."""
    if LEAD not in leases.states(name):
        raise UserError(f"--join {name}: no shared race of that name is in the store; begin one with --shared")
    return unpacked(leases.content(name, LEAD))[0]


def part(
    leases: Leases, name: str, out: Path, lead: Lead, tell: Callable[[str], None], stopped: Callable[[], bool]
) -> bool:
    """Take part in a race until it is done, or until ``stopped`` says so; whether this process led it to its end."""
    spec, led = RaceSpec.model_validate(found(leases, name)["spec"]), False
    if leases.states(name)[LEAD] == "done":
        return False
    me = holder()
    try:
        problem = api.prepare(spec.problem, spec.target, spec.split_seed, spec.loss, wanted=spec)
        race = api.start(spec, problem)
    except UserError as error:
        raise UserError(f"worker {me} cannot take part in {name}: {error}") from error
    while not stopped():
        states = leases.states(name)
        if states.get(LEAD) == "done":
            return led
        taken = leases.take(name, me, [piece for piece, state in states.items() if piece != LEAD and state == "open"])
        try:
            if taken is not None:
                _restore(race, leases, name, out)
                tell(f"{me} works on {taken[0].piece}")
                for _ in advance(leases, *taken, race, stopped):
                    pass
            elif (leading := leases.take(name, me, [LEAD])) is not None:
                leads(leases, leading[0], api.start(spec, problem), out, lead)
                led = True
            else:
                time.sleep(leases.interval / 8)
        except Stale as error:
            tell(f"{me} was thought dead: {error}")
    return led


def leads(leases: Leases, lease: Lease, race: Race, out: Path, lead: Lead) -> None:
    """Lead a race from where it stands to its end."""
    with Heart(leases, lease) as heart:
        race.saving = InStore(leases, lease, race.model, out / lease.race)
        race.restore(out / lease.race)
        race.by(SharedTrack(race, leases, lease, heart))
        try:
            lead(race, lease)
        finally:
            if race.phase == "done":
                leases.remove(lease, [piece for piece in leases.states(lease.race) if piece != LEAD])
                leases.finish(lease, packed(race.facts(), []))
            else:
                with suppress(Stale):
                    leases.give_up(lease)


def _restore(race: Race, leases: Leases, name: str, out: Path) -> None:
    """What a worker needs to know: the plan of lanes, and the spaces."""
    race.saving = InStore(leases, Lease(name, LEAD, 0, ""), race.model, out / name)
    race.restore(out / name)
