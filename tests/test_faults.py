"""The fault campaign's parts, a small fixed share of each; `python -m ravine.bench.faults` is the whole of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from ravine.bench.faults import calls, damage, disk, kills, lanes, outage, pages, power, ranks, soak, store, workers
from ravine.bench.faults.__main__ import campaign, known, main, table
from ravine.bench.faults.ledger import handed_over, judged
from ravine.bench.faults.trial import Part, Trial
from ravine.checkpoints import keep, sound
from ravine.engines.lanes import Lanes
from ravine.files import digest_of
from ravine.store import Store, connect
from ravine.training import loop

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")


def wrong(part: Part, indices: Sequence[int], place: Path) -> list[str]:
    found = list(part.trials(indices, place))
    assert found
    return [trial.wrong for trial in found if trial.wrong]


@needs_linux
def test_f1_killed_runs_go_on_to_the_same_bits(tmp_path: Path) -> None:
    found = list(kills.PART.trials([1, 6], tmp_path))
    assert [trial.wrong for trial in found] == ["", ""]
    assert sum(trial.counts["kills"] for trial in found) >= 2


@needs_linux
def test_f2_a_save_killed_at_every_call_leaves_the_old_or_the_new_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "SYSTEM", ("rename",))
    found = list(calls.PART.trials([], tmp_path))
    assert [trial.wrong for trial in found if trial.wrong] == []
    assert sum(trial.counts.get("calls", 0) for trial in found) > 60


def test_f3_damage_is_found_out(tmp_path: Path) -> None:
    assert wrong(damage.PART, range(48), tmp_path) == []


@needs_linux
def test_f4_a_disk_that_refuses_ends_no_run(tmp_path: Path) -> None:
    assert wrong(disk.PART, [1, 13], tmp_path) == []


def test_f5_a_loss_of_power_takes_no_acknowledged_checkpoint(tmp_path: Path) -> None:
    assert wrong(power.PART, range(210), tmp_path) == []


@needs_linux
def test_f5_a_loss_of_power_takes_no_acknowledged_stage_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pages.can_see(tmp_path):
        pytest.skip("the kernel does not tell which pages are on the disk: Linux before 6.5, or no disk")
    assert wrong(outage.PART, range(7), tmp_path / "sound") == []

    prepare = connect._prepare  # pyright: ignore[reportPrivateUsage]

    def careless(connection: Any, record: Any) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous = NORMAL")

    monkeypatch.setattr(connect, "_prepare", careless)
    told = wrong(outage.PART, range(5), tmp_path / "careless")
    assert told and all("stages were acknowledged" in each or "is not what was kept" in each for each in told)


def test_f5_the_folder_of_a_new_store_is_on_the_disk(tmp_path: Path) -> None:
    calls: list[power.Call] = []
    with power.watched(tmp_path, calls):
        Store(str(tmp_path / "new" / "er" / "ravine.db")).close()
    disk = power.Disk(tmp_path)
    for call in calls:
        disk.play(call)
    (new,) = disk.flushed[0].values()
    assert list(disk.flushed[0]) == ["new"] and list(disk.flushed[new]) == ["er"]


@needs_linux
def test_f6_writers_and_readers_of_one_store(tmp_path: Path) -> None:
    assert wrong(store.part(0.05), [0], tmp_path) == []


@needs_linux
@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo")
def test_f9_a_run_that_loses_a_process_goes_on_in_another_number_of_them(tmp_path: Path) -> None:
    (trial,) = ranks.PART.trials([3], tmp_path)
    assert (trial.wrong, trial.counts["world size changed"]) == ("", 1)


def test_f10_a_lane_that_is_harmed_leaves_the_bits_of_the_others(tmp_path: Path) -> None:
    found = list(lanes.PART.trials(range(3), tmp_path))
    assert [trial.wrong for trial in found] == [""] * 3
    assert sum(trial.counts["lanes harmed"] for trial in found) > 8
    assert all(trial.counts["others compared"] > 20 for trial in found)


@needs_linux
def test_f8_a_stopped_process_of_a_shared_race_wakes_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    # two that are struck after their second call, which they come to however busy the machine is
    found = list(workers.PART.trials([26, 199], tmp_path))
    assert [trial.wrong for trial in found] == ["", ""]
    assert found[0].counts["kills"] == found[1].counts["stops"] == 1


# --- The campaign finds what is wrong --------------------------------------------------------------------------------


def never_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "flush_folder", lambda folder: None)


def removed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = keep.Checkpoints.commit

    def careless(self: keep.Checkpoints, *given: object) -> int:
        for number in sound.numbers(self.folder):
            keep.shutil.rmtree(sound.path_of(self.folder, number))
        return commit(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(keep.Checkpoints, "commit", careless)


def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = sound.manifest

    def trusted(folder: Path, number: int) -> Any:
        read = manifest(folder, number)
        for name, entry in read["files"].items():
            entry["sha256"] = digest_of(sound.path_of(folder, number) / name)
        return read

    monkeypatch.setattr(sound, "manifest", trusted)


@pytest.mark.parametrize(
    ("part", "break_it"), [(power.PART, never_flushed), (calls.PART, removed_first)], ids=["power", "calls"]
)
def test_a_save_that_is_broken_is_found_out(
    part: Part, break_it: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WAYS", ("before",))
    monkeypatch.setattr(calls, "_can_trace", lambda: False)
    break_it(monkeypatch)
    assert wrong(part, range(100) if part.count else [], tmp_path)


def test_a_reader_that_checks_no_hash_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "made"
    assert wrong(damage.PART, range(12), place) == []
    trusting(monkeypatch)
    assert wrong(damage.PART, range(36), place)


def spills(monkeypatch: pytest.MonkeyPatch) -> str:
    gradients = Lanes.__dict__["_gradients"]

    def spilt(self: Lanes, *given: Any) -> Any:
        losses, found = gradients(self, *given)
        return losses, [g + 0 * g.sum(0) for g in found]  # what one lane has gets into all

    monkeypatch.setattr(Lanes, "_gradients", spilt)
    return "weights became NaN in step"


def forgets_the_step(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(loop, "failures", lambda seen, done: {})
    return "told '"


@pytest.mark.parametrize("break_it", [spills, forgets_the_step])
def test_lanes_that_are_not_apart_are_found_out(
    break_it: Callable[[pytest.MonkeyPatch], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = break_it(monkeypatch)
    assert told in "".join(trial.wrong for trial in lanes.PART.trials(range(2), tmp_path))


def test_growth_and_leaks_are_found_out() -> None:
    def row(race: int, memory: float, open: int = 9) -> dict[str, object]:
        return {"pid": 1, "race": race, "bits": {}, "files": 7, "memory": memory, "open": open}

    steady = [row(race, 100) for race in range(20)]
    assert soak.judged(steady) == ("", {"races": 20, "% growth of memory": 0.0})
    assert "memory grew by" in soak.judged([row(race, 100 + race) for race in range(20)])[0]
    assert "open files" in soak.judged([*steady[:-1], row(20, 100, 10)])[0]
    assert "races of one seed differ" in soak.judged([*steady[:-1], {**steady[-1], "bits": {"state": "x"}}])[0]


def shared(*lines: str) -> list[dict[str, Any]]:
    """Calls of leases: "pid at what token bits", each a tenth of a second long, on one piece."""
    found: list[dict[str, Any]] = [
        {"pid": 0, "at": 0.0, "till": 0.1, "what": "publish", "by": None, "bits": {"a": "0"}}
    ]
    for line in lines:
        pid, at, what, token, *bits = line.split()
        call: dict[str, Any] = {"pid": int(pid), "at": float(at), "till": float(at) + 0.1, "what": what}
        found.append(call | ({"asked": ["a"]} if what == "take" else {}))
        if token != "-":
            found[-1] |= {"piece": "a", "token": int(token)}
        if bits:
            held = {"a": bits[0]} if what == "offers" else bits[0]
            found[-1] |= {"bits": held, "stale": bits[0] == "stale"}
    return found


TAKEN_OVER = ("1 1 take 1 0", "1 2 keep 1 half", "2 2.5 take - ", "2 4.5 take 2 half", "2 5 finish 2 whole")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((*TAKEN_OVER, "1 6 keep 1 stale", "1 6 finish 1 stale"), ""),
        ((*TAKEN_OVER, "1 6 keep 1 late"), "keep of a with token 1 after 2 was given"),
        ((*TAKEN_OVER, "1 6 finish 1 late"), "a was finished 2 times"),
        ((*TAKEN_OVER, "3 6 take 2 whole"), "token 2 of a was given twice"),
        (("1 1 take 1 0", "1 2 keep 1 half", "2 4.5 take 2 0"), "token 2 began with something else than was kept last"),
        (("1 1 take 1 0", "1 2 keep 1 half", "1 3 wants 1 more", "2 4.5 take 2 more"), ""),
        (("9 -1 offers - 9", "1 1 take 1 9"), ""),  # killed before it could note that it had published
        (("9 -1 offers - 9", "1 1 take 1 9", "1 2 keep 1 half", "2 4.5 take 2 9"), "something else than was kept last"),
        (("9 1 offers - 9", "1 2 take 1 9"), "token 1 began with something else than was kept last"),
        (("1 1 take 1 0", "2 4 take -", "2 9 take 2 0"), "a was refused 2.9 s after its holder's last sign of life"),
    ],
)
def test_a_write_after_a_piece_was_taken_over_is_found_out(lines: Sequence[str], told: str) -> None:
    wrong = judged(shared(*lines), 1.0)
    assert told in wrong and bool(told) == bool(wrong)


def test_how_long_a_piece_waited_for_its_next_holder() -> None:
    (waited, taking), = handed_over(shared(*TAKEN_OVER), {1: 2.25})  # fmt: skip
    assert (waited, taking["token"]) == (2.25, 2)
    assert list(handed_over(shared(*TAKEN_OVER), {2: 6.0})) == []


# --- The command -----------------------------------------------------------------------------------------------------


def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    part = Part(
        "some", "F0", "faults", "all is well", 4, lambda wanted, place: (Trial(n, "", {"kills": 2}) for n in wanted)
    )
    kept = tmp_path / "faults.jsonl"
    kept.write_text('{"part": "some", "index": 1, "wrong": "lost", "counts": {"kills": 1}}\n{"part": "some", "ind')
    done = known(kept)
    assert [trial.index for _, trial in campaign([part], done, tmp_path)] == [0, 2, 3]
    text = table([part], {"some": [*done["some"], Trial(2, "", {"kills": 2})]})
    assert "| F0: faults | 2 (3 kills) | **1** | all is well |" in text
    assert "not run" in table([part], {})


def test_the_command_prints_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ravine.bench.faults", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    monkeypatch.chdir(tmp_path)
    for name in ("RAVINE_FAULTS_WARM", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    assert command("power", "--count", "5", "--json", "f.json") == 0
    shown = capsys.readouterr().out
    assert "| F5: loss of power" in shown and "| 5 | 0 |" in shown
    assert len(json.loads(Path("f.json").read_text())["power"]) == 5
    assert len(Path("faults.jsonl").read_text().splitlines()) == 5
    Path("faults.jsonl").write_text('{"part": "power", "index": 0, "wrong": "lost", "counts": {}}\n')
    assert command("power", "--count", "1") == 1
    assert "| 1 | **1** |" in capsys.readouterr().out
    assert command("pwer") == 2
    assert "no part is called pwer" in capsys.readouterr().err
