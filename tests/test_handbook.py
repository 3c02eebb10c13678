"""The drawings and generated pages of the docs show what the rules do."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import numpy as np
import pytest

from ravine.handbook import costs, figures, rules, schedules
from ravine.handbook.book import Book
from ravine.handbook.contour import contour
from ravine.handbook.draw import Frame, line, trail
from ravine.handbook.known import Known, know
from ravine.handbook.lectures import decks
from ravine.handbook.markdown import linked, plain
from ravine.handbook.response import PHASES, first_step, response
from ravine.handbook.walk import STEPS, rates_of, walk, walkable
from ravine.rules.rule import Rule, catalogue, resolve
from ravine.schedules import catalogue as every_schedule
from ravine.surfaces import SURFACES
from ravine.types import Array, Scalar, State
from tests.commands import options

QUADRATIC = SURFACES["ravine"]  # (x^2 + 100 y^2) / 2


@final
@dataclass(frozen=True)
class Elsewhere(Rule):
    """A rule that asks for what no surface gives; without a family, so in no catalogue."""

    needs = frozenset({"the weather"})  # type: ignore[arg-type]

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return -g, {}


@pytest.fixture(scope="module")
def known() -> Known:
    return know()


@pytest.fixture(scope="module")
def pages(known: Known) -> dict[str, str]:
    return Book(known).pages()


def by_hand(name: str, rate: float) -> list[list[float]]:
    """The walk on the quadratic, from the textbook's line."""
    (x, y), v, found = QUADRATIC.start, [0.0, 0.0], [[*QUADRATIC.start]]
    for _ in range(STEPS):
        a, b = (x - 0.9 * v[0], y - 0.9 * v[1]) if name == "nesterov/look-ahead" else (x, y)
        memory = 0.0 if name == "sgd" else 0.9
        v = [memory * v[0] + rate * a, memory * v[1] + rate * 100 * b]
        x, y = x - v[0], y - v[1]
        found.append([x, y])
    return found


@pytest.mark.parametrize("name", ["sgd", "momentum", "momentum/heavy-ball", "nesterov/look-ahead"])
def test_a_path_is_the_rules_own(name: str) -> None:
    [path] = walk([resolve(name)], [QUADRATIC]).values()
    assert path.rate is not None
    np.testing.assert_allclose(path.points, by_hand(name, path.rate), rtol=1e-9, atol=1e-12)


def test_walking_together_changes_no_path() -> None:
    kinds = [resolve(name) for name in ("adam", "nadam", "rmsprop/centered", "sgd")]
    together = walk(kinds, list(SURFACES.values())[:3])
    for kind in kinds:
        for key, path in walk([kind], list(SURFACES.values())[:3]).items():
            assert np.array_equal(path.points, together[key].points) and path.rate == together[key].rate


def test_the_rate_is_the_best_calm_one_of_those_tried() -> None:
    [path] = walk([resolve("sgd")], [QUADRATIC]).values()
    tried = rates_of(resolve("sgd"))
    assert path.rate in tried and len(tried) == len(set(tried))
    # plain descent on a quadratic converges below 2 / 100, fastest at the largest rate that does
    assert path.rate == max(rate for rate in tried if rate < 0.02)
    assert path.arrival == pytest.approx(math.log(0.01) / (2 * math.log(1 - path.rate)), rel=0.25)


def test_a_rule_that_needs_more_than_a_gradient_is_left_out() -> None:
    assert walk([Elsewhere], [QUADRATIC]) == {}


def test_answers_to_a_signal() -> None:
    momentum, inside = response(resolve("momentum")), response(resolve("momentum/lr-inside"))
    steps, drop = PHASES[0].steps, PHASES[0].steps
    np.testing.assert_allclose(momentum[:steps], (1 - 0.9 ** np.arange(1, steps + 1)) / 0.1)
    assert momentum[drop] < 1 < inside[drop]  # a new rate acts on the whole sum, or on new gradients only
    np.testing.assert_allclose(response(resolve("sgd"))[-1], 0)
    assert first_step(resolve("adam/uncorrected"), 1.0) == pytest.approx(0.1 / math.sqrt(0.001))
    assert first_step(resolve("adam"), 1e-8) == pytest.approx(0.5)


def test_contours_lie_on_their_level_and_close() -> None:
    x, y = np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-2, 2, 81))
    [circle] = contour(np.hypot(x, y), 1.5)
    radii = [math.hypot(column / 20 - 2, row / 20 - 2) for column, row in circle]
    assert circle[0] == circle[-1] and max(abs(radius - 1.5) for radius in radii) < 2e-3
    steps = [math.dist(a, b) for a, b in pairwise(circle)]
    assert max(steps) <= math.sqrt(2) and sum(steps) / 20 == pytest.approx(2 * math.pi * 1.5, rel=0.01)
    assert contour(np.zeros((4, 4)), 1.0) == []
    assert len(contour(np.cos(2 * x) * np.cos(2 * y), 0.9)) == 9 - 4  # the hills inside, apart from the corners' arcs


