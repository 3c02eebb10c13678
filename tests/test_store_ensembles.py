"""An ensemble in the store: listed, shown and drawn again as the command that made it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ravine.ensembles import EnsembleResult
from ravine.store import Store
from tests.test_cli import at_home, call

__all__ = ["at_home"]  # a fixture: an empty folder and a store of its own


@pytest.mark.parametrize("words", [("--kind", "bagging"), ("--kind", "swa", "--test")], ids=["bagging", "swa"])
def test_an_ensemble_is_kept_and_comes_back_as_it_was_shown(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Path("r.toml").write_text('problem = "wine"\nmodel = "mlp:4"\nepochs = 4\nbatch = 16\n[rule]\nname = "adam"\n')
    command = ("ensemble", "r.toml", *words, "--members", "3", "--out", "mine")
    assert call(*command) == 0
    shown = capfd.readouterr().out.split("Report:")[0]
    assert call("runs", "--json") == 0
    (row,) = json.loads(capfd.readouterr().out)
    facts = json.loads(Path("mine/result.json").read_text())
    whole = (None, None) if "--test" in words else (facts["whole"]["loss"], facts["whole"]["metric"])
    assert (row["id"], row["kind"], row["status"], row["verdict"]) == ("mine", "ensemble", "finished", facts["verdict"])
    assert (row["valid_loss"], row["metric"]) == whole  # a number of the test part is no validation loss
    assert call("show", "mine") == 0
    assert capfd.readouterr().out.startswith(shown)
    assert call("report", "mine", "--out", "again.html") == 0
    assert Path("again.html").read_text() == Path("mine/report.html").read_text()
    capfd.readouterr()
    assert call("export", "mine", "curves.csv") == 2
    assert "export of mine: an ensemble has no curves; ravine show mine" in capfd.readouterr().err
    assert not Path("curves.csv").exists()
    with Store.open() as store:
        kept = store.ensemble("mi")
    assert json.loads(json.dumps(EnsembleResult.of(kept.facts).facts())) == facts == kept.facts
    assert kept.recipe["problem"] == "wine" and kept.made_with["data"] and kept.command.startswith("ravine ")


def test_a_store_that_cannot_be_written_fails_the_command_and_keeps_the_rest(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ravine.errors import UserError

    def full(self: Store, ensemble: object) -> None:
        raise UserError("store: the disk is full")

    monkeypatch.setattr(Store, "save_ensemble", full)
    Path("r.toml").write_text('problem = "wine"\nmodel = "mlp:4"\nepochs = 1\nbatch = 16\n')
    assert call("ensemble", "r.toml", "--members", "2", "--out", "mine") == 1
    assert "ravine: store: the disk is full" in capfd.readouterr().err
    assert Path("mine/result.json").exists() and Path("mine/report.html").exists()
