"""The docs site: built without a warning, whole without a network, its examples run, a new rule in it by itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

from ravine.rules.rule import catalogue
from tests.commands import options
from tests.test_toy_rule import TOY

ROOT = Path(__file__).parents[1]
WRITTEN = ("index", "start", "race", "optimizers", "solvers", "estimators", "training", "data", "many-devices")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FAMILIES = {kind.family for kind in catalogue().values()}


class Page(HTMLParser):
    """The addresses and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.assets: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src", "srcset", "poster", "data", "action") and value:
                if tag == "a":
                    self.links.append(value)
                else:
                    self.assets.append((tag, value))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one more rule."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "cooling.py").write_text(TOY.replace("\\\\", "\\"))
    return folder


BUILD = """
from mkdocs.commands.build import build
from mkdocs.config import load_config
config = load_config(strict=True, site_dir={folder!r})
build(config)
book = config.extra["book"]
"""
MAKE = """
from pathlib import Path
from ravine.handbook.book import Book
book = Book.make(Path("docs/data/costs.json"), Path("docs/data/lab"))
"""
DIGEST = "import hashlib; print(hashlib.sha256(repr(sorted(book.pages().items())).encode()).hexdigest())"


def python(code: str, more: Path, seed: str) -> str:
    """What a program prints that finds one more rule."""
    code = f"import ravine.rules; ravine.rules.__path__.append({str(more)!r})\n{code}{DIGEST}"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, more: Path) -> tuple[Path, str]:
    """The site, built with the one more rule and no warning, and a digest of its generated pages."""
    pytest.importorskip("mkdocs")
    base = tmp_path_factory.getbasetemp()
    home = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one build for all workers of a run
    folder, digest = home / "site", home / "digest"
    with FileLock(home / "site.lock"):
        if not digest.is_file():
            digest.write_text(python(BUILD.format(folder=str(folder)), more, seed="1"))
    return folder, digest.read_text()


@pytest.fixture(scope="module")
def site(built: tuple[Path, str]) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))}


def test_nothing_is_loaded_from_elsewhere(site: Path, read: dict[str, Page]) -> None:
    assets = [(page, *asset) for page in read for asset in read[page].assets if urlsplit(asset[1]).netloc]
    assert assets == []
    sheets = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    assert sheets and not [
        path for path, text in sheets.items() if re.search(r"(url\(|@import) *['\"]?(https?:)?//", text)
    ]
    assert "unpkg" not in (site / "index.html").read_text(encoding="utf-8").replace("search-offline", "")


def test_every_address_leads_somewhere(site: Path, read: dict[str, Page]) -> None:
    wrong: list[tuple[str, str]] = []
    for name, page in read.items():
        for address in (*page.links, *(asset for _, asset in page.assets)):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            known = read.get(os.path.relpath(target, site))
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.anchors):
                wrong.append((name, address))
    assert wrong == []


def test_a_new_rule_has_its_page_its_paths_and_its_place(site: Path, read: dict[str, Page]) -> None:
    page = (site / "rules/cooling.html").read_text(encoding="utf-8")
    assert "steps shrink as the square root of time" in page and "<math" in page and page.count("rv-map") == 4
    assert "cooling.html" in read["rules/index.html"].links
    assert "../rules/cooling.html" in read["gallery/ravine.html"].links
    assert "<td>not measured yet</td>" in re.sub(r"<td [^>]*>", "<td>", page)
    assert {path.stem for path in (site / "rules").glob("*.html")} == {*FAMILIES, "cooling", "index"}


def test_the_public_names_are_on_pythons_page(read: dict[str, Page]) -> None:
    assert {"ravine.api.race", "ravine.api.train", "ravine.rules.rule.Rule"} <= read["api.html"].anchors


def test_pages_made_again_are_the_same_bytes(built: tuple[Path, str], more: Path) -> None:
    assert python(MAKE, more, seed="2") == built[1]


def test_the_examples_of_each_page_run_one_after_another(tmp_path: Path) -> None:
    lines = ["import sys, types"]
    for name in WRITTEN:
        lines.append(f"sys.modules[{name!r}] = page = types.ModuleType({name!r})")
        lines += [f"exec(compile({code!r}, {name!r}, 'exec'), vars(page))" for code in blocks(name, "python")]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "did you mean 'weight_decay'?" in done.stdout and "['0.weight', '0.bias'" in done.stdout


@pytest.mark.parametrize("name", WRITTEN)
def test_the_commands_of_a_page_exist(name: str) -> None:
    known = options()
    for row in (row for code in blocks(name, "sh") for row in code.splitlines() if row):
        program, *words = shlex.split(row, comments=True)
        if program == "torchrun":
            program, *words = words[words.index("-m") + 1 :]
        if program == "ravine":
            assert {word for word in words if word.startswith("--")} <= {*known[command_of(words, known)]}, row
        elif program == "pip":
            assert words[-1].partition("[")[2].rstrip("]") in EXTRAS, row
        else:
            assert (ROOT / program).is_file(), row


def command_of(words: list[str], known: dict[str, list[str]]) -> str:
    """The command that a line names, with its group where it has one: "recipe explain"."""
    return next(name for name in (" ".join(words[:2]), words[0]) if name in known)


def blocks(name: str, language: str) -> Iterator[str]:
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return (found[1] for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


PHONE = """<body data-over="?"><iframe src="{page}" width="375" height="700"></iframe><script>
onload = () => setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.body.dataset.over = page.scrollWidth - page.clientWidth;
}}, 500);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("page", ["rules/adam.html?q=nesterov", "gallery/cliff.html"])
def test_a_phone_shows_it_whole_and_search_needs_no_server(site: Path, page: str, tmp_path: Path) -> None:
    (tmp_path / "phone.html").write_text(PHONE.format(page=f"{site.as_uri()}/{page}"))
    quiet = "no-first-run disable-background-networking disable-component-update disable-sync no-sandbox disable-gpu"
    command = [str(CHROMIUM), "--headless", *(f"--{flag}" for flag in quiet.split())]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=9000", "--enable-logging=stderr"]
    command += ["--allow-file-access-from-files", "--dump-dom"]
    framed = subprocess.run([*command, (tmp_path / "phone.html").as_uri()], capture_output=True, text=True, check=True)
    assert 'data-over="0"' in framed.stdout
    if "?" in page:
        plain = subprocess.run([*command, f"{site.as_uri()}/{page}"], capture_output=True, text=True, check=True)
        assert "CONSOLE" not in plain.stderr
        assert re.search(r"[1-9]\d* matching documents", plain.stdout)