def test_a_line_that_flies_off_ends_and_one_that_is_no_number_too() -> None:
    frame = Frame((0, 1), (0, 1), 100, 100)
    assert len(trail(frame, [(0, 0), (1e9, 0), (0.5, 0.5)])) == 2
    assert len(trail(frame, [(0, 0), (math.nan, 0), (0.5, 0.5)])) == 1
    assert line([(0, 0), (1.26, 2), (1.26, 2), (3, 2)]) == "M0 0l1.5 2l1.5 0"


def test_every_rule_schedule_surface_and_command_has_its_place(pages: dict[str, str]) -> None:
    for name, kind in catalogue().items():
        page = pages[f"rules/{kind.family}.md"]
        assert f"`ravine.optim.{kind.__name__}`" in page or f"= ravine.optim.{kind.__name__}(" in page
        assert (f"### {name} " if kind.dialect else f"# {kind.__name__}") in page
        assert plain(kind.differs) in page or not kind.dialect
    for name in every_schedule():
        assert f"\n## {name}\n" in pages["schedules.md"]
    assert pages["schedules.md"].count("<svg") == len(every_schedule())
    for name in SURFACES:
        assert pages[f"gallery/{name}.md"].count('class="rv-card"') == len(
            {k.family for k in catalogue().values() if walkable(k)}
        )
    for command, listed in options().items():
        section = pages["cli.md"].partition(f"## ravine {command}\n")[2].partition("\n## ")[0]
        assert all(f"`{option}`" in section for option in listed) and section


def test_pages_never_hold_what_breaks_markdown(pages: dict[str, str]) -> None:
    for path, page in pages.items():
        for row in (row for row in page.splitlines() if row.startswith("<div")):
            assert row.count("<div") == row.count("</div>"), path
            assert row.count("<svg") == row.count("</svg>"), path
        for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(widths) == 1, (path, table[:200])


def test_decks_are_read_from_declarations(known: Known, pages: dict[str, str]) -> None:
    assert decks(known.entries["adagrad/eps-inside"]) == ["S0", "S2", "S3", "S4"]
    assert decks(known.entries["adadelta"]) == []
    slips = [name for name in known.entries if name.endswith("as-printed")]
    assert all(f"- [{name}]" in pages["lectures.md"] for name in slips) and slips


def test_the_example_of_schedules_runs() -> None:
    names: dict[str, Any] = {}
    exec(schedules.USE, names)
    [group] = names["optimizer"].param_groups
    assert group["schedules"]["lr"](100) == pytest.approx(1.0) and group["schedules"]["lr"](2000) == pytest.approx(0.0)


def test_every_schedule_has_a_picture_of_itself() -> None:
    assert schedules.example(every_schedule()["cosine"])(100.0) == pytest.approx(0.0)
    assert schedules.example(every_schedule()["sequence"])(50.0) != schedules.example(every_schedule()["sequence"])(0.0)


def test_switches_and_lines_have_the_same_numbers(known: Known) -> None:
    names = known.families["momentum"]
    how = figures.styles(names)
    assert len(set(how.values())) == len(names)
    walks = [known.paths[name, "ravine"] for name in names]
    drawing = figures.paths(QUADRATIC, walks, how, "x")
    for place, name in enumerate(names):
        assert f'class="rv-line k{place}"><title>{name}' in drawing
        assert re.search(rf'class="t{place}" checked>.*?</svg>{name}</label>', figures.legend(how))
    assert 't0"' not in figures.legend(how, shown=names[1:])


def test_references_become_links_and_signs_stay_signs() -> None:
    assert "(https://arxiv.org/abs/1412.6980)" in linked("Kingma & Ba, arXiv:1412.6980, algorithm 1.")
    assert "(https://doi.org/10.1137/0330046)" in linked("doi:10.1137/0330046; more")
    assert plain("a_b * c | d ``e_f``") == r"a\_b \* c \| d `e_f`"


def test_costs_are_ratios_to_adams(known: Known) -> None:
    found = costs.costs({name: resolve(name) for name in ("adam", "nesterov/look-ahead")}, side=8, rounds=3)
    assert set(found["steps"]) == {"adam", "nesterov/look-ahead"} and found["parameters"] == 64
    assert all(0 < step["ratio"] < math.inf for step in found["steps"].values())
    page = rules.page(replace(known, costs=found), "adam")
    assert f"{found['steps']['adam']['ratio']:.2f}" in page and found["date"] in page
