"""The pictures of the written pages and the page of the lab show what the parts do and what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from ravine.handbook import lab
from ravine.handbook.book import Book
from ravine.handbook.known import Known
from ravine.handbook.pictures import PENALTIES, PICTURES, weights_after
from ravine.lab import Verdict, catalogue
from ravine.lab.build import checks, curves, dots, table
from ravine.racing.statistics import interval

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_and_some_page_asks_for_it(name: str) -> None:
    drawn = PICTURES[name]()
    assert drawn.count("<figure>") >= 1 and "nan" not in re.sub(r"base64,[^\"]*", "", drawn)
    assert any(f"[[picture {name}]]" in path.read_text() for path in DOCS.glob("*.md"))


def test_a_page_has_the_drawing_in_place_of_its_line() -> None:
    made = Book(Known({}, {}, {}, {}, {})).illustrated("before\n\n[[picture penalties]]\n\nafter")
    assert "[[" not in made and "<svg" in made and made.startswith("before") and made.endswith("after")


def test_what_penalties_do_to_weights() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 10, generator=draw)
    y = x[:, 0] + 0.5 * torch.randn(60, generator=draw)
    found = {name: weights_after(x, y, spec) for name, spec in PENALTIES.items()}
    zeros = {name.partition(",")[0]: sum(size == 0 for size in sizes) for name, sizes in found.items()}
    assert zeros["prune"] == 7 and zeros["l1-proximal"] > 2
    assert zeros["none"] == zeros["l2"] == zeros["ball"] == 0
    assert found["l2, 0.1"][0] < found["none"][0] and all(s == sorted(s, reverse=True) for s in found.values())


def test_the_lab_page_shows_every_experiment_and_what_was_kept_of_it(tmp_path: Path) -> None:
    name = "practical-2"
    lines = {"a": ([0.0, 1.0], [interval([1.0, 2.0, 3.0]), interval([2.0, 2.5, 2.0])])}
    verdict = Verdict(
        name=name, title="t", claim="c", measured="on <this>.", seeds=3, notes=["a note"],
        checks=checks([("one | other", [3.0, 3.1, 3.2], [1.0, 1.2, 1.1], 0.0)]), rows=table({"%": {"arm": [1.0, 2.0]}}),
        charts=[dots("found", "x", {"test": {"arm": [1.0, 2.0, 1.5]}}), curves("over time", "epoch", "%", lines)],
    )  # fmt: skip
    (tmp_path / f"{name}.json").write_text(verdict.model_dump_json())
    page = lab.page(tmp_path)
    assert all(f"ravine lab {known}\n" in page and f"{{ #{known} }}" in page for known in catalogue())
    assert "**Verdict: holds: 1 of 1 checks hold over 3 seeds.** on &lt;this" in page
    assert "one \\| other" in page and page.count("<figure>") == 2 and page.count("not measured yet") >= 5


def test_the_verdicts_that_are_kept_are_of_experiments_that_exist_and_of_their_claims() -> None:
    kept = {
        path.stem: Verdict.model_validate_json(path.read_text())
        for path in (DOCS / "data" / "lab").glob("*.json")
        if path.stem != "published"
    }
    assert {"practical-1", "practical-2", "mnist-dropout"} <= set(kept)
    for name, verdict in kept.items():
        one = catalogue()[name]
        assert (verdict.name, verdict.title, verdict.seeds) == (name, one.title, one.seeds)
