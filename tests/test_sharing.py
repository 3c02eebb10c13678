"""A race that processes share: the numbers of one process, whoever dies, stops or wakes; each piece done once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ravine import api
from ravine.errors import UserError
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.sharing import cluster
from ravine.sharing.share import found, part, publish
from ravine.sharing.work import LEAD
from ravine.store import Store
from ravine.store.leases import Lease, Leases

SPEC = RaceSpec(
    problem="wine", model="mlp:8", rules=["adam", "sgd", "nadam"], budget=7, epochs=6, seeds=2, finalists=2, lanes=2,
    workers=1,
)  # fmt: skip
WORDS = (
    "wine --model mlp:64 --rules adam,sgd,nadam --budget 7 --epochs 300 --seeds 2 --finalists 2 --lanes 2 --workers 1"
)
TOLD = ("ranking", "runs", "test", "rungs", "verdict", "notes")
EAGER = "from ravine.training import checkpoint; checkpoint.SELDOM = 0.0; from ravine.cli import main; main()"


def whole(race: Race, lease: Lease | None = None) -> None:
    for _ in race.run():
        pass


def begun() -> Race:
    return api.start(SPEC, load("wine"))


def results(race: Race) -> dict[str, Any]:
    told = json.loads(result_of(race).model_dump_json())
    return {name: told[name] for name in TOLD}


def test_a_shared_race_has_the_numbers_of_one_process_and_goes_on_from_any_leader(tmp_path: Path) -> None:
    alone = begun()
    whole(alone)
    with Store(str(tmp_path / "s.db")) as store:
        leases = Leases(store, 4.0)
        name = publish(leases, begun())
        led: list[Race] = []

        def lead(race: Race, lease: Lease) -> None:
            led.append(race)
            for moment in race.run():
                if len(led) == 1 and moment.phase == "finals":  # the first one dies in the finals
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            part(leases, name, tmp_path, lead, lambda text: None, lambda: False)
        assert leases.states(name)[LEAD] == "open"
        assert part(leases, name, tmp_path, lead, lambda text: None, lambda: False)
        assert len(led) == 2 and results(led[1]) == results(alone)
        assert leases.states(name) == {LEAD: "done"}  # nothing is left but that it was
        assert not part(leases, name, tmp_path, lead, lambda text: None, lambda: False)
        assert len(led) == 2  # who comes late has nothing to do
        with pytest.raises(UserError, match="--join race-none: no shared race of that name"):
            found(leases, "race-none")


def test_a_worker_without_the_users_module_says_who_it_is(tmp_path: Path) -> None:
    with Store(str(tmp_path / "s.db")) as store:
        leases = Leases(store, 60.0)
        race = begun()
        race.spec = SPEC.model_copy(update={"problem": "nobodys_code:problem"})
        name = publish(leases, race)
        with pytest.raises(
            UserError, match=rf"worker .*:{os.getpid()} cannot take part in {name}: .*no module nobodys"
        ):
            part(leases, name, tmp_path, whole, lambda text: None, lambda: False)


# --- Real processes --------------------------------------------------------------------------------------------------


def ravine(words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", EAGER, "race", *words.split(), "--store", "s.db", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(cwd)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def heard(process: subprocess.Popen[str], word: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"it ended without saying {word!r}")


def wait_for(known: Callable[[], bool]) -> None:
    while not known():
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("whom", ["worker", "leader"])
def test_who_dies_or_stops_is_replaced_once(tmp_path: Path, blow: signal.Signals, whom: str) -> None:
    alone = ravine(WORDS, tmp_path)
    expected = json.loads(alone.communicate()[0])
    leader = ravine(f"{WORDS} --shared --heartbeat 1", tmp_path)
    told = re.search(r"--join (\S+)", heard(leader, "--join"))
    assert told is not None
    worker = ravine(f"--join {told[1]} --heartbeat 1", tmp_path)
    heard(worker, "works on")
    struck, left = (worker, leader) if whom == "worker" else (leader, worker)
    os.kill(struck.pid, blow)
    helper = ravine(f"--join {told[1]} --heartbeat 1", tmp_path) if whom == "leader" else None
    out, _ = left.communicate(timeout=300)
    others = helper.communicate(timeout=300)[0] if helper is not None else ""
    result = json.loads(next(text for text in (out, others) if text.strip()))
    assert {name: result[name] for name in TOLD} == {name: expected[name] for name in TOLD}
    with Store(str(tmp_path / "s.db")) as store:
        before = store.race(told[1])
        if blow == signal.SIGSTOP:  # it wakes when all is done, and changes nothing
            os.kill(struck.pid, signal.SIGCONT)
            struck.communicate(timeout=120)
            assert store.race(told[1]) == before
        assert Leases(store).states(told[1]) == {LEAD: "done"}
    struck.kill()
    struck.wait()


def test_a_cluster_that_does_not_answer_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**given: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    monkeypatch.setattr(cluster, "_ray", lambda: SimpleNamespace(init=init))
    told = r"--ray auto: no Ray cluster answers \(Could not find any running Ray instance\); is it running\?"
    with (
        Store(str(tmp_path / "s.db")) as store,
        pytest.raises(UserError, match=told),
        cluster.working("auto", store, "race", 1.0),
    ):
        raise AssertionError


@pytest.mark.slow
def test_a_ray_cluster_of_this_machine_races_alike(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    expected = json.loads(ravine(WORDS, tmp_path).communicate()[0])
    out, told = ravine(f"{WORDS} --ray local --heartbeat 2", tmp_path).communicate(timeout=500)
    assert out, told
    result = json.loads(out)
    assert {name: result[name] for name in TOLD} == {name: expected[name] for name in TOLD}
