"""What the command line and the docs say of a rule is what the rule declares, and nothing is left unsaid."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch

from ravine import optim
from ravine.cli import main
from ravine.entries import Entry, entry, families, search, torch_calls
from ravine.errors import UserError
from ravine.rules.rule import catalogue, hypers, slots_of

ENTRIES = {name: entry(kind) for name, kind in catalogue().items()}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_rule_says_what_a_reader_needs(name: str) -> None:
    one = ENTRIES[name]
    for said in (one.summary, one.differs, one.equation, one.reference, one.latex):
        assert said
    assert {h.name for h in one.hyperparameters} == set(hypers(catalogue()[name]))
    assert one.slots == slots_of(catalogue()[name]())
    assert getattr(optim, one.optimizer.removeprefix("ravine.optim."))


@pytest.mark.parametrize("family", families())
def test_every_family_says_when_to_use_it(family: str) -> None:
    own = ENTRIES[families()[family][0]]
    assert own.dialect == "", f"{family} has no form of its own: leave one dialect empty"
    assert re.fullmatch(r"[A-Z].{20,}\.", own.when), f"{own.name}: say in `when` when to use it, in a sentence"


@pytest.mark.parametrize(("name", "size"), [("sgd", 0), ("momentum", 4), ("adam", 8), ("adam/amsgrad", 12)])
def test_the_bytes_of_state_are_those_that_are_kept(name: str, size: float) -> None:
    w = torch.nn.Parameter(torch.ones(64, 64))
    optimizer = optim.of(name)([w], lr=0.1)
    w.grad = torch.ones_like(w)
    optimizer.step()
    slots = [kept for kept in optimizer.state[w].values() if isinstance(kept, torch.Tensor)]
    assert ENTRIES[name].bytes_per_parameter == size == sum(s.numel() * s.element_size() for s in slots) / w.numel()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("adam", "torch.optim.Adam"),
        ("adamw", "torch.optim.AdamW"),
        ("adam/amsgrad", "torch.optim.Adam(amsgrad=True)"),
        ("momentum", "torch.optim.SGD(momentum=...)"),
        ("nesterov", "torch.optim.SGD(momentum=..., nesterov=True)"),
        ("rmsprop/centered-momentum", "torch.optim.RMSprop(momentum=..., centered=True)"),
        ("adam/eps-inside", None),
    ],
)
def test_torchs_name_is_the_call_with_that_equation(name: str, call: str | None) -> None:
    assert torch_calls().get(name) == call


def test_search_finds_names_descriptions_and_references_and_all_words_count() -> None:
    assert "nesterov/look-ahead" in names(search("Sutskever closure"))
    assert names(search("1412.6980")) >= {"adam", "adamax"}
    assert "adam/eps-hat" in names(search("TensorFlow folded"))
    assert not names(search("nesterov")) & {"sgd", "adagrad"}


@pytest.mark.parametrize(("text", "hint"), [("nestrov", "'nesterov'"), ("zqzq", "ravine rules"), (" ", "word")])
def test_a_search_that_finds_nothing_helps(text: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        search(text)


def names(found: list[Entry]) -> set[str]:
    return {one.name for one in found}


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["ravine", "rules", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_list_has_every_name_and_fits(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = shown(capsys, monkeypatch, columns=columns)
    full = shown(capsys, monkeypatch, "--all", columns=columns)
    assert max(map(len, (short + full).splitlines())) <= columns
    for family in families():
        assert re.search(rf"^{re.escape(family)} ", short, re.MULTILINE)
    for one in ENTRIES.values():
        assert one.dialect in short
        assert re.search(rf"^ *{re.escape('/' + one.dialect if one.dialect else one.name)} ", full, re.MULTILINE)


def test_json_holds_everything(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(shown(capsys, monkeypatch, "--json"))
    assert {one["name"] for one in listed} >= {*ENTRIES}
    [nadam] = json.loads(shown(capsys, monkeypatch, "nadam", "--json"))
    assert nadam["optimizer"] == "ravine.optim.NAdam" and nadam["torch"] == "torch.optim.NAdam"
    rate = nadam["hyperparameters"][0]
    assert rate["bounds"] == "[0, inf)" and rate["search"] == ["log", 2e-5, 0.2] and rate["unit"] == "w per step"
    assert nadam["slots"] == ["m", "v"] and nadam["scalars"] == ["q"] and nadam["bytes_per_parameter"] == 8
    assert nadam["latex"][-1].startswith("w_t") and "Dozat" in nadam["reference"] and nadam["family"] == "nadam"


def test_a_page_has_its_equation_its_class_and_its_dialects(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(capsys, monkeypatch, "adam/eps-inside", columns=120)
    for part in ("u = -lr m^ / sqrt(v^ + eps)", "ravine.optim.AdamInside", "adam/amsgrad", "has no such form", "S4"):
        assert part in page
