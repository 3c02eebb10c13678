"""The page in a real browser: figures are drawn, nothing is refused, it fits a phone and follows the dark."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ravine import report
from ravine.results import RaceResult

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PHONE = """<body data-over="?"><iframe src="report.html" width="375" height="700"></iframe><script>
const look = () => {
  const page = document.querySelector("iframe").contentDocument;
  if (!page.querySelector(".main-svg")) return setTimeout(look, 50);
  document.body.dataset.over = page.documentElement.scrollWidth - page.documentElement.clientWidth;
};
onload = () => setTimeout(look, 200);
</script>"""


def visit(page: Path, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what the browser complained about."""
    quiet = "no-first-run disable-background-networking disable-component-update disable-sync no-sandbox disable-gpu"
    own = [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=10000", "--enable-logging=stderr"]
    command = [str(CHROMIUM), "--headless", *(f"--{flag}" for flag in quiet.split()), *own, "--dump-dom", *flags]
    ran = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("which", ["race", "interrupted", "hostile"])
def test_every_figure_is_drawn(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    page = report.write(request.getfixturevalue(which), tmp_path)
    dom, complaints = visit(page)
    assert complaints == []
    plots = re.findall(r'<div class="plot[^>]* data-figure=', page.read_text(encoding="utf-8"))
    assert dom.count('class="xtitle"') == len(plots) > 0


def test_a_script_that_is_not_ours_is_refused(race: RaceResult, tmp_path: Path) -> None:
    page = report.write(race, tmp_path)
    text = page.read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'taken'</script></main>")
    page.write_text(text, encoding="utf-8")
    dom, complaints = visit(page)
    assert any("Content Security Policy" in line for line in complaints)
    assert "<title>taken" not in dom


def test_it_fits_a_phone(race: RaceResult, tmp_path: Path) -> None:
    report.write(race, tmp_path)
    (tmp_path / "phone.html").write_text(PHONE)
    dom, _ = visit(tmp_path / "phone.html", "--allow-file-access-from-files")
    assert 'data-over="0"' in dom


@pytest.mark.parametrize(("scheme", "ink"), [("0", "rgb(233, 231, 226)"), ("1", "rgb(29, 33, 38)")])
def test_figures_follow_the_scheme(scheme: str, ink: str, race: RaceResult, tmp_path: Path) -> None:
    dom, _ = visit(report.write(race, tmp_path), f"--blink-settings=preferredColorScheme={scheme}")
    legend = re.search(r'class="legendtext"[^>]*style="([^"]*)"', dom)
    assert legend and f"fill: {ink}" in legend[1]
