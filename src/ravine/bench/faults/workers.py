"""F8: processes that share a race are killed, or stopped past their lease and woken: leaders, workers, all at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from ravine import api
from ravine.bench.faults.kills import LONGEST, server
from ravine.bench.faults.ledger import handed_over, judged, takes
from ravine.bench.faults.noted import Blow, NotedLeases
from ravine.bench.faults.store import noted
from ravine.bench.faults.trial import Part, Trial
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.sharing import share, work
from ravine.sharing.work import LEAD
from ravine.store import Store
from ravine.store.leases import Lease, Leases

SPEC = RaceSpec(
    problem="wine", model="mlp:8", rules=["adam", "sgd"], budget=5, epochs=6, seeds=2, finalists=1, lanes=2,
    workers=1, widen=False, seed=5, baselines=False,
)  # fmt: skip
INTERVAL = 0.5  # seconds between heartbeats of which two may be missed
CALLS = 24  # of one of two processes in an undisturbed race, about
TICKS = 4  # from one time that a piece is kept to the next
END = "end.json"
APART = {"id", "created", "command", "cost", "versions"}  # of a result: what differs from race to race


def alone(path: str) -> None:
    """The race in one process, and what came of it."""
    torch.set_num_threads(1)
    race = api.start(SPEC, load(SPEC.problem))
    for _ in race.run():
        pass
    Path(path).write_text(result_of(race).model_dump_json(exclude=APART))


def session(folder: str, name: str, log: str, blow: Blow | None) -> None:
    """Take part in the race until it is done; whoever leads it to its end keeps it in the store."""
    torch.set_num_threads(1)
    ticks = count(1)
    work.due = lambda saved, saving: next(ticks) % TICKS == 0  # so that a successor finds something begun
    with Store(f"{folder}/ravine.db") as store:
        leases = NotedLeases(store, INTERVAL, Path(log), blow)

        def lead(race: Race, lease: Lease) -> None:
            for _ in race.run():
                pass
            store.save_race(result_of(race), leases.guard(lease))

        share.part(leases, name, Path(folder), lead, lambda _: None, lambda: False)


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a race of two processes, one or both of which are struck, and whoever comes to help."""
    context = server()
    place.mkdir(parents=True, exist_ok=True)
    seconds = 0.0
    for _ in range(2):  # the first waits until there is a process to fork
        begin = time.monotonic()
        process = context.Process(target=alone, args=(str(place / END),))
        process.start()
        process.join(LONGEST)
        seconds = time.monotonic() - begin
    want = json.loads((place / END).read_text())
    for index in indices:
        folder = place / f"workers-{index}"
        folder.mkdir()
        yield Struck(context, index, folder).tried(want, seconds)
        shutil.rmtree(folder)


