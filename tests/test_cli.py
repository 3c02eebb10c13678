"""The command line: a mistake is one sentence, exit code 2 and nothing written; help teaches; machines get JSON."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from ravine.cli import app, main
from ravine.store import Store

COMMANDS = ("race", "train", "rules", "runs", "show", "report", "export", "prove")
QUICK = ("--epochs", "2", "--rules", "adam,sgd", "--budget", "6", "--seeds", "2", "--model", "mlp:8", "--lanes", "64")
SCRIPT = [sys.executable, "-c", "from ravine.cli import main; main()"]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delitem(sys.modules, "mycode", raising=False)


def call(*arguments: str) -> int:
    """The exit code of `ravine ...`."""
    before = sys.argv
    sys.argv = ["ravine", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    raise AssertionError("main did not say how it ended")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(rows: str) -> Callable[[], None]:
    return lambda: Path("my.csv").write_text(rows) and None


def npz() -> None:
    np.savez("d.npz", x=np.random.default_rng(0).normal(size=(60, 3)), y=np.arange(60) % 2)


def cut_npz() -> None:
    npz()
    Path("d.npz").write_bytes(Path("d.npz").read_bytes()[:200])


def cut_parquet() -> None:
    pl.DataFrame({"a": range(50), "b": range(50)}).write_parquet("d.parquet")
    Path("d.parquet").write_bytes(Path("d.parquet").read_bytes()[:90])


def cut_idx() -> None:
    folder = Path(os.environ["RAVINE_DATA"])
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x03\x00"))


def images() -> None:
    for place, size in enumerate((8, 8, 9, 8)):
        folder = Path("pictures") / ("cat" if place % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (place, 9, 9)).save(folder / f"{place}.png")


def module(body: str) -> Callable[[], None]:
    return lambda: Path("mycode.py").write_text(body) and None


def recipe(text: str) -> Callable[[], None]:
    return lambda: Path("r.toml").write_text(text) and None


def store(kind: str) -> Callable[[], None]:
    def make() -> None:
        if kind == "text":
            Path("s.db").write_text("this is no database at all")
        elif kind == "version":
            with Store("s.db"):
                pass
            connection = sqlite3.connect("s.db")
            connection.execute("PRAGMA user_version = 99")
            connection.close()
        else:
            connection = sqlite3.connect("s.db")
            connection.execute("CREATE TABLE theirs (a)")
            connection.close()

    return make


ROWS = "a,b,price\n" + "".join(f"{i},{i % 7},{i % 5}.5\n" for i in range(40))
NET = "import torch\nfrom torch import nn\nx = torch.randn(80, 3)\ny = (x[:, 0] > 0).long()\n"
MISTAKES: dict[str, tuple[Callable[[], None] | None, str, str]] = {
    "problem": (None, "race digts", "did you mean 'digits'"),
    "nothing": (None, "race", "what should race"),
    "rule": (None, "race wine --rules adm", "did you mean 'adam'"),
    "no rule": (None, "race wine --rules ,", "--rules"),
    "rule to print": (None, "rules nadm", "did you mean 'nadam'"),
    "model": (None, "race wine --model mpl:8", "did you mean 'mlp'"),
    "model of images": (None, "race wine --model cnn:8", "needs images"),
    "model sizes": (None, "race wine --model mlp:0", "widths must be 1 or more"),
    "no own model": (None, "race wine --model own", "brings no model"),
    "activation": (None, "race wine --activation rele", "did you mean 'relu'"),
    "option": (None, "race wine --epoch 3", "--epochs"),
    "command": (None, "rase wine", "race"),
    "epochs": (None, "race wine --epochs 0", "greater than or equal to 1"),
    "seed": (None, "race wine --seed one", "valid integer"),
    "batch": (None, "race wine --batch 4000", "more than the 10"),
    "budget": (None, "race wine --budget many", "number of configurations"),
    "budget of none": (None, "race wine --budget 0", "number of configurations"),
    "small budget": (None, "race wine --budget 3", "too small for"),
    "huge budget": (None, "race wine --budget 1000000000", "at most"),
    "range": (None, "race wine --over lr=1", "write it as lr="),
    "range upside down": (None, "race wine --over lr=1..0.1", "low end must lie below"),
    "range out of bounds": (None, "race wine --rules adam --over beta1=0.5..1.5", "beta1 must lie in [0, 1)"),
    "range of nothing": (None, "race wine --over rate=0.1..1", "unknown hyperparameter"),
    "schedule": (None, "race wine --over schedule=cosin", "did you mean 'cosine'"),
    "combinator": (None, "race wine --with clip=1", "unknown combinator"),
    "combinator's value": (None, "race wine --with clip-global-norm=-1", "clip must lie in"),
    "loss": (None, "race wine --loss mse", "does not fit wine"),
    "loss of numbers": (None, "race diabetes --loss cross_entropy", "does not fit diabetes"),
    "unknown loss": (None, "race wine --loss cross_entropi", "did you mean 'cross_entropy'"),
    "target of a name": (None, "race wine --target a", "leave it out"),
    "no file": (None, "race nowhere.csv --target a", "no such file"),
    "no target": (table(ROWS), "race my.csv", "target"),
    "another target": (table(ROWS), "race my.csv --target prise", "did you mean 'price'"),
    "empty table": (table(""), "race my.csv --target price", "empty"),
    "one row": (table("a,price\n1,2\n"), "race my.csv --target price", "row"),
    "constant target": (table("a,price\n" + "1,2\n2,2\n" * 20), "race my.csv --target price", "2"),
    "gaps in the target": (table("a,price\n" + "1,2\n2,\n3,5\n" * 9), "race my.csv --target price", "price"),
    "only text": (
        table("a,price\n" + "".join(f"text number {i},{i}.5\n" for i in range(40))),
        "race my.csv --target price",
        "text",
    ),
    "damaged npz": (cut_npz, "race d.npz", "d.npz"),
    "damaged parquet": (cut_parquet, "race d.parquet --target b", "d.parquet"),
    "damaged idx": (cut_idx, "race mnist", "ubyte"),
    "sizes of images": (images, "race pictures", "8x8"),
    "no module": (None, "race nomod:problem", "no module nomod"),
    "no function": (module("def problem(): pass\n"), "race mycode:problme", "did you mean 'problem'"),
    "raising module": (module("def problem():\n    raise ValueError('mine')\n"), "race mycode:problem", "mine"),
    "raising model": (
        module(NET + "def problem():\n    return {'data': (x, y), 'model': lambda: nn.Linear(3, width)}\n"),
        "race mycode:problem",
        "name 'width' is not defined",
    ),
    "no model": (
        module(NET + "def problem(): return {'data': (x, y), 'model': lambda: 3}\n"),
        "race mycode:problem",
        "give a function that makes a torch.nn.Module",
    ),
    "other width": (
        module(NET + "def problem(): return {'data': (x, y), 'model': lambda: nn.Linear(3, 5)}\n"),
        "race mycode:problem",
        "needed is (2, 2)",
    ),
    "raising loss": (
        module(
            NET + "def loss(out, y): return out - y\n"
            "def problem(): return {'data': (x, y), 'model': lambda: nn.Linear(3, 2), 'loss': loss}\n"
        ),
        "race mycode:problem",
        "loss loss of outputs (2, 2)",
    ),
    "recipe's key": (recipe('problem = "wine"\nepoch = 3\n'), "train r.toml", "did you mean 'epochs'"),
    "recipe's rule": (recipe('problem = "wine"\n[rule]\nname = "adm"\n'), "train r.toml", "did you mean 'adam'"),
    "recipe's bounds": (recipe('problem = "wine"\n[rule]\nname = "adam"\nbeta2 = 1.0\n'), "train r.toml", "[0, 1)"),
    "damaged recipe": (recipe("problem = \n"), "train r.toml", "not valid TOML"),
    "no recipe": (None, "train r.toml", "no such file"),
    "resume without a folder": (recipe('problem = "wine"\n'), "train r.toml --resume", "--out"),
    "resume from nothing": (recipe('problem = "wine"\n'), "train r.toml --out none --resume", "no checkpoint is there"),
    "resume no race": (None, "race --resume none", "no checkpoint is there"),
    "resume where none is": (None, "race --resume", "no interrupted race"),
    "out is a file": (table(ROWS), "race wine --out my.csv", "is a file, not a folder"),
    "run's out is a file": (recipe('problem = "wine"\n'), "train r.toml --out r.toml", "is a file, not a folder"),
    "no database": (store("text"), "race wine --store s.db", "not a database"),
    "another's database": (store("other"), "race wine --store s.db", "another program"),
    "another version": (store("version"), "race wine --store s.db", "newer ravine"),
    "store of another kind": (None, "race wine --store mysql://u@h/n", "not supported"),
    "empty store": (None, "show race-digits-7f3a", "nothing is kept yet"),
    "report of nothing": (None, "report race-digits-7f3a", "nothing is kept yet"),
    "export to no table": (store("version"), "export a b.xlsx --store s.db", "newer ravine"),
    "proof of no steps": (None, "prove --steps 0", "greater than or equal to 1"),
}


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


@pytest.mark.parametrize("words", [(), *((command,) for command in COMMANDS)], ids=str)
def test_help_teaches(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words, "--help") == 0
    shown = capsys.readouterr().out
    assert "Usage: ravine" in shown
    if words in ((), ("race",), ("train",), ("rules",)):
        assert "ravine race digits" in shown or "ravine train" in shown or "ravine rules nadam" in shown


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
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "_RAVINE_COMPLETE": f"source_{shell}"}
    code = "import sys; sys.argv = ['ravine']; from ravine.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "ravine" in done.stdout and "omplet" in done.stdout


def test_race_then_everything_that_is_done_with_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("race", "wine", *QUICK) == 0
    shown = capfd.readouterr()
    [folder] = Path().glob("race-wine-*")
    assert {"report.html", "winner.toml", "state.json"} <= {path.name for path in folder.iterdir()}
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


@pytest.mark.parametrize("command", ["rules --json", "rules nadam --json", "prove --steps 1 --json"])
def test_json_is_json(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(*command.split()) == 0
    assert json.loads(capfd.readouterr().out)


def test_a_diverged_run_is_a_failed_run(capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text('problem = "diabetes"\nepochs = 3\n[rule]\nname = "sgd"\nlr = 1e9\n')
    assert call("train", "r.toml", "--out", "lost") == 1
    assert "Diverged: loss" in capfd.readouterr().out
    assert call("train", "r.toml", "--out", "lost2", "--json") == 1
    assert json.loads(capfd.readouterr().out)["status"] == "diverged"


def test_ctrl_c_then_resume_is_the_uninterrupted_race() -> None:
    command = ["race", "digits", *QUICK, "--epochs", "30", "--seed", "3", "--widen"]
    process = subprocess.Popen([*SCRIPT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not list(Path().glob("race-*/state.json")) and time.monotonic() < limit:
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
        subprocess.Popen([*SCRIPT, "race", "wine", *QUICK, "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in (1, 2)
    ]
    for process in racing:
        _, said = process.communicate()
        assert process.returncode == 0, said
    with Store() as kept:
        found = [kept.race(row.id) for row in kept.races()]
    assert sorted(race.seeds[0] for race in found) == [1, 2]
    assert all(race.status == "finished" and len(race.runs) >= 14 for race in found)
