"""The command line: a mistake is one sentence, exit code 2 and nothing written; help teaches; machines get JSON."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from rich.console import Console

from ravine.cli import app, main
from ravine.cli.app import flowed
from ravine.cli.asked import Files, Many, Runs, Search, spec_of
from ravine.cli.prove import verdict
from ravine.cli.watch import picture
from ravine.prove import Compared
from ravine.racing.moment import Moment
from ravine.racing.spec import RaceSpec
from ravine.store import Store
from tests.mistakes import MISTAKES
from tests.racing import a_race, a_run

COMMANDS = (
    "race", "train", "predict", "ensemble", "evaluate", "reproduce", "lint", "lr", "batch", "profile", "rules", "parts",
    "lab", "runs", "show", "report", "export", "prove", "bench",
)  # fmt: skip
QUICK = ("--epochs", "2", "--rules", "adam,sgd", "--budget", "6", "--seeds", "2", "--model", "mlp:8", "--lanes", "64")
SCRIPT = [sys.executable, "-c", "from ravine.cli import main; main()"]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delitem(sys.modules, "mycode", raising=False)


def call(*arguments: str) -> int:
    """The exit code of `ravine ...`."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["ravine", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    raise AssertionError("main did not say how it ended")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare, command, words = MISTAKES[case]
    if prepare:
        prepare()
    before = listing(tmp_path)
    assert call(*command.split()) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert words in shown.err
    first, *rest = shown.err.strip().split("\n")
    assert first.startswith("ravine: ") and "Traceback" not in shown.err
    assert all(line.startswith("  ") for line in rest)  # only the user's own lines of code may follow
    assert rest == [] or "module" in prepare.__qualname__ if prepare else rest == []
    after = listing(tmp_path)
    for name in ("work/__pycache__",):
        after = {path: content for path, content in after.items() if not path.startswith(name)}
    assert after == before


@pytest.mark.parametrize("words", [("race", "wine", "--model", ""), ("lr", "wine", "--out", " "), ("race", "")])
def test_an_empty_value_is_no_default(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert call(*words) == 2
    assert re.fullmatch(r"ravine: (--\w+ is given without a value|an argument is empty): .+\n", capfd.readouterr().err)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["race wine", "lr wine", "ensemble r.toml", "evaluate r.toml", "batch wine"])
def test_what_only_train_can_share_is_refused_under_torchrun(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert call(*command.split()) == 2
    said = capfd.readouterr().err
    assert "torchrun shares ravine train" in said and said.count("\n") == 1
    assert ("ravine race --shared" in said) == command.startswith("race")
    assert call("rules", "adam") == 0
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert call("lr", "wine", "--steps", "5") == 2
    assert "40 or more" in capfd.readouterr().err


@pytest.mark.parametrize("words", [(), *((command,) for command in COMMANDS)], ids=str)
def test_help_teaches(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words, "--help") == 0
    shown = capsys.readouterr().out
    assert "Usage: ravine" in shown
    if words in ((), ("race",), ("train",), ("lr",), ("rules",)):
        taught = ("ravine race digits", "ravine train", "ravine lr digits", "ravine rules nadam")
        assert any(example in shown for example in taught)


def test_examples_of_the_help_fit_a_terminal_of_80_columns() -> None:
    groups = [app, *(group.typer_instance for group in app.registered_groups if group.typer_instance)]
    for command in (command for group in groups for command in group.registered_commands):
        text = flowed(command.callback.__doc__ or "") if command.callback else ""
        assert [line for line in text.split("\n") if line.startswith(" ") and len(line) > 78] == []


def test_prose_of_the_help_is_broken_by_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call("prove", "--help") == 0
    lines = [line.strip() for line in capsys.readouterr().out.split("╭")[0].split("\n")]
    first = next(place for place, line in enumerate(lines) if line.startswith("Every rule"))
    last = next(place for place, line in enumerate(lines) if line.endswith("of it."))
    assert all(len(line) > 60 for line in lines[first:last])


def test_a_race_that_is_asked_nothing_is_the_race_of_python() -> None:
    assert spec_of("wine", Runs(), Search()) == RaceSpec(problem="wine")


def test_groups_of_options_stand_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("race", "--help") == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"─ {group.PANEL} ─") for group in (Runs, Search, Files, Many)]
    assert places == sorted(places)
    first, second, third = shown[places[0] : places[1]], shown[places[1] : places[2]], shown[places[2] : places[3]]
    assert "--target" in first and "--widen" in second and "--keep" in third and "--join" in shown[places[3] :]
    assert "[default: 64]" in first and "source" in shown[: places[0]]