class Struck:
    """One trial: its processes, and what becomes of them."""

    def __init__(self, context: ForkServerContext, index: int, folder: Path) -> None:
        self.context, self.index, self.folder = context, index, folder
        self.draw = random.Random(f"workers {index}")
        self.signal = (signal.SIGKILL, signal.SIGSTOP)[index % 2]
        self.whom = 2 if index % 6 >= 4 else 1  # of the two
        self.by_call = index % 4 >= 2  # at one of its own calls, or at a random time
        self.started: list[ForkServerProcess] = []
        self.struck: dict[int, float] = {}
        with Store(f"{folder}/ravine.db") as store:
            leases = NotedLeases(store, INTERVAL, folder / "log-begin")
            self.name = share.publish(leases, api.start(SPEC, load(SPEC.problem)))

    def tried(self, want: dict[str, Any], seconds: float) -> Trial:
        """Strike, let others help, wake who was stopped, and look at what came of it."""
        blows = [self._blow() if self.by_call and place < self.whom else None for place in range(2)]
        first = [self._start(blow) for blow in blows]
        if not self.by_call:
            while not takes(self._calls()):
                time.sleep(0.01)
            time.sleep(self.draw.uniform(0, 1.2) * seconds)
        for process in self.draw.sample(first, 2)[: self.whom] if not self.by_call else first[: self.whom]:
            self._strike(process)
        if self.signal == signal.SIGSTOP:
            self._start(None)
            time.sleep(self.draw.uniform(0.2, 5.0) * INTERVAL)
            for process in first:
                if process.pid in self.struck:
                    with suppress(ProcessLookupError):  # it had ended as it was to be stopped
                        os.kill(process.pid, signal.SIGCONT)
        elif len(self.struck) == 2 or self.draw.random() < 0.5:
            self._start(None)
        return Trial(self.index, *self._seen(want))

    def _blow(self) -> Blow:
        return Blow(self.draw.randint(1, CALLS), self.draw.random() < 0.5, self.signal)

    def _start(self, blow: Blow | None) -> ForkServerProcess:
        log = self.folder / f"log-{len(self.started)}"
        process = self.context.Process(target=session, args=(str(self.folder), self.name, str(log), blow))
        process.start()
        self.started.append(process)
        return process

    def _strike(self, process: ForkServerProcess) -> None:
        """Strike it, or wait until it has struck itself; one that came to its end before is not struck."""
        assert process.pid is not None
        if not self.by_call:
            if not process.is_alive():
                return
            self.struck[process.pid] = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(process.pid, self.signal)
            if self.signal == signal.SIGKILL:
                process.join(LONGEST)
                if process.exitcode == 0:  # it had come to its end in that moment
                    del self.struck[process.pid]
            return
        while process.exitcode is None or self._told(process.pid):
            if told := self._told(process.pid):
                self.struck[process.pid] = told
                return
            time.sleep(0.01)

    def _told(self, pid: int) -> float:
        """When a process wrote that it would strike itself; 0 where it has not."""
        return max((call["at"] for call in self._calls() if call["what"] == "blow" and call["pid"] == pid), default=0.0)

    def _calls(self) -> list[dict[str, Any]]:
        return [call for log in self.folder.glob("log-*") for call in noted(log)]

    def _seen(self, want: dict[str, Any]) -> tuple[str, dict[str, float]]:
        wrong: list[str] = []
        for process in self.started:
            process.join(LONGEST)
            killed = self.signal == signal.SIGKILL and process.pid in self.struck
            if process.exitcode != (-signal.SIGKILL if killed else 0):
                wrong.append(f"a process ended with code {process.exitcode}")
                process.kill()
        with Store(f"{self.folder}/ravine.db") as store:
            found = json.loads(store.race(self.name).model_dump_json(exclude=APART))
            left = Leases(store).states(self.name)
            if len(store.races()) != 1 or left != {LEAD: "done"}:
                wrong.append(f"{len(store.races())} races, and pieces that are left: {left}")
        wrong += [f"{name} differs" for name, value in want.items() if found[name] != value]
        with closing(sqlite3.connect(self.folder / "ravine.db")) as connection:
            if (told := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                wrong.append(f"integrity_check: {told}")
        calls = self._calls()
        wrong.append(judged(calls, INTERVAL))
        return "; ".join(filter(None, wrong)), self._counts(calls)

    def _counts(self, calls: Sequence[dict[str, Any]]) -> dict[str, float]:
        waits = [seconds for seconds, _ in handed_over(calls, self.struck)]
        word = "kills" if self.signal == signal.SIGKILL else "stops"
        counts: dict[str, float] = {word: len(self.struck), "handed over": len(waits)}
        counts["writes refused"] = sum(bool(call.get("stale")) for call in calls)
        return {**counts, "heartbeats until taken over": max(waits) / INTERVAL} if waits else counts


PART = Part(
    "workers",
    "F8",
    "processes that share a race killed, or stopped past their lease and woken, at random times and calls",
    "the race has the bits of one process, no piece is finished twice, nobody writes what another has taken over",
    300,
    trials,
    frozenset({"heartbeats until taken over"}),
)
