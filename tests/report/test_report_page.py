"""The page loads nothing, escapes everything, has every section, and its figures hold the race's own numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ravine import report
from ravine.errors import UserError
from ravine.report import equation, findings
from ravine.results import RaceResult, RunResult

SECTIONS = [
    "verdict", "ranking", "rates", "curves", "failures", "differences", "recipe", "cost",
    "understood", "notes", "repeat",
]  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would see: elements, their attributes, scripts and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words.append(data)


def figures(page: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="data-([\w-]+)">(.*?)</script>', page, re.S)
    return {name: json.loads(text) for name, text in found}


def named(figure: Any, name: str) -> Any:
    return next(trace for trace in figure["data"] if trace["name"] == name)


@pytest.fixture(scope="module")
def page(race: RaceResult) -> str:
    return report.html(race)


def test_every_page_stands_in_the_same_frame() -> None:
    """Head, policy, scripts and plots of pages are written once; a page that brings its own would drift away."""
    root = Path(report.__file__).parents[1]
    pages = [path for path in root.rglob("*.html") if path.name not in ("frame.html", "pieces.html")]
    assert len(pages) >= 8
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert text.startswith('{% extends "frame.html" %}'), path
        assert "<script" not in text and "<head>" not in text and "data-figure" not in text, path


@pytest.mark.parametrize("which", ["race", "regression", "interrupted", "hostile"])
def test_loads_nothing(which: str, request: pytest.FixtureRequest) -> None:
    text = report.html(request.getfixturevalue(which))
    tags = Reader(text).tags
    assert len(text.encode()) < 6e6
    assert not [a for _, a in tags for name in ("src", "srcset", "data", "poster", "action") if name in a]
    assert all(a["href"] and a["href"].startswith("#") for _, a in tags if "href" in a)
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "embed", "img", "base"}
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] or "" for tag, a in tags if tag == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy and policy.count("'sha256-") == 2


@pytest.mark.parametrize("which", ["race", "regression", "interrupted", "hostile"])
def test_has_every_section_in_order(which: str, request: pytest.FixtureRequest) -> None:
    tags = Reader(report.html(request.getfixturevalue(which))).tags
    assert [a["id"] for tag, a in tags if tag in ("section", "header")] == SECTIONS


def test_hostile_names_stay_text(hostile: RaceResult) -> None:
    read = Reader(report.html(hostile))
    assert len([s for s in read.scripts if "alert(" in s and not s.startswith("{")]) == 0
    assert any("<script>alert(1)</script>" in word for word in read.words)
    data = figures(report.html(hostile))
    labels = json.dumps([(t.get("name"), t.get("hovertext"), t.get("y")) for f in data.values() for t in f["data"]])
    assert "&lt;script&gt;" in labels and "<script" not in labels
    assert "<script>alert" not in report.notebook(hostile)


def test_ranking_says_every_number_with_its_spread(race: RaceResult, page: str) -> None:
    text = re.sub(r"\s+", " ", "".join(Reader(page).words))
    assert race.verdict in text and "97.2 ± 0.3 %" in text and "looked at once" in text
    best = race.ranking[0]
    half = best.valid_loss.high - best.valid_loss.mean
    assert f"{best.valid_loss.mean:.3f} ± {half:.3f}" in text
    assert text.count("one run, all 30 epochs") == 5
    assert text.count(" tie") >= 2
    assert "ravine race digits" in text and "torch 2.13.0" in text and "0, 101, 102, 103, 104, 105" in text
    assert "lr = 0.12" in text and "None" not in text


def test_tables_have_headers(page: str) -> None:
    tags = Reader(page).tags
    scopes = [a.get("scope") for tag, a in tags if tag == "th"]
    assert scopes.count("col") == 12 and scopes.count("row") == 8 + 64
    assert all(a.get("aria-label") for _, a in tags if a.get("role") == "img")


def test_rates_figure_holds_the_numbers(race: RaceResult, page: str) -> None:
    panels = [figure for name, figure in figures(page).items() if name.startswith("rate-")]
    rules = list(dict.fromkeys(s.rule for s in race.ranking))
    assert len(panels) == len(rules) == 8
    for rule, panel in zip(rules, panels, strict=True):
        runs = sorted((r for r in race.runs if r.rule == rule and r.stage == "rung"), key=lambda r: r.hypers["lr"])
        alive = [r for r in runs if r.status != "diverged"]
        first = named(panel, "first rung")
        assert first["x"] == [r.hypers["lr"] for r in alive]
        assert first["y"] == [min(p.valid_loss for p in r.curve if p.epoch <= 3) for r in alive]
        assert named(panel, "lowest")["y"] == [r.valid_loss for r in alive if r.curve[-1].epoch > 3]
        assert named(panel, "diverged")["x"] == [r.hypers["lr"] for r in runs if r.status == "diverged"]
        band = next(shape for shape in panel["layout"]["shapes"] if shape["type"] == "rect")
        assert (band["x0"], band["x1"]) == race.spaces[rule]["lr"]
        top = 10 ** panel["layout"]["yaxis"]["range"][1]
        assert all(0.8 * top < y <= top for y in named(panel, "diverged")["y"])


def test_curves_are_means_over_seeds(race: RaceResult, page: str) -> None:
    figure = figures(page)["curves"]
    for standing in (s for s in race.ranking if s.finalist):
        runs = [r for r in race.runs if r.stage == "final" and r.config == standing.config]
        trace = named(figure, standing.rule)
        assert trace["x"] == list(range(31))
        assert trace["y"] == pytest.approx([math.fsum(r.curve[e].valid_loss for r in runs) / 5 for e in range(31)])
        edge = named(figure, f"{standing.rule}, all seeds")["y"]
        assert edge[0] == max(r.curve[0].valid_loss for r in runs) and edge[30] == max(
            r.curve[30].valid_loss for r in runs
        )
        assert edge[31] == min(r.curve[30].valid_loss for r in runs)


def test_failures_and_differences_hold_the_numbers(race: RaceResult, page: str) -> None:
    data = figures(page)
    for outcome in ("finished", "stopped", "diverged"):
        runs = {(r.rule, r.hypers["lr"]) for r in race.runs if r.stage == "rung" and r.status == outcome}
        trace = named(data["failures"], outcome)
        assert set(zip(trace["y"], trace["x"], strict=True)) == runs
    assert all("loss became NaN" in text for text in named(data["failures"], "diverged")["hovertext"])
    for standing in race.ranking[1:3]:
        trace, d = named(data["differences"], standing.rule), standing.difference
        assert d and trace["x"] == [d.mean]
        assert trace["error_x"]["array"] == pytest.approx([d.high - d.mean])
        assert trace["error_x"]["arrayminus"] == pytest.approx([d.mean - d.low])


def test_a_loss_that_is_no_number_is_left_out(race: RaceResult) -> None:
    lost = [point.model_copy(update={"valid_loss": math.nan}) for point in race.runs[0].curve]
    none = {"curve": lost, "valid_loss": None, "metric": None, "status": "diverged"}
    bad = race.runs[0].model_copy(update=none)
    page = report.html(race.model_copy(update={"runs": [bad, *race.runs[1:]]}))
    assert figures(page) and "NaN" not in re.sub(r"became NaN", "", json.dumps(figures(page)))


def test_a_finalist_that_never_learns_and_a_loss_of_zero_leave_the_figures_readable(race: RaceResult) -> None:
    """Zero has no logarithm and an explosion no place: neither may flatten what the others did."""
    rule = race.ranking[-1 if race.ranking[-1].finalist else 0].rule

    def spoiled(run: RunResult) -> RunResult:
        if run.rule != rule or run.stage == "rung":
            return run
        start = run.curve[0].valid_loss
        points = [p if p.epoch == 0 else p.model_copy(update={"valid_loss": 1e5 * start}) for p in run.curve]
        return run.model_copy(update={"curve": points})

    runs = [spoiled(run) for run in race.runs]
    first = runs[0].curve[-1].model_copy(update={"valid_loss": 0.0})
    runs[0] = runs[0].model_copy(update={"curve": [*runs[0].curve[:-1], first], "valid_loss": 0.0})
    changed = race.model_copy(update={"runs": runs})
    data = figures(report.html(changed))
    axis = data["curves"]["layout"]["yaxis"]
    assert axis["type"] == "log" and axis["range"][1] - axis["range"][0] < 5
    assert findings.curves(changed).endswith(f"; the mean loss of {rule} never falls")
    panels = [panel for name, panel in data.items() if name.startswith("rate-")]
    assert panels and all(panel["layout"]["yaxis"]["type"] == "log" for panel in panels)
    low = 10 ** panels[0]["layout"]["yaxis"]["range"][0]
    assert all(y is None or y >= 0.99 * low for panel in panels for trace in panel["data"] for y in trace["y"])


def test_a_rule_without_learning_rate_is_named(race: RaceResult) -> None:
    runs = [r.model_copy(update={"hypers": {"rho": 0.9}}) if r.rule == "adadelta" else r for r in race.runs]
    text = report.html(race.model_copy(update={"runs": runs}))
    assert "so not drawn: adadelta." in text and len([n for n in figures(text) if n.startswith("rate-")]) == 7


def test_a_race_without_any_run(interrupted: RaceResult) -> None:
    text = report.html(interrupted.model_copy(update={"runs": []}))
    assert figures(text) == {} and "No configuration ran" in text


@pytest.mark.parametrize(
    "latex", [r"m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t", r"\frac{\hat v_t}{\sqrt{v_t} + \epsilon}"]
)
def test_equation_is_mathml(latex: str, race: RaceResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def stub(_: RaceResult) -> str:
        return f"{latex}\nx = 1"

    monkeypatch.setattr(equation, "winner_latex", stub)
    assert report.html(race).count("<math ") == 2
    assert "<script" not in equation.equation_mathml("x < <script>alert(1)</script>")


def test_equation_comes_from_the_catalogue(race: RaceResult, hostile: RaceResult, interrupted: RaceResult) -> None:
    assert "m_{t-1}" in equation.winner_latex(race)
    assert equation.winner_latex(hostile) == equation.winner_latex(interrupted) == ""


@pytest.mark.parametrize("name", [lambda p: p, lambda p: p / "report.html", lambda p: p / "new" / "report.html"])
def test_write(name: Callable[[Path], Path], race: RaceResult, page: str, tmp_path: Path) -> None:
    path = report.write(race, name(tmp_path))
    assert path.name == "report.html" and path.read_text(encoding="utf-8") == page
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_write_where_it_cannot(race: RaceResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written: file exists"):
        report.write(race, tmp_path / "file" / "report.html")
    assert (tmp_path / "file").read_text() == "mine"