def test_a_proof_that_fails_says_which_lane_in_one_sentence() -> None:
    ok = Compared("mlp", "adam", 1, torch.float64, 1e-12)
    far = Compared("cnn with batch norm", "soap", 2, torch.float32, 7e-4, 3e-4)
    assert verdict([]) == "A lane is the run alone." and ok.holds and not far.holds
    said = "soap with seed 2 on the cnn with batch norm in float32, by 7.0e-04 where 6.0e-04 is allowed."
    assert verdict([far]) == f"1 lane differs from the run alone: {said}"
    assert verdict([far, Compared("mlp", "adam", 1, torch.float64, 2e-10)]).startswith("2 lanes differ from")


def test_every_command_is_known_here() -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert tuple(names) == COMMANDS


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert re.fullmatch(r"ravine \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("words", ["--help", "race --help", "--version"])
def test_help_does_not_wait_for_torch(words: str) -> None:
    code = (
        f"import sys; sys.argv = ['ravine', *'{words}'.split()]\nfrom ravine.cli import main\ntry: main()\n"
        "finally: print({'torch', 'numpy', 'polars', 'sqlalchemy', 'plotly', 'sklearn'} & sys.modules.keys(), 'loaded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set() loaded" in done.stdout


def test_importing_ravine_loads_nothing() -> None:
    code = "import sys, ravine; print({'torch', 'numpy', 'pydantic', 'rich', 'typer'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    environment = {
        **os.environ,
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        "_RAVINE_COMPLETE": f"source_{shell}",
    }
    code = "import sys; sys.argv = ['ravine']; from ravine.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "ravine" in done.stdout and "omplet" in done.stdout


def test_race_then_everything_that_is_done_with_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("race", "wine", *QUICK) == 0
    shown = capfd.readouterr()
    [folder] = Path().glob("race-wine-*")
    assert {"report.html", "winner.toml", "checkpoints"} <= {path.name for path in folder.iterdir()}
    assert "Verdict:" in shown.out and f"{folder}/winner.toml" in shown.out
    assert "\x1b" not in shown.err + shown.out  # plain lines where there is no terminal
    assert "178 rows" in shown.err and "finals over 2 seeds" in shown.err

    assert call("runs", "--json") == 0
    [kept] = json.loads(capfd.readouterr().out)
    assert kept["id"] == folder.name and kept["status"] == "finished"
    assert call("runs") == 0
    assert folder.name in capfd.readouterr().out

    assert call("show", folder.name) == 0
    assert "Verdict:" in capfd.readouterr().out
    assert call("show", "race-wine") == 0
    assert call("show", "race-wein") == 2
    assert f"'{folder.name}'" in capfd.readouterr().err

    assert call("report", folder.name, "--out", "r.html") == 0
    assert capfd.readouterr().out == "r.html\n"
    assert "<html" in Path("r.html").read_text()

    for name in ("points.csv", "points.parquet"):
        assert call("export", folder.name, name) == 0
    read = pl.read_csv("points.csv")
    assert read.height == pl.read_parquet("points.parquet").height > 50
    assert {"rule", "lr", "epoch", "valid_loss"} <= set(read.columns)
    assert call("export", folder.name, "points.xlsx") == 2


def test_who_joins_a_finished_race_is_told_where_its_report_is(capfd: pytest.CaptureFixture[str]) -> None:
    quick = ("--epochs", "1", "--rules", "adam,sgd", "--budget", "2", "--seeds", "2", "--model", "mlp:8")
    assert call("race", "wine", *quick, "--lanes", "4", "--no-baselines", "--shared", "--store", "s.db") == 0
    [folder] = Path().glob("race-wine-*")
    capfd.readouterr()
    assert call("race", "--join", folder.name, "--store", "s.db") == 0
    assert capfd.readouterr().out == f"{folder} is finished; its report is {folder / 'report.html'}\n"
    assert call("race", "--join", folder.name, "--store", "s.db", "--out", "elsewhere") == 0
    said = capfd.readouterr().out.partition("see it with: ravine ")[2]
    assert call(*said.split()) == 0 and Path(f"{folder.name}.html").is_file()
    capfd.readouterr()
    assert call("race", "--join", folder.name, "--store", "s.db", "--json") == 0
    assert json.loads(capfd.readouterr().out)["id"] == folder.name


def test_progress_names_the_metric_it_shows(capfd: pytest.CaptureFixture[str]) -> None:
    for problem, metric in (("wine", "accuracy"), ("diabetes", "R²")):
        Path("r.toml").write_text(f'problem = "{problem}"\nmodel = "mlp:4"\nepochs = 1\n')
        assert call("train", "r.toml", "--out", problem) == 0
        assert re.search(rf"epoch 1: validation loss [\d.]+, {metric} -?[\d.]+\n", capfd.readouterr().err)
        assert call("evaluate", "r.toml", "--folds", "2") == 0
        assert re.search(rf"fold 1 of 2: loss [\d.]+, {metric} -?[\d.]+\n", capfd.readouterr().err)


@pytest.mark.parametrize("rule", ["adam", "schedule-free-adamw", "rmsprop/centered-momentum"])
def test_the_live_table_is_whole_in_80_columns(rule: str) -> None:
    running = a_race(budget=40, epochs=200)
    moment = Moment("rungs", 0, 4096, 1000, 0.5, 7325.0, a_run(rule, 1, "rung", 0, 0.0001234))
    out = io.StringIO()
    Console(file=out, width=80).print(picture(running, moment))
    text = out.getvalue()
    for cell in (f"rung 1 of {len(running.setup.rungs)} (to epoch ", "diverged", "4096", "0.000123", "2:02:05"):
        assert cell in text
    assert text.count("2:02:05") == 2  # what is left too


def test_winner_trains_again_to_the_finalists_loss_and_the_same_bits(capfd: pytest.CaptureFixture[str]) -> None:
    """To 1e-3 of the loss: lanes add up in another order than a run alone."""
    assert call("race", "wine", *QUICK, "--json") == 0
    result = json.loads(capfd.readouterr().out)
    shown: list[Any] = []
    for name in ("one", "two"):
        assert call("train", f"{result['id']}/winner.toml", "--out", name, "--test", "--json") == 0
        shown.append(json.loads(capfd.readouterr().out))
    best = result["ranking"][0]
    assert shown[0]["valid_loss"] == pytest.approx(best["valid_loss"]["values"][0], rel=1e-3)
    assert shown[0]["test accuracy"] == pytest.approx(result["test"]["values"][0], abs=0.03)
    assert shown[0] | {"folder": ""} == shown[1] | {"folder": ""}
    assert call("runs") == 0
    assert "one" in capfd.readouterr().out
    assert call("show", "one") == 0
    assert "best at epoch" in capfd.readouterr().out
    assert call("train", f"{result['id']}/winner.toml", "--out", "one") == 2
    assert "holds a run already" in capfd.readouterr().err


def test_a_range_test_of_a_table_says_where_to_train_and_draws_it(capfd: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i % 17},{i % 5},{3 * (i % 17) - (i % 5)}.5\n" for i in range(120))
    Path("my.csv").write_text("a,b,price\n" + rows)
    command = ("lr", "my.csv", "--target", "price", "--model", "mlp:16", "--seeds", "2", "--steps", "100")
    assert call(*command, "--out", "lr.html") == 0
    shown = capfd.readouterr().out
    assert "at a learning rate from" in shown and "Page: lr.html" in shown and "<html" in Path("lr.html").read_text()
    assert call(*command, "--json") == 0
    facts = json.loads(capfd.readouterr().out)
    assert 0 < facts["low"] < facts["high"] and len(facts["losses"]) == 2
    assert call(*command, "--low", "1e-12", "--high", "1e-11") == 1
    assert "No learning rate can be suggested" in capfd.readouterr().out


def test_a_recipe_with_snapshots_and_a_plateau_is_linted_trained_and_kept(capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text(
        'problem = "wine"\nmodel = "mlp:8"\nepochs = 6\nbatch = 16\nsnapshots = 3\npatience = 20\n'
        'accumulate = 2\n[rule]\nname = "adam"\nlr = 0.01\n[plateau]\npatience = 2\nmin_lr = 0.02\n'
    )
    assert call("train", "r.toml", "--out", "mine", "--test", "--json") == 0
    shown = capfd.readouterr()
    assert shown.err.splitlines() == [
        "Note: the plateau's min_lr 0.02 is not below the learning rate 0.01: it never acts",
        "Note: patience 20 is as long as the run of 18 measurements: it never stops early",
    ]
    facts = json.loads(shown.out)
    assert {"last snapshot, test loss", "ensemble of 3, test accuracy"} <= facts.keys()
    assert {f"snapshot-{i}.safetensors" for i in (1, 2, 3)} <= {path.name for path in Path("mine").iterdir()}


def test_lint_says_what_it_found_and_ends_with_one_for_mistakes(capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text('problem = "wine"\nmodel = "mlp:4"\nmin_delta = 0.1\n')
    assert call("lint", "r.toml") == 0
    assert "min_delta has no effect" in " ".join(capfd.readouterr().out.split())
    Path("r.toml").write_text('problem = "wine"\nmodel = "mlp:4"\nnorm = "batch"\nbatch = 1\n')
    assert call("lint", "r.toml", "--json") == 1
    assert json.loads(capfd.readouterr().out)[0]["kind"] == "batch-norm-of-one"
    assert [path.name for path in Path().iterdir()] == ["r.toml"]


@pytest.mark.parametrize(
    "command", ["rules --json", "rules nadam --json", "rules lbfgs --json", "prove --steps 1 --json"]
)
def test_json_is_json(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(*command.split()) == 0
    assert json.loads(capfd.readouterr().out)


def test_rules_lists_methods_too_and_prints_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("rules", "--search", "trust region") == 0
    shown = capfd.readouterr().out
    assert "Methods that need more than a gradient" in shown and "newton-cg" in shown and "reeves" not in shown
    assert call("rules", "newton/damped") == 0
    shown = capfd.readouterr().out
    for word in ("damping", "(0, inf)", "newton/undamped", "Nocedal", "\\nabla^2 f"):
        assert word in shown
    assert call("rules", "lbfsg") == 2
    assert "did you mean 'lbfgs'" in capfd.readouterr().err


def test_a_diverged_run_is_a_failed_run(capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text('problem = "diabetes"\nepochs = 3\n[rule]\nname = "sgd"\nlr = 1e9\n')
    assert call("train", "r.toml", "--out", "lost") == 1
    assert re.match(r"Diverged: (validation )?loss (became|rose)", capfd.readouterr().out)
    assert call("train", "r.toml", "--out", "lost2", "--json") == 1
    assert json.loads(capfd.readouterr().out)["status"] == "diverged"


def test_ctrl_c_then_resume_is_the_uninterrupted_race() -> None:
    command = ["race", "wine", *QUICK, "--epochs", "60", "--batch", "32", "--seed", "3"]
    process = subprocess.Popen([*SCRIPT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not list(Path().glob("race-*/checkpoints/0*")) and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate()
    assert process.returncode == 130, said
    [folder] = Path().glob("race-*")
    assert f"ravine race --resume {folder}" in said and "Stopping at the next point" in said
    assert "Verdict:" in out
    with Store() as kept:
        assert kept.race(folder.name).status == "interrupted"
    assert call("race", "--resume") == 0
    assert call("race", "--resume") == 2  # nothing is left to go on with
    assert call(*command) == 0
    with Store() as kept:
        [whole, resumed] = [kept.race(row.id) for row in kept.races()]
    assert whole.status == resumed.status == "finished"
    assert whole.ranking == resumed.ranking and whole.runs == resumed.runs and whole.test == resumed.test
    assert whole.winner == resumed.winner and whole.verdict == resumed.verdict


def test_two_races_at_once_lose_nothing() -> None:
    racing = [
        subprocess.Popen(
            [*SCRIPT, "race", "wine", *QUICK, "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for seed in (1, 2)
    ]
    for process in racing:
        _, said = process.communicate()
        assert process.returncode == 0, said
    with Store() as kept:
        found = [kept.race(row.id) for row in kept.races()]
    assert sorted(race.seeds[0] for race in found) == [1, 2]
    assert all(race.status == "finished" and len(race.runs) >= 14 for race in found)
