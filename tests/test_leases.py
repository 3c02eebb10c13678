"""Shared work: a piece has one holder at a time, and one who was taken for dead changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ravine.errors import UserError
from ravine.store import Store
from ravine.store.leases import Leases, Stale
from tests.test_store_faults import a_race

INTERVAL = 0.4


@pytest.fixture
def leases(tmp_path: Path) -> Generator[Leases]:
    with Store(str(tmp_path / "s.db")) as store:
        yield Leases(store, INTERVAL)


def test_a_piece_has_one_holder_until_its_heartbeat_stops(leases: Leases) -> None:
    leases.publish("race", {"a": b"0", "b": b"0"})
    leases.publish("race", {"a": b"anew"})  # what is there stays
    first = leases.take("race", "one")
    second = leases.take("race", "two")
    assert first is not None and second is not None and leases.take("race", "three") is None
    assert [(taken.piece, taken.token, held) for taken, held in (first, second)] == [("a", 1, b"0"), ("b", 1, b"0")]
    leases.keep(first[0], b"half")
    assert leases.lasts + leases.interval / 4 < 2 * leases.interval  # what a heartbeat missed may cost
    while (again := leases.take("race", "three")) is None:
        leases.beat(second[0])
        time.sleep(0.02)
    taken, held = again
    assert (taken.token, taken.holder, held) == (2, "three", b"half")  # from where the first one was
    for write in (
        leases.beat,
        leases.give_up,
        lambda lost: leases.keep(lost, b"x"),
        lambda lost: leases.finish(lost, b"x"),
    ):
        with pytest.raises(Stale):
            write(first[0])
    leases.finish(taken, b"whole")
    leases.finish(taken, b"whole")  # the answer to the first time was lost
    with pytest.raises(Stale):
        leases.finish(taken, b"another")
    assert leases.content("race", "a") == b"whole" and leases.states("race") == {"a": "done", "b": "open"}


def test_who_gives_up_makes_room_at_once(leases: Leases) -> None:
    leases.interval = 60.0
    leases.publish("race", {"a": b"0"})
    first = leases.take("race", "one")
    assert first is not None
    leases.give_up(first[0])
    second = leases.take("race", "two")
    assert second is not None and second[0].token == 2
    leases.remove(second[0], ["a"])
    assert leases.states("race") == {}
    with pytest.raises(UserError, match="no piece a is in the store"):
        leases.content("race", "a")


def test_a_write_of_the_store_is_refused_with_the_lease(leases: Leases) -> None:
    leases.interval = 60.0
    leases.publish("race", {"lead": b""})
    old = leases.take("race", "one")
    assert old is not None
    leases.store.save_race(a_race(), leases.guard(old[0]))
    leases.give_up(old[0])
    assert leases.take("race", "two") is not None
    with pytest.raises(Stale):
        leases.store.save_race(a_race(verdict="of a zombie"), leases.guard(old[0]))
    assert leases.store.race("race-digits-7f3a") == a_race()


def test_who_led_and_was_replaced_publishes_nothing_and_reads_nothing(leases: Leases) -> None:
    leases.interval = 60.0
    leases.publish("race", {"lead": b""})
    old = leases.take("race", "one", ["lead"])
    assert old is not None
    leases.publish("race", {"a": b"0"}, old[0])
    assert leases.contents(old[0], ["a"]) == {"a": b"0"}
    leases.give_up(old[0])
    new = leases.take("race", "two", ["lead"])
    assert new is not None
    leases.remove(new[0], ["a"])
    late: list[Callable[[], object]] = [
        lambda: leases.publish("race", {"a": b"0"}, old[0]),
        lambda: leases.contents(old[0], ["a"]),  # not "no piece a", which nobody did wrong
    ]
    for call in late:
        with pytest.raises(Stale):
            call()
    assert leases.states("race") == {"lead": "open"}


def test_many_who_ask_at_once_get_different_pieces(leases: Leases) -> None:
    leases.interval = 60.0  # nobody dies here, however slow the disk is
    leases.publish("race", {f"{place:03}": b"" for place in range(40)})

    def taking(holder: int) -> list[str]:
        found: list[str] = []
        while (taken := leases.take("race", str(holder))) is not None:
            leases.finish(taken[0], str(holder).encode())
            found.append(taken[0].piece)
        return found

    with ThreadPoolExecutor(4) as pool:
        taken = [piece for each in pool.map(taking, range(4)) for piece in each]
    assert sorted(taken) == sorted(leases.states("race")) and len(taken) == 40


ZOMBIE = """
import sys, time
from ravine.store import Store
from ravine.store.leases import Leases, Stale
with Store(sys.argv[1]) as store:
    leases = Leases(store, float(sys.argv[2]))
    lease, _ = leases.take("race", "zombie")
    print("taken", flush=True)
    sys.stdin.readline()
    try:
        leases.finish(lease, b"of a zombie")
    except Stale:
        print("stale")
"""


def test_a_stopped_process_that_wakes_overwrites_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    with Store(path) as store:
        leases = Leases(store, 0.1)
        leases.publish("race", {"a": b"begun"})
        command = [sys.executable, "-c", ZOMBIE, path, "0.1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zombie:
            assert zombie.stdout is not None and zombie.stdout.readline() == "taken\n"
            os.kill(zombie.pid, signal.SIGSTOP)
            while (taken := leases.take("race", "living")) is None:
                time.sleep(0.02)
            leases.finish(taken[0], b"of the living")
            os.kill(zombie.pid, signal.SIGCONT)
            told, _ = zombie.communicate("\n", timeout=60)
        assert told == "stale\n" and leases.content("race", "a") == b"of the living"
